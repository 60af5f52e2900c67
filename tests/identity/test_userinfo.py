"""Userinfo fills gaps in the profile of the token's own subject, best effort, within bounds."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from byline.errors import Rejected
from byline.fetch import Answer, FetchFailed
from byline.identity.discovery import discovery
from byline.identity.identity import Identity
from byline.identity.issuer_keys import KEYS_LIFETIME_SECONDS
from byline.identity.unverified import UnverifiedToken
from byline.identity.userinfo import (
    ANSWER_LIFETIME_SECONDS,
    CACHED_ANSWERS,
    FAILURE_LIFETIME_SECONDS,
    Incomplete,
    Userinfo,
)
from tests.identity.bearer_issuer import (
    DISCOVERY_URL,
    ISSUER,
    KEYS_URL,
    NOW,
    PERSON,
    USERINFO_URL,
    BearerIssuer,
    SlowWeb,
    private_key,
    public_jwk,
    without,
)

PROFILE = {"given_name": "Ada", "family_name": "Lovelace", "email": "ada@example.com"}
ANSWER = {"sub": "ada", **PROFILE}
LASTING = {**PERSON, "exp": NOW + 86_400}
ADA = frozenset({"ada"})
OKTA_PERSON_BY_CLIENT = {
    **without(PERSON, "client_id"),
    "sub": "0oa1",
    "cid": "0oa1",
    "uid": "00u1",
}


@pytest.fixture
def issuer() -> BearerIssuer:
    issuer = BearerIssuer()
    issuer.web.publish(USERINFO_URL, ANSWER)
    return issuer


def userinfo_of(issuer: BearerIssuer) -> Userinfo:
    """The issuer's endpoint, without the identity that remembers verified tokens before it."""
    document = discovery(ISSUER, fetch=issuer.web, now=issuer.clock)
    return Userinfo(discovery=document, fetch=issuer.web, now=issuer.clock)


def profile_of(verifier: Identity, token: UnverifiedToken) -> dict[str, str]:
    """What is known of the token's person."""
    caller = verifier.verify_bearer(token)
    return {
        "given_name": caller.given_name,
        "family_name": caller.family_name,
        "email": caller.email,
    }


class TestAsked:
    """When the endpoint is asked, and what is sent."""

    def test_incomplete_profile_is_completed(self, issuer: BearerIssuer) -> None:
        """The person's token goes to the discovered endpoint, and to no other address."""
        token = issuer.token()
        assert profile_of(issuer.verifier(userinfo=True), token) == PROFILE
        sent = {url: headers.get("authorization") for url, headers in issuer.web.requests}
        assert sent == {
            DISCOVERY_URL: None,
            KEYS_URL: None,
            USERINFO_URL: f"Bearer {token.text}",
        }

    @pytest.mark.parametrize("missing", PROFILE)
    def test_one_gap_is_enough(self, issuer: BearerIssuer, missing: str) -> None:
        """No e-mail, or no given or family name."""
        token = issuer.token({**PERSON, **without(PROFILE, missing)})
        assert profile_of(issuer.verifier(userinfo=True), token) == PROFILE

    def test_verified_values_win(self, issuer: BearerIssuer) -> None:
        """Userinfo fills gaps and overrules nothing."""
        verified = {"given_name": "Augusta", "family_name": "King", "email": "ada@verified.example"}
        for claim, value in verified.items():
            token = issuer.token({**PERSON, claim: value})
            profile = profile_of(issuer.verifier(userinfo=True), token)
            assert profile == {**PROFILE, claim: value}

    def test_name_stays_that_of_the_token(self, issuer: BearerIssuer) -> None:
        """The caller's name comes from verified claims only, never from userinfo."""
        issuer.web.publish(USERINFO_URL, {**ANSWER, "preferred_username": "root"})
        caller = issuer.verifier(userinfo=True).verify_bearer(issuer.token())
        assert (caller.name, caller.subject, caller.kind) == ("ada", "ada", "user")

    @pytest.mark.parametrize(
        ("claims", "members"),
        [
            (PERSON, {}),
            (PERSON, {"userinfo": False}),
            ({**PERSON, **PROFILE}, {"userinfo": True}),
            ({**PERSON, "client_id": "ada"}, {"userinfo": True}),
            (without(PERSON, "client_id"), {"userinfo": True}),
            (PERSON, {"userinfo": True, "service_accounts": {"ada": "nightly"}}),
        ],
        ids=["default", "off", "complete", "application", "unknown", "configured application"],
    )
    def test_endpoint_is_not_asked_needlessly(
        self, issuer: BearerIssuer, claims: dict[str, Any], members: dict[str, Any]
    ) -> None:
        """Only where it is turned on, only for people, only for gaps."""
        issuer.verifier(**members).verify_bearer(issuer.token(claims))
        assert issuer.web.count(USERINFO_URL) == 0

    def test_refused_token_is_not_sent(self, issuer: BearerIssuer) -> None:
        """Nothing leaves before the signature is checked."""
        token = issuer.token()
        forged = UnverifiedToken(token.text[:-8] + "AAAAAAAA")
        with pytest.raises(Exception, match="bad_signature"):
            issuer.verifier(userinfo=True).verify_bearer(forged)
        assert issuer.web.count(USERINFO_URL) == 0


class TestFailures:
    """Best effort: whatever goes wrong, the caller is who the token names."""

    @pytest.mark.parametrize(
        "answer",
        [
            FetchFailed("ConnectTimeoutError"),
            Answer(401, b'{"error": "invalid_token"}'),
            Answer(500, b""),
            Answer(200, b""),
            Answer(200, b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln"),
            Answer(200, b"[]"),
            Answer(200, b"\xff"),
            Answer(200, b'{"sub": "grace", "email": "grace@example.com"}'),
            Answer(200, b'{"sub": "ADA", "email": "grace@example.com"}'),
            Answer(200, b'{"sub": 1, "email": "grace@example.com"}'),
            Answer(200, b'{"email": "grace@example.com"}'),
            Answer(200, b"[" * 100_000),
        ],
    )
    def test_unusable_answer_changes_nothing_and_is_remembered_briefly(
        self, issuer: BearerIssuer, answer: Answer | FetchFailed
    ) -> None:
        """An outage or an illegal answer is ignored, and the endpoint is asked again later."""
        issuer.web.answers[USERINFO_URL] = answer
        verifier, token = issuer.verifier(userinfo=True), issuer.token()
        assert profile_of(verifier, token) == dict.fromkeys(PROFILE, "")
        issuer.web.publish(USERINFO_URL, ANSWER)
        issuer.clock.pass_seconds(FAILURE_LIFETIME_SECONDS - 1)
        assert profile_of(verifier, token) == dict.fromkeys(PROFILE, "")
        assert issuer.web.count(USERINFO_URL) == 1
        issuer.clock.pass_seconds(1)
        assert profile_of(verifier, token) == PROFILE
        assert verifier.failed_fetches == 0

    def test_issuer_without_the_endpoint_changes_nothing(self, issuer: BearerIssuer) -> None:
        """Discovery need not name one."""
        issuer.web.publish(DISCOVERY_URL, without(issuer.metadata, "userinfo_endpoint"))
        verifier = issuer.verifier(userinfo=True)
        assert profile_of(verifier, issuer.token()) == dict.fromkeys(PROFILE, "")

    def test_discovery_outage_changes_nothing(self, issuer: BearerIssuer) -> None:
        """With keys at a configured address the token still verifies."""
        issuer.web.break_down(DISCOVERY_URL)
        verifier = issuer.verifier(userinfo=True, jwks_uri=KEYS_URL)
        assert profile_of(verifier, issuer.token()) == dict.fromkeys(PROFILE, "")

    @pytest.mark.parametrize(
        "endpoint", ["http://issuer.example/userinfo", "http://127.0.0.1/userinfo", "ftp://x/y"]
    )
    def test_token_is_not_sent_in_the_clear(self, issuer: BearerIssuer, endpoint: str) -> None:
        """Only to https; to this machine only where the issuer itself is on it."""
        issuer.web.publish(DISCOVERY_URL, {**issuer.metadata, "userinfo_endpoint": endpoint})
        issuer.web.publish(endpoint, ANSWER)
        verifier = issuer.verifier(userinfo=True, jwks_uri=KEYS_URL)
        assert profile_of(verifier, issuer.token()) == dict.fromkeys(PROFILE, "")
        assert issuer.web.count(endpoint) == 0

    def test_values_of_other_types_are_left_out(self, issuer: BearerIssuer) -> None:
        """An answer of the right subject may still hold anything."""
        issuer.web.publish(
            USERINFO_URL, {"sub": "ada", "email": ["a"], "given_name": "A\nB", "family_name": "L"}
        )
        profile = profile_of(issuer.verifier(userinfo=True), issuer.token())
        assert profile == {"email": "", "given_name": "", "family_name": "L"}


class TestRemembered:
    """By the token's hash, for ten minutes, never past the token's end."""

    def test_answer_is_kept_for_ten_minutes(self, issuer: BearerIssuer) -> None:
        """Until the last second, and asked again in the next."""
        verifier, token = issuer.verifier(userinfo=True), issuer.token(LASTING)
        verifier.verify_bearer(token)
        issuer.web.publish(USERINFO_URL, {**ANSWER, "family_name": "King"})
        issuer.clock.pass_seconds(ANSWER_LIFETIME_SECONDS - 1)
        assert profile_of(verifier, token)["family_name"] == "Lovelace"
        assert issuer.web.count(USERINFO_URL) == 1
        issuer.clock.pass_seconds(1)
        assert profile_of(verifier, token)["family_name"] == "King"

    def test_answer_does_not_outlive_its_token(self, issuer: BearerIssuer) -> None:
        """In the token's last second the answer counts, in the next it is forgotten."""
        userinfo = userinfo_of(issuer)
        token = issuer.token()
        incomplete = Incomplete(issuer.verifier().verify_bearer(token), PERSON["exp"], ADA)
        userinfo.complete(incomplete, token=token)
        issuer.clock.time = PERSON["exp"] - 1
        assert userinfo.complete(incomplete, token=token).caller.email == "ada@example.com"
        assert issuer.web.count(USERINFO_URL) == 1
        issuer.clock.time = PERSON["exp"]
        userinfo.complete(incomplete, token=token)
        assert issuer.web.count(USERINFO_URL) == 2

    def test_completed_caller_is_forgotten_with_its_key(self, issuer: BearerIssuer) -> None:
        """An answer does not make a token count longer than the key that signed it."""
        verifier, token = issuer.verifier(userinfo=True), issuer.token(LASTING)
        verifier.verify_bearer(issuer.token())
        issuer.clock.pass_seconds(KEYS_LIFETIME_SECONDS / 2)
        verifier.verify_bearer(token)
        issuer.publish_keys([public_jwk(private_key("RS256", "next"), kid="key-2")])
        issuer.clock.pass_seconds(KEYS_LIFETIME_SECONDS / 2 - 1)
        assert profile_of(verifier, token) == PROFILE
        issuer.clock.pass_seconds(1)
        with pytest.raises(Rejected) as refusal:
            verifier.verify_bearer(token)
        assert refusal.value.reason == "unknown_key"

    def test_another_token_of_the_person_asks_again(self, issuer: BearerIssuer) -> None:
        """An answer belongs to the token that it was given for."""
        verifier = issuer.verifier(userinfo=True)
        verifier.verify_bearer(issuer.token())
        verifier.verify_bearer(issuer.token({**PERSON, "jti": "2"}))
        assert issuer.web.count(USERINFO_URL) == 2

    def test_least_recently_used_answer_goes(self, issuer: BearerIssuer) -> None:
        """The cache of answers is bounded: past its size the first token asks again."""
        userinfo, first = userinfo_of(issuer), issuer.token(LASTING)
        incomplete = Incomplete(issuer.verifier().verify_bearer(first), LASTING["exp"], ADA)
        others = [UnverifiedToken(str(number)) for number in range(CACHED_ANSWERS)]
        for token in (first, *others, first):
            userinfo.complete(incomplete, token=token)
        assert issuer.web.count(USERINFO_URL) == CACHED_ANSWERS + 2

    @pytest.mark.parametrize("answer", [Answer(500, b""), None])
    def test_concurrent_misses_make_one_call(
        self, issuer: BearerIssuer, answer: Answer | None
    ) -> None:
        """Eight threads with one token wait for one answer, and for one failure."""
        all_started = threading.Barrier(8)
        web = SlowWeb(dict(issuer.web.answers), slow_url=USERINFO_URL)
        web.answers[USERINFO_URL] = answer or web.answers[USERINFO_URL]
        verifier = issuer.verifier_of(issuer.trusted(userinfo=True), fetch=web)
        token = issuer.token()

        def verify(_: int) -> str:
            all_started.wait()
            return verifier.verify_bearer(token).email

        with ThreadPoolExecutor(8) as threads:
            emails = set(threads.map(verify, range(8)))
        assert emails == ({"ada@example.com"} if answer is None else {""})
        assert web.count(USERINFO_URL) == 1


class TestOkta:
    """Whose access tokens name the person by `uid`, and by the client's id on some servers."""

    @pytest.fixture
    def issuer(self) -> BearerIssuer:
        return BearerIssuer(profile="okta")

    def test_answer_of_the_signed_user_id_completes_the_profile(self, issuer: BearerIssuer) -> None:
        """Where the token's `sub` is the client, its `uid` names the person."""
        issuer.web.publish(USERINFO_URL, {**ANSWER, "sub": "00u1"})
        caller = issuer.verifier(userinfo=True).verify_bearer(issuer.token(OKTA_PERSON_BY_CLIENT))
        assert (caller.subject, caller.token_subject) == ("00u1", "0oa1")
        assert caller.email == "ada@example.com"

    def test_complete_profile_asks_nothing(self, issuer: BearerIssuer) -> None:
        """The signed `uid` is the subject, so the answer could add nothing."""
        token = issuer.token({**OKTA_PERSON_BY_CLIENT, **PROFILE})
        assert issuer.verifier(userinfo=True).verify_bearer(token).subject == "00u1"
        assert issuer.web.count(USERINFO_URL) == 0

    @pytest.mark.parametrize("subject", ["00u2", "0oa1", "", None, 7, "a\nb"])
    def test_answer_does_not_overrule_the_signed_user_id(
        self, issuer: BearerIssuer, subject: object
    ) -> None:
        """An answer that names another person, the client or no person is discarded."""
        issuer.web.publish(USERINFO_URL, {**ANSWER, "sub": subject})
        caller = issuer.verifier(userinfo=True).verify_bearer(issuer.token(OKTA_PERSON_BY_CLIENT))
        assert (caller.subject, caller.email) == ("00u1", "")

    @pytest.mark.parametrize(("subject", "email"), [("00u1", "ada@example.com"), ("00u2", "")])
    def test_answer_by_user_id_is_the_persons_own(
        self, issuer: BearerIssuer, subject: str, email: str
    ) -> None:
        """The token says login name and `uid`, the answer the `uid`; another's is discarded."""
        issuer.web.publish(USERINFO_URL, {**ANSWER, "sub": subject})
        claims = {**OKTA_PERSON_BY_CLIENT, "sub": "ada@login.example"}
        caller = issuer.verifier(userinfo=True).verify_bearer(issuer.token(claims))
        assert (caller.subject, caller.email) == ("00u1", email)

    def test_other_profiles_have_no_exception(self) -> None:
        """A `uid`, or a client's id as the subject, means nothing to an issuer that is not Okta."""
        issuer = BearerIssuer(profile="keycloak")
        issuer.web.publish(USERINFO_URL, {**ANSWER, "sub": "00u1"})
        claims = {**PERSON, "typ": "Bearer", "azp": "ada", "cid": "ada", "sid": "s", "uid": "00u1"}
        caller = issuer.verifier(userinfo=True).verify_bearer(issuer.token(claims))
        assert (caller.subject, caller.email) == ("ada", "")
