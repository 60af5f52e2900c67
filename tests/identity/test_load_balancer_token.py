"""A load balancer's token is verified step by step, cheap checks before a fetch."""

import json
from base64 import urlsafe_b64decode
from copy import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from byline.errors import Reason, Rejected, Unavailable
from byline.fetch import Answer, FetchFailed
from byline.identity.caller import Caller
from byline.identity.identity import REMEMBERED_TOKENS, Identity
from byline.identity.load_balancer_keys import LoadBalancerKeys
from byline.identity.load_balancer_token import LoadBalancerTokens
from byline.identity.settings import IdentitySettings
from byline.identity.unverified import MAX_TOKEN_BYTES, UnverifiedToken
from tests.identity.alb_tokens import (
    ABSENT,
    CLIENT,
    ENVIRONMENT,
    FOREIGN_SIGNER,
    HEADER,
    ISSUER,
    KEY_URL,
    KID,
    NOW,
    SETTINGS,
    SIGNER,
    PublishedKeys,
    SetClock,
    event,
    mint,
    padded,
    pem,
    sign,
    signing_key,
)


class Verifier:
    """An identity that browsers' requests reach, with the clock and the keys that it uses."""

    def __init__(self, settings: IdentitySettings = SETTINGS) -> None:
        self.clock = SetClock()
        self.published = PublishedKeys()
        self.identity = Identity(settings, fetch=self.published, now=self.clock)
        keys = LoadBalancerKeys(fetch=self.published, now=self.clock)
        self.tokens = LoadBalancerTokens(settings, keys=keys, now=self.clock)

    def verify(self, text: str) -> Caller:
        caller = self.identity.identify(event(("x-amzn-oidc-data", text)))
        assert caller is not None
        return caller

    def decode(self, text: str) -> Caller:
        return self.tokens.decode_without_signature(UnverifiedToken(text))

    def assert_refused(self, text: str, reason: Reason, *, fetches: int = 0) -> Rejected:
        """`text` is refused for `reason` after so many fetches, and again when it comes again."""
        for _ in range(2):
            with pytest.raises(Rejected) as refusal:
                self.verify(text)
            assert refusal.value.reason == reason
        assert self.published.calls.total() == fetches
        return refusal.value


@pytest.fixture
def verifier() -> Verifier:
    return Verifier()


def test_valid_token_names_the_person(verifier: Verifier) -> None:
    """A valid padded token gives the person's claims after one fetch of the key."""
    assert verifier.verify(mint()) == Caller(
        kind="user",
        source="alb",
        issuer=ISSUER,
        subject="248289761001",
        token_subject="248289761001",
        name="248289761001",
        given_name="Ada",
        family_name="Lovelace",
        email="ada@example.com",
        email_verified=True,
    )
    assert verifier.published.calls == {KEY_URL: 1}


def test_token_of_padded_text_is_verified_over_its_padding(verifier: Verifier) -> None:
    """Padding is part of the signed text, whatever the lengths of the segments."""
    for filler in ("", "x", "xx", "xxx"):
        assert verifier.verify(mint({"typ": filler}, {"name": filler})).subject == "248289761001"


def test_token_with_its_padding_stripped_is_refused(verifier: Verifier) -> None:
    """A token whose padding a proxy removed is refused, because it is not the signed text."""
    assert "=" in mint()
    verifier.assert_refused(mint().replace("=", ""), "malformed_token")


# Before a key is fetched: none of these tokens causes a request.


def test_token_over_the_size_cap_is_refused_without_a_fetch(verifier: Verifier) -> None:
    """Size comes before parsing."""
    token = mint(claims={"name": "x" * MAX_TOKEN_BYTES})
    verifier.assert_refused(token, "token_too_large")


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a.b.c.d", "....", "\ud800"])
def test_text_that_is_no_token_is_refused_without_a_fetch(verifier: Verifier, text: str) -> None:
    """A text without three strict segments is refused."""
    verifier.assert_refused(text, "malformed_token")


@pytest.mark.parametrize(
    "algorithm",
    [ABSENT, None, "", "none", "None", "HS256", "RS256", "ES384", "es256", ["ES256"], 1],
)
def test_other_algorithm_is_refused_without_a_fetch(verifier: Verifier, algorithm: Any) -> None:
    """A load balancer signs with ES256 and nothing else (RFC 8725, section 3.1)."""
    verifier.assert_refused(mint({"alg": algorithm}), "unsupported_algorithm")


@pytest.mark.parametrize("critical", [[], ["b64"], ["exp"], None, "exp"])
def test_critical_extension_is_refused_without_a_fetch(verifier: Verifier, critical: Any) -> None:
    """RFC 7515, section 4.1.11: an extension that must be understood is not."""
    verifier.assert_refused(mint({"crit": critical}), "unsupported_critical_header")


@pytest.mark.parametrize(
    "kid",
    [
        ABSENT,
        None,
        "",
        1,
        [KID],
        KID.upper(),
        KID.replace("-", ""),
        f"{KID}/../../x",
        f"{KID}\n",
        f" {KID}",
        "../../latest/meta-data",
        f"{KID}?x=1",
        f"{KID}#",
        "٠f6b4bbe-9c1e-4f5c-8d0a-2b8a4e6c7d10",
    ],
)
def test_key_id_that_is_no_uuid_is_refused_without_a_fetch(verifier: Verifier, kid: Any) -> None:
    """The key id becomes part of a URL, so it is a UUID and nothing else."""
    verifier.assert_refused(mint({"kid": kid}), "malformed_token")


@pytest.mark.parametrize(
    "signer",
    [
        ABSENT,
        None,
        "",
        1,
        [SIGNER],
        {SIGNER: 1},
        FOREIGN_SIGNER,
        SIGNER + " ",
        SIGNER.upper(),
        SIGNER.replace("us-east-1", "eu-west-1"),
        SIGNER[:-1],
        f"{SIGNER},{FOREIGN_SIGNER}",
    ],
)
def test_foreign_signer_is_refused_without_a_fetch(verifier: Verifier, signer: Any) -> None:
    """ALBeast: all load balancers of a region share their keys; the signer alone tells ours.

    The token is signed with the very key that ours use.
    """
    verifier.assert_refused(mint({"signer": signer}), "untrusted_signer")


@pytest.mark.parametrize("client", [ABSENT, None, "", "another", CLIENT.upper(), [CLIENT], 1])
def test_other_client_is_refused_without_a_fetch(verifier: Verifier, client: Any) -> None:
    """Another rule of our own load balancer may sign people in for another application."""
    verifier.assert_refused(mint({"client": client}), "untrusted_client")


@pytest.mark.parametrize(
    "issuer", [ABSENT, None, "", "https://evil.example.com", f"{ISSUER}/", [ISSUER], 1]
)
def test_other_issuer_is_refused_without_a_fetch(verifier: Verifier, issuer: Any) -> None:
    """An issuer is compared to the letter."""
    verifier.assert_refused(mint({"iss": issuer}, {"iss": issuer}), "untrusted_issuer")


@pytest.mark.parametrize("expiry", [ABSENT, None, "", str(NOW + 120), NOW + 120.5, True, [], {}])
def test_expiry_that_is_no_time_is_refused_without_a_fetch(verifier: Verifier, expiry: Any) -> None:
    """A token without a time in seconds would count for ever."""
    verifier.assert_refused(mint({"exp": expiry}, {"exp": ABSENT}), "missing_claim")


def test_header_without_expiry_is_refused_though_the_payload_has_one(verifier: Verifier) -> None:
    """The header is the authority: the payload's `exp` does not stand in for it."""
    verifier.assert_refused(mint({"exp": ABSENT}), "missing_claim")


def test_token_is_accepted_in_its_last_second_and_refused_in_the_next(verifier: Verifier) -> None:
    """AWS's clocks on both sides: no leeway. A token never seen before."""
    verifier.clock.time = NOW + 119.999
    assert verifier.verify(mint()).subject == "248289761001"
    late = Verifier()
    late.clock.time = NOW + 120
    late.assert_refused(mint(), "expired")


def test_token_seen_before_is_accepted_in_its_last_second_and_refused_in_the_next(
    verifier: Verifier,
) -> None:
    """Remembering a token never makes it live longer."""
    verifier.verify(mint())
    token = mint()
    verifier.verify(token)
    verifier.clock.time = NOW + 119.999
    assert verifier.verify(token).subject == "248289761001"
    verifier.clock.time = NOW + 120
    verifier.assert_refused(token, "expired", fetches=1)


# With a key.


def test_unpublished_key_refuses_after_one_fetch(verifier: Verifier) -> None:
    """A key id that does not exist is asked for once."""
    unknown = KID.replace("0f6b", "ffff")
    verifier.assert_refused(mint({"kid": unknown}), "unknown_key", fetches=1)


def test_key_that_cannot_be_fetched_is_an_outage_and_no_refusal(verifier: Verifier) -> None:
    """An outage is 503, never 401, and never an excuse to skip the check."""
    verifier.published.answers[KEY_URL] = FetchFailed("ConnectTimeoutError")
    with pytest.raises(Unavailable) as outage:
        verifier.verify(mint())
    assert outage.value.source == "load_balancer_keys"


def test_key_of_another_curve_is_refused(verifier: Verifier) -> None:
    """ES256 is P-256 alone (RFC 7518, section 3.4)."""
    other = generate_private_key(SECP384R1())
    verifier.published.answers[KEY_URL] = Answer(200, pem(other))
    verifier.assert_refused(mint(), "unusable_key", fetches=1)


def test_signature_of_another_key_is_refused(verifier: Verifier) -> None:
    """A forger without the region's key."""
    verifier.assert_refused(mint(key=signing_key("a forger's")), "bad_signature", fetches=1)


def test_signature_of_another_token_is_refused(verifier: Verifier) -> None:
    """A genuine signature covers its own header and payload only."""
    other = mint(claims={"sub": "root"})
    stolen = mint().rpartition(".")[2]
    verifier.assert_refused(f"{other.rpartition('.')[0]}.{stolen}", "bad_signature", fetches=1)


@pytest.mark.parametrize("length", [1, 63, 65, 128])
def test_signature_of_another_length_is_refused(verifier: Verifier, length: int) -> None:
    """r and s are 32 bytes each, and nothing else follows."""
    head, _, _ = mint().rpartition(".")
    verifier.assert_refused(f"{head}.{padded(bytes(length))}", "bad_signature", fetches=1)


@pytest.mark.parametrize("place", [0, 32])
def test_signature_with_a_leading_zero_too_many_is_refused(verifier: Verifier, place: int) -> None:
    """The same two numbers, written longer, are another text."""
    head, _, signature = mint().rpartition(".")
    raw = urlsafe_b64decode(signature)
    longer = padded(raw[:place] + b"\0" + raw[place:])
    verifier.assert_refused(f"{head}.{longer}", "bad_signature", fetches=1)


def test_signature_in_der_is_refused(verifier: Verifier) -> None:
    """The other encoding of the same numbers is not a JWS signature (RFC 7518, section 3.4)."""
    head, _, signature = mint().rpartition(".")
    raw = bytes.fromhex("01" * 64)
    assert len(padded(raw)) == len(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    verifier.assert_refused(f"{head}.{padded(der)}", "bad_signature", fetches=1)


@pytest.mark.parametrize("r", [0, 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, 2**256 - 1])
def test_signature_of_degenerate_numbers_is_refused(verifier: Verifier, r: int, s: int) -> None:
    """Zero once verified anything in other libraries (CVE-2022-21449); here it is refused."""
    head, _, _ = mint().rpartition(".")
    forged = padded(r.to_bytes(32) + s.to_bytes(32))
    verifier.assert_refused(f"{head}.{forged}", "bad_signature", fetches=1)


# After the signature: what the payload says.


@pytest.mark.parametrize(
    "spoiled",
    [
        {"exp": NOW + 121},
        {"exp": str(NOW + 120)},
        {"exp": None},
        {"iss": "https://evil.example.com"},
        {"iss": None},
        {"iss": [ISSUER]},
    ],
)
def test_payload_that_repeats_the_header_differently_is_refused(
    verifier: Verifier, spoiled: dict[str, Any]
) -> None:
    """Where a payload repeats `exp` or `iss`, it must agree with the header."""
    verifier.assert_refused(mint(claims=spoiled), "malformed_claim", fetches=1)


def test_payload_that_repeats_nothing_is_accepted(verifier: Verifier) -> None:
    """Not every load balancer repeats `exp` and `iss`."""
    token = mint(claims={"exp": ABSENT, "iss": ABSENT})
    assert verifier.verify(token).issuer == ISSUER


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (ABSENT, "missing_claim"),
        (None, "missing_claim"),
        ("", "missing_claim"),
        (0, "malformed_claim"),
        (["ada"], "malformed_claim"),
        ({"id": "ada"}, "malformed_claim"),
        (" ", "malformed_claim"),
        ("ada\nroot", "malformed_claim"),
        ("ada\x00", "malformed_claim"),
        ("a" * 316, "malformed_claim"),
    ],
)
def test_subject_that_is_not_legal_is_refused(
    verifier: Verifier, subject: Any, reason: Reason
) -> None:
    """A token without a usable subject is refused."""
    verifier.assert_refused(mint(claims={"sub": subject}), reason, fetches=1)


@pytest.mark.parametrize(
    "harmless",
    [
        {"email_verified": "true"},
        {"email_verified": True},
        {"email_verified": ABSENT},
        {"aud": "another-application"},
        {"aud": ["one", 2]},
        {"nbf": NOW + 10_000},
        {"groups": ["admin"], "address": {"country": "GB"}},
    ],
)
def test_claims_that_mean_nothing_here_are_harmless(
    verifier: Verifier, harmless: dict[str, Any]
) -> None:
    """The payload is an answer of userinfo and no ID token, so its `aud` is not checked."""
    assert verifier.verify(mint(claims=harmless)).email == "ada@example.com"


@pytest.mark.parametrize("profile", [{"email": ["ada"]}, {"given_name": 1}, {"family_name": {}}])
def test_profile_of_another_type_is_left_out(verifier: Verifier, profile: dict[str, Any]) -> None:
    """A profile claim of an unexpected type is left out; the person is still accepted."""
    assert verifier.verify(mint(claims=profile)).subject == "248289761001"


def test_header_may_hold_more_than_is_known(verifier: Verifier) -> None:
    """AWS may add header fields; those that name keys of their own are never followed."""
    own = {"jku": "https://evil.example.com/keys", "x5u": "https://evil.example.com", "jwk": {}}
    assert verifier.verify(mint({"new": 1, **own})).subject == "248289761001"
    assert set(verifier.published.calls) == {KEY_URL}


# Remembering.


def test_token_seen_before_is_not_fetched_for_again(verifier: Verifier) -> None:
    """A browser's requests within a token's minutes cost one hash each."""
    token = mint()
    assert verifier.verify(token) is verifier.verify(token)
    assert verifier.published.calls == {KEY_URL: 1}


def test_remembered_token_is_forgotten_with_its_key(verifier: Verifier) -> None:
    """However long a token lives, it is verified again when its key's hour is over."""
    token = mint({"exp": NOW + 10**9}, {"exp": ABSENT})
    verifier.verify(token)
    verifier.published.answers[KEY_URL] = Answer(200, pem(signing_key("the next")))
    verifier.clock.time = NOW + 3_599
    assert verifier.verify(token).subject == "248289761001"
    verifier.clock.time = NOW + 3_600
    verifier.assert_refused(token, "bad_signature", fetches=2)


def test_refused_token_is_not_remembered_as_good(verifier: Verifier) -> None:
    """A refusal leaves nothing behind that a second try could use."""
    forged = mint(claims={"sub": "root"}, key=signing_key("a forger's"))
    verifier.assert_refused(forged, "bad_signature", fetches=1)
    assert verifier.verify(mint()).subject == "248289761001"
    verifier.assert_refused(forged, "bad_signature", fetches=1)


def test_remembered_callers_are_bounded(verifier: Verifier) -> None:
    """However many sessions there are, memory is bounded: the oldest is verified anew."""
    tokens = [mint(claims={"sub": f"person-{i}"}) for i in range(REMEMBERED_TOKENS + 1)]
    first = verifier.verify(tokens[0])
    for token in tokens[1:]:
        verifier.verify(token)
    again = verifier.verify(tokens[0])
    assert again == first
    assert again is not first


# Configuration.


def test_several_load_balancers_each_with_its_regions_keys() -> None:
    """The key's address follows from the configured ARN, never from the token."""
    other = SIGNER.replace("us-east-1", "eu-west-1")
    environment = {**ENVIRONMENT, "LOAD_BALANCER_ARNS": f"{SIGNER}, {other}"}
    verifier = Verifier(IdentitySettings.from_environment(environment))
    url = f"https://public-keys.auth.elb.eu-west-1.amazonaws.com/{KID}"
    verifier.published.answers[url] = Answer(200, pem(signing_key("eu")))
    token = mint({"signer": other}, key=signing_key("eu"))
    assert verifier.verify(token).subject == "248289761001"
    assert verifier.verify(mint()).subject == "248289761001"
    assert verifier.published.calls == {KEY_URL: 1, url: 1}
    # The same key id in another region is another key.
    verifier.assert_refused(mint({"signer": other}), "bad_signature", fetches=2)


@pytest.mark.parametrize(
    ("unset", "reason"),
    [
        ({"signers": ()}, "untrusted_signer"),
        ({"oidc_client_id": ""}, "untrusted_client"),
        ({"oidc_issuer": ""}, "untrusted_issuer"),
    ],
)
def test_empty_policy_refuses_everyone(unset: dict[str, Any], reason: Reason) -> None:
    """An empty expectation is matched by nothing, a token's empty field included."""
    verifier = Verifier(replace(SETTINGS, **unset))
    verifier.assert_refused(mint(), reason)
    empty = mint({"signer": "", "client": "", "iss": ""}, {"iss": ""})
    with pytest.raises(Rejected):
        verifier.verify(empty)
    if "signers" not in unset:
        field = {"oidc_client_id": "client", "oidc_issuer": "iss"}[next(iter(unset))]
        verifier.assert_refused(mint({field: ""}, {"iss": ABSENT}), reason)


# Without the signature.


def test_decoding_without_signature_needs_no_network(verifier: Verifier) -> None:
    """Decoding without a signature check makes no network call."""
    forged = mint(key=signing_key("a forger's"))
    assert verifier.decode(forged).subject == "248289761001"
    assert verifier.published.calls.total() == 0


@pytest.mark.parametrize(
    ("header", "claims", "reason"),
    [
        ({"alg": "none"}, {}, "unsupported_algorithm"),
        ({"signer": FOREIGN_SIGNER}, {}, "untrusted_signer"),
        ({"client": "another"}, {}, "untrusted_client"),
        ({"iss": "https://evil.example.com"}, {}, "untrusted_issuer"),
        ({"exp": NOW}, {"exp": NOW}, "expired"),
        ({}, {"iss": "https://evil.example.com"}, "malformed_claim"),
        ({}, {"sub": ABSENT}, "missing_claim"),
    ],
)
def test_decoding_without_signature_keeps_all_other_checks(
    verifier: Verifier, header: dict[str, Any], claims: dict[str, Any], reason: Reason
) -> None:
    """Decoding without a signature check still makes every check that needs no key."""
    with pytest.raises(Rejected) as refusal:
        verifier.decode(mint(header, claims))
    assert refusal.value.reason == reason


def test_decoded_token_is_not_remembered_as_verified(verifier: Verifier) -> None:
    """What was decoded unchecked never counts as verified later."""
    forged = mint(key=signing_key("a forger's"))
    verifier.decode(forged)
    verifier.assert_refused(forged, "bad_signature", fetches=1)


# What a refusal tells.


@pytest.mark.parametrize(
    ("value", "fact"),
    [
        ("x" * 10_000, "x" * 255),
        ({"a": [[[["deep"]]]]}, "<dict>"),
        ([1, 2], "<list>"),
        (["a"] * 1_000, ["a"] * 10),
        (7, 7),
        (int("9" * 4_000), "<int>"),
        (None, None),
    ],
    ids=["long", "nested", "mixed", "many", "number", "large number", "null"],
)
def test_refusal_tells_short_facts_only(verifier: Verifier, value: Any, fact: object) -> None:
    """A forger decides what stands in a token, but not how much of it is logged."""
    refusal = verifier.assert_refused(mint({"signer": value}), "untrusted_signer")
    assert refusal.expected == [SIGNER]
    assert refusal.actual == fact


def test_token_signed_over_doubled_members_is_refused(verifier: Verifier) -> None:
    """A genuine signature over an ambiguous header does not make it clear."""
    doubled = json.dumps(HEADER)[:-1] + f', "signer": "{SIGNER}"}}'
    verifier.assert_refused(sign(doubled.encode(), b'{"sub": "ada"}'), "malformed_token")


class TestSubjectRule:
    """The entry of the same issuer in `TRUSTED_ISSUERS` says which claim identifies a person."""

    @pytest.fixture
    def verifier(self) -> Verifier:
        entry = {"issuer": ISSUER, "audiences": ["byline"], "profile": "entra", "subject": "oid"}
        other = {**entry, "issuer": "https://other.example", "subject": "email"}
        trusted = json.dumps([other, entry])
        settings = IdentitySettings.from_environment({**ENVIRONMENT, "TRUSTED_ISSUERS": trusted})
        return Verifier(settings)

    def test_browsers_person_has_the_subject_of_a_bearer_token(self, verifier: Verifier) -> None:
        """Both ways lead to one principal, and the token's own `sub` is kept."""
        person = verifier.verify(mint({}, {"sub": "pairwise", "oid": "5c6d"}))
        assert (person.subject, person.token_subject) == ("5c6d", "pairwise")

    def test_unsigned_subject_must_still_equal_the_tokens_own(self, verifier: Verifier) -> None:
        """The load balancer writes the `sub` into its unsigned header, whatever the rule is."""
        token = ("x-amzn-oidc-data", mint({}, {"sub": "pairwise", "oid": "5c6d"}))
        caller = verifier.identity.identify(event(token, ("x-amzn-oidc-identity", "pairwise")))
        assert caller is not None
        with pytest.raises(Rejected, match="subject_mismatch"):
            verifier.identity.identify(event(token, ("x-amzn-oidc-identity", "5c6d")))

    @pytest.mark.parametrize("claims", [{"sub": "pairwise"}, {"sub": "pairwise", "oid": ""}])
    def test_token_without_the_claim_is_refused(
        self, verifier: Verifier, claims: dict[str, Any]
    ) -> None:
        """No other claim takes its place: the person would be two principals."""
        verifier.assert_refused(mint({}, claims), "missing_claim", fetches=1)
