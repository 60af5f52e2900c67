"""From an event to the caller: which credential counts, and when no caller is identified."""

from collections.abc import Mapping
from copy import replace
from typing import Any

import pytest

from byline.errors import Reason, Rejected, Unavailable
from byline.fetch import Answer, FetchFailed
from byline.identity.caller import Caller
from byline.identity.identity import Identity
from byline.identity.settings import IdentitySettings
from byline.identity.unverified import UnverifiedToken
from tests.identity import alb_tokens
from tests.identity.alb_tokens import (
    BEARER_GROUP,
    BROWSER_GROUP,
    CLAIMS,
    FOREIGN_SIGNER,
    KEY_URL,
    SETTINGS,
    PublishedKeys,
    SetClock,
    event,
    mint,
    signing_key,
)
from tests.identity.bearer_issuer import (
    DISCOVERY_URL,
    PERSON,
    BearerIssuer,
    private_key,
    without,
)

DATA = "x-amzn-oidc-data"
IDENTITY = "x-amzn-oidc-identity"
ACCESS_TOKEN = "x-amzn-oidc-accesstoken"
SUBJECT = CLAIMS["sub"]

BOTH_SHAPES = pytest.mark.parametrize("shape", ["single", "multi"])
ANONYMOUS = pytest.mark.parametrize("anonymous", ["refuse", "allow"])


class IdentityWorld:
    """An identity, the web in memory that it fetches from, and an issuer of Bearer tokens."""

    def __init__(self, **changes: Any) -> None:
        self.issuer = BearerIssuer()
        self.published = PublishedKeys()
        settings = replace(SETTINGS, trusted_issuers=(self.issuer.trusted(),))
        self.settings: IdentitySettings = replace(settings, **changes)
        self.identity = Identity(self.settings, fetch=self.fetch, now=SetClock())

    def fetch(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        web = self.published if url.startswith(alb_tokens.KEYS_URL) else self.issuer.web
        return web(url, headers=headers)

    def identify(self, *headers: tuple[str, str], **event_kind: Any) -> Caller | None:
        return self.identity.identify(event(*headers, **event_kind))

    def person(self, *headers: tuple[str, str], **event_kind: Any) -> Caller:
        caller = self.identify(*headers, **event_kind)
        assert caller is not None
        return caller

    def assert_refused(self, reason: Reason, *headers: tuple[str, str], **event_kind: Any) -> None:
        with pytest.raises(Rejected) as refusal:
            self.identify(*headers, **event_kind)
        assert refusal.value.reason == reason

    def bearer(self, **claims: Any) -> tuple[str, str]:
        return "authorization", f"Bearer {self.issuer.token({**PERSON, **claims}).text}"

    @property
    def fetches(self) -> int:
        return self.published.calls.total() + len(self.issuer.web.requests)


def shaped(shape: str) -> dict[str, Any]:
    return {"multi_value": shape == "multi"}


def forged() -> str:
    """A token that names another person, signed without the region's key."""
    return mint(claims={"sub": "root"}, key=signing_key("a forger's"))


@BOTH_SHAPES
def test_browsers_request_names_the_person(shape: str) -> None:
    """The person who signed in at the load balancer is the caller, in both shapes of the event."""
    caller = IdentityWorld().person((DATA, mint()), (IDENTITY, SUBJECT), **shaped(shape))
    assert (caller.kind, caller.source, caller.subject) == ("user", "alb", SUBJECT)


@BOTH_SHAPES
def test_bearer_request_names_its_caller(shape: str) -> None:
    """The subject of the access token is the caller, in both shapes of the event."""
    world = IdentityWorld()
    caller = world.person(world.bearer(), group=BEARER_GROUP, **shaped(shape))
    assert (caller.kind, caller.source, caller.subject) == ("user", "bearer", "ada")


def test_machines_request_names_an_application() -> None:
    """A service account's token gives an application."""
    world = IdentityWorld()
    caller = world.person(world.bearer(sub="svc", client_id="svc"), group=BEARER_GROUP)
    assert caller.executed_by == {
        "application": {"id": {"subject": "svc"}, "spec": {"name": "svc"}}
    }


# One credential, chosen by the target group.


@pytest.mark.parametrize("header", [DATA, IDENTITY, ACCESS_TOKEN])
def test_forged_browser_header_beside_a_bearer_token_changes_nothing(header: str) -> None:
    """Browser headers that a client sends to the Bearer target group are ignored."""
    world = IdentityWorld()
    for value in (forged(), mint(claims={"sub": "root"}), "root", ""):
        assert world.person(world.bearer(), (header, value), group=BEARER_GROUP).subject == "ada"
    assert not world.published.calls


def test_bearer_token_beside_a_browsers_changes_nothing() -> None:
    """The browser path ignores `Authorization`, a valid one too."""
    world = IdentityWorld()
    for header in (world.bearer(), ("authorization", "Bearer x"), ("authorization", "Basic eDp5")):
        assert world.person((DATA, mint()), header).subject == SUBJECT
    assert not world.issuer.web.requests


def test_good_credential_of_the_other_kind_alone_is_none() -> None:
    """A path without its own credential does not use the other path's credential."""
    world = IdentityWorld()
    world.assert_refused("no_credentials", world.bearer(), group=BROWSER_GROUP)
    world.assert_refused("no_credentials", (DATA, mint()), group=BEARER_GROUP)
    assert world.fetches == 0


@ANONYMOUS
def test_bad_credential_is_never_passed_over_for_a_good_one_of_the_other_kind(
    anonymous: str,
) -> None:
    """One credential is chosen, and no other is tried after its refusal."""
    world = IdentityWorld(anonymous=anonymous)
    bad_bearer = ("authorization", "Bearer not.a.token")
    world.assert_refused("malformed_token", bad_bearer, (DATA, mint()), group=BEARER_GROUP)
    world.assert_refused("bad_signature", (DATA, forged()), world.bearer())


@pytest.mark.parametrize(
    "group",
    [
        "another",
        "",
        BROWSER_GROUP.upper(),
        f"{BROWSER_GROUP}-2",
        f"x{BEARER_GROUP}",
        BROWSER_GROUP.replace("123456789012", "999999999999"),
        BROWSER_GROUP.replace("us-east-1", "eu-west-1"),
        BROWSER_GROUP.replace("arn:aws:", "arn:aws-cn:"),
    ],
)
def test_request_through_another_target_group_has_no_credential(group: str) -> None:
    """A group of the same name in another account, region or partition is another group."""
    world = IdentityWorld()
    credentials = ((DATA, mint()), (IDENTITY, SUBJECT), world.bearer())
    world.assert_refused("no_credentials", *credentials, group=group)
    allowing = IdentityWorld(anonymous="allow")
    assert allowing.identify(*credentials, group=group) is None
    assert world.fetches + allowing.fetches == 0


@pytest.mark.parametrize("unset", ["browser_target_group", "bearer_target_group"])
def test_group_that_is_not_configured_matches_no_event(unset: str) -> None:
    """An empty setting matches no event, not even one without a target group."""
    world = IdentityWorld(**{unset: ""})
    group = BROWSER_GROUP if unset == "browser_target_group" else BEARER_GROUP
    world.assert_refused("no_credentials", (DATA, mint()), world.bearer(), group=group)
    with pytest.raises(Rejected):
        world.identity.identify({"multiValueHeaders": {DATA: [mint()]}})


@pytest.mark.parametrize("header", ["authorization", DATA, IDENTITY])
def test_doubled_header_of_the_chosen_kind_is_refused(header: str) -> None:
    """Two values of one header may name two callers, so the request is refused."""
    world = IdentityWorld(anonymous="allow")
    group = BEARER_GROUP if header == "authorization" else BROWSER_GROUP
    good = {DATA: mint(), IDENTITY: SUBJECT, "authorization": world.bearer()[1]}
    for spelling in (header, header.title()):
        headers = (*good.items(), (spelling, good[header]))
        world.assert_refused("duplicated_header", *headers, group=group)
    assert world.fetches == 0


def test_token_verified_on_one_path_is_unknown_on_the_other() -> None:
    """The checks of the two paths differ, so a remembered token never counts on the other path."""
    world = IdentityWorld(anonymous="allow")
    browser_token, bearer_header = mint(), world.bearer()
    assert world.person((DATA, browser_token)).source == "alb"
    assert world.person(bearer_header, group=BEARER_GROUP).source == "bearer"
    as_bearer = ("authorization", f"Bearer {browser_token}")
    world.assert_refused("malformed_token", as_bearer, group=BEARER_GROUP)
    with pytest.raises(Rejected):
        world.identity.verify_bearer(UnverifiedToken(browser_token))
    bearer_token = bearer_header[1].removeprefix("Bearer ")
    with pytest.raises(Rejected):
        world.identify((DATA, bearer_token))


# Headers without a signature.


def test_unsigned_subject_of_another_person_is_refused() -> None:
    """`x-amzn-oidc-identity` counts only beside a verified token of the same subject."""
    for other in ("root", f"{SUBJECT} ", ""):
        IdentityWorld().assert_refused("subject_mismatch", (DATA, mint()), (IDENTITY, other))


@pytest.mark.parametrize("subject", ["ada", SUBJECT, ""])
def test_unsigned_subject_alone_is_believed_nowhere_that_verifies(subject: str) -> None:
    """An unsigned subject without a token identifies no caller: any client can send it."""
    IdentityWorld().assert_refused("no_credentials", (IDENTITY, subject))
    assert IdentityWorld(anonymous="allow").identify((IDENTITY, subject)) is None


@pytest.mark.parametrize("trust", ["verify", "forwarded"])
def test_load_balancers_access_token_is_never_read(trust: str) -> None:
    """The load balancer's access token is never used as a credential or to call a service."""
    world = IdentityWorld(trust=trust)
    token = world.bearer()[1].removeprefix("Bearer ")
    world.assert_refused("no_credentials", (ACCESS_TOKEN, token))
    for other in (token, "", "x" * 100_000):
        assert world.person((DATA, mint()), (ACCESS_TOKEN, other)).subject == SUBJECT
    assert not world.issuer.web.requests


@pytest.mark.parametrize(
    "header",
    ["x-id-token", "flyte-authorization", "x-forwarded-user", "x-forwarded-email", "cookie"],
)
@pytest.mark.parametrize("group", [BROWSER_GROUP, BEARER_GROUP])
def test_identity_headers_of_other_systems_are_never_read(header: str, group: str) -> None:
    """ID tokens and identity headers of other proxies are ignored."""
    IdentityWorld().assert_refused("no_credentials", (header, mint()), group=group)


# No caller.


@pytest.mark.parametrize("group", [BROWSER_GROUP, BEARER_GROUP])
def test_request_without_credentials_is_refused_or_allowed_as_configured(group: str) -> None:
    """A request without credentials is refused, unless the operator allows it."""
    IdentityWorld().assert_refused("no_credentials", group=group)
    assert IdentityWorld(anonymous="allow").identify(group=group) is None


@ANONYMOUS
@pytest.mark.parametrize("trust", ["verify", "forwarded"])
@pytest.mark.parametrize(
    ("header", "reason", "group"),
    [
        ((DATA, ""), "malformed_token", BROWSER_GROUP),
        ((DATA, "not.a.token"), "malformed_token", BROWSER_GROUP),
        ((DATA, mint({"exp": 1})), "expired", BROWSER_GROUP),
        ((DATA, mint({"signer": FOREIGN_SIGNER})), "untrusted_signer", BROWSER_GROUP),
        (("authorization", ""), "unsupported_scheme", BEARER_GROUP),
        (("authorization", "Basic eDp5"), "unsupported_scheme", BEARER_GROUP),
        (("authorization", "Bearer "), "malformed_token", BEARER_GROUP),
        (("authorization", "Bearer a.b.c"), "malformed_token", BEARER_GROUP),
        (("authorization", f"Bearer {mint()}"), "malformed_token", BEARER_GROUP),
    ],
)
def test_bad_credential_is_refused_in_every_mode_that_reads_it(
    anonymous: str, trust: str, header: tuple[str, str], reason: Reason, group: str
) -> None:
    """A bad credential is refused even where requests without credentials are allowed."""
    IdentityWorld(anonymous=anonymous, trust=trust).assert_refused(reason, header, group=group)


@pytest.mark.parametrize("anonymous", ["refuse", "allow"])
@pytest.mark.parametrize("trust", ["verify", "forwarded"])
def test_caller_of_unknown_kind_is_refused(anonymous: str, trust: str) -> None:
    """A verified subject of unknown kind does not become an anonymous caller."""
    world = IdentityWorld(anonymous=anonymous, trust=trust)
    token = world.issuer.token(without(PERSON, "client_id"), header={"typ": "at+jwt"})
    header = ("authorization", f"Bearer {token.text}")
    world.assert_refused("unknown_caller_kind", header, group=BEARER_GROUP)


def test_outage_of_the_keys_is_no_refusal_in_any_mode() -> None:
    """503, never 401 and never anonymous."""
    for anonymous in ("refuse", "allow"):
        world = IdentityWorld(anonymous=anonymous)
        world.published.answers[KEY_URL] = FetchFailed("ConnectTimeoutError")
        for header, group in (((DATA, mint()), BROWSER_GROUP), (world.bearer(), BEARER_GROUP)):
            world.issuer.web.break_down(DISCOVERY_URL)
            with pytest.raises(Unavailable):
                world.identify(header, group=group)
        assert world.identity.failed_fetches == 2


def test_failed_fetches_are_counted_before_any_bearer_token_came() -> None:
    """The count needs no part that was never loaded."""
    assert IdentityWorld().identity.failed_fetches == 0


# IDENTITY_TRUST.


def test_forwarded_identity_is_decoded_without_a_fetch() -> None:
    """In `forwarded` mode tokens are not verified, so even a forged one is accepted."""
    world = IdentityWorld(trust="forwarded")
    assert world.person((DATA, forged())).subject == "root"
    stranger = world.issuer.token(PERSON, key=private_key("RS256", "a stranger's")).text
    header = ("authorization", f"Bearer {stranger}")
    assert world.person(header, group=BEARER_GROUP).subject == "ada"
    assert world.fetches == 0


def test_forwarded_subject_alone_is_a_person_of_the_configured_issuer() -> None:
    """In `forwarded` mode an unsigned subject identifies a person of the configured issuer."""
    caller = IdentityWorld(trust="forwarded").person((IDENTITY, "ada"))
    assert (caller.issuer, caller.subject, caller.token_subject) == (
        alb_tokens.ISSUER,
        "ada",
        "ada",
    )
    assert caller.executed_by == {"user": {"id": {"subject": "ada"}}}


def test_forwarded_subject_counts_on_the_browser_path_alone() -> None:
    """In `forwarded` mode, too, only the target group's own credential is read."""
    world = IdentityWorld(trust="forwarded")
    world.assert_refused("no_credentials", (IDENTITY, "ada"), group=BEARER_GROUP)
    world.assert_refused("no_credentials", (IDENTITY, "ada"), group="another")
    world.assert_refused("subject_mismatch", (DATA, mint()), (IDENTITY, "root"))


def test_forwarded_subject_without_a_configured_issuer_is_refused() -> None:
    """An unset policy refuses everyone: a person is (issuer, subject)."""
    world = IdentityWorld(trust="forwarded", signers=(), oidc_issuer="", oidc_client_id="")
    world.assert_refused("untrusted_issuer", (IDENTITY, "ada"))


@pytest.mark.parametrize("subject", ["", " ", "ada\nroot", "a" * 316])
def test_forwarded_subject_that_is_not_legal_is_refused(subject: str) -> None:
    """A subject that a verified token may not have is refused in an unsigned header too."""
    with pytest.raises(Rejected) as refusal:
        IdentityWorld(trust="forwarded").identify((IDENTITY, subject))
    assert refusal.value.reason in ("missing_claim", "malformed_claim")


def test_ignored_identity_identifies_no_caller() -> None:
    """In `ignore` mode no caller is identified, whatever is sent, and nothing is fetched."""
    world = IdentityWorld(trust="ignore", anonymous="allow")
    for header, group in (
        ((DATA, mint()), BROWSER_GROUP),
        ((DATA, "junk"), BROWSER_GROUP),
        ((IDENTITY, "ada"), BROWSER_GROUP),
        (world.bearer(), BEARER_GROUP),
    ):
        assert world.identify(header, group=group) is None
    assert world.fetches == 0
