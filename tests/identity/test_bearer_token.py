"""Bearer tokens: which are accepted, which are refused, and which cause no fetch."""

import hmac
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from byline.errors import Reason, Rejected, Unavailable
from byline.fetch import fetch
from byline.identity.identity import Identity
from byline.identity.issuer_keys import KEYS_LIFETIME_SECONDS
from byline.identity.settings import IdentitySettings
from byline.identity.trusted_issuers import TrustedIssuer
from byline.identity.unverified import UnverifiedToken
from tests.identity.alb_tokens import BEARER_GROUP
from tests.identity.bearer_issuer import (
    ISSUER,
    KEYS_URL,
    KID,
    NOW,
    PERSON,
    BearerIssuer,
    WebInMemory,
    encode,
    private_key,
    public_jwk,
    sign,
    without,
)

SERVICE_ACCOUNT = {**PERSON, "sub": "nightly", "client_id": "nightly"}


@pytest.fixture
def issuer() -> BearerIssuer:
    return BearerIssuer()


def reason_for(verifier: Identity, token: UnverifiedToken) -> Reason:
    """Why `token` is refused; nothing of its text is in what would be logged."""
    with pytest.raises(Rejected) as rejection:
        verifier.verify_bearer(token)
    said = f"{rejection.value!s} {rejection.value!r} {vars(rejection.value)}"
    assert all(segment not in said for segment in token.text.split(".") if len(segment) > 12)
    return rejection.value.reason


class TestBelieved:
    """What a valid token tells."""

    def test_person_is_a_user_with_their_profile(self, issuer: BearerIssuer) -> None:
        """A person's token names them as a user, with the profile that it carries."""
        profile = {"given_name": "Ada", "family_name": "Lovelace", "email": "ada@example.com"}
        caller = issuer.verifier().verify_bearer(
            issuer.token({**PERSON, **profile, "preferred_username": "ada.l"})
        )
        assert (caller.kind, caller.source, caller.issuer) == ("user", "bearer", ISSUER)
        assert (caller.subject, caller.token_subject, caller.name) == ("ada", "ada", "ada.l")
        assert caller.executed_by == {
            "user": {
                "id": {"subject": "ada"},
                "spec": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
            }
        }

    def test_service_account_is_an_application(self, issuer: BearerIssuer) -> None:
        """A client's own token names an application."""
        caller = issuer.verifier().verify_bearer(issuer.token(SERVICE_ACCOUNT))
        assert caller.executed_by == {
            "application": {"id": {"subject": "nightly"}, "spec": {"name": "nightly"}}
        }

    def test_configured_service_account_wins_over_claims_and_names_it(
        self, issuer: BearerIssuer
    ) -> None:
        """The configuration's map decides against the profile, and its name goes first."""
        verifier = issuer.verifier(service_accounts={"ada": "nightly training"})
        caller = verifier.verify_bearer(issuer.token({**PERSON, "preferred_username": "ada.l"}))
        assert (caller.kind, caller.name) == ("application", "nightly training")

    def test_subject_without_proof_is_of_unknown_kind(self, issuer: BearerIssuer) -> None:
        """A typed access token without `client_id` proves neither kind."""
        caller = issuer.verifier().verify_bearer(issuer.token(without(PERSON, "client_id")))
        assert (caller.kind, caller.executed_by) == ("unknown", None)

    @pytest.mark.parametrize(
        ("claims", "name"),
        [
            ({"preferred_username": "ada.l", "username": "al"}, "ada.l"),
            ({"username": "al"}, "al"),
            ({}, "ada"),
            ({"preferred_username": "a\nb", "username": ["al"]}, "ada"),
        ],
    )
    def test_name_is_the_first_of_the_verified_claims(
        self, issuer: BearerIssuer, claims: dict[str, Any], name: str
    ) -> None:
        """The name is the first short text of `preferred_username`, `username` and `sub`."""
        assert issuer.verifier().verify_bearer(issuer.token({**PERSON, **claims})).name == name

    @pytest.mark.parametrize("audiences", ["byline", ["byline"], ["other", "byline"]])
    def test_audience_among_several_is_accepted(
        self, issuer: BearerIssuer, audiences: object
    ) -> None:
        """One of the token's audiences is enough, in both forms of RFC 7519."""
        verifier = issuer.verifier(audiences=("byline", "byline-next"))
        assert verifier.verify_bearer(issuer.token({**PERSON, "aud": audiences})).subject == "ada"

    @pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", None])
    def test_access_token_typed_or_proved_is_accepted(
        self, issuer: BearerIssuer, typ: str | None
    ) -> None:
        """RFC 9068's type in every spelling, and tokens that only their claims type."""
        assert issuer.verifier().verify_bearer(issuer.token(header={"typ": typ})).kind == "user"

    @pytest.mark.parametrize(
        ("claim", "just_enough", "just_too_little", "reason"),
        [
            ("exp", NOW + 0.5, NOW, "expired"),
            ("nbf", NOW + 30, NOW + 31, "not_yet_valid"),
            ("iat", NOW + 30, NOW + 31, "not_yet_valid"),
        ],
    )
    def test_time_at_its_boundary(
        self,
        issuer: BearerIssuer,
        claim: str,
        just_enough: float,
        just_too_little: float,
        reason: Reason,
    ) -> None:
        """`exp` has no leeway, `nbf` and `iat` have half a minute, and not a second more."""
        verifier = issuer.verifier()
        assert verifier.verify_bearer(issuer.token({**PERSON, claim: just_enough})).subject == "ada"
        assert reason_for(verifier, issuer.token({**PERSON, claim: just_too_little})) == reason

    @pytest.mark.parametrize(
        "algorithm",
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
    )
    def test_every_configurable_algorithm_verifies(
        self, issuer: BearerIssuer, algorithm: str
    ) -> None:
        """Whatever an operator may list works, with a real key; a stranger's never does."""
        key = private_key(algorithm)
        issuer.publish_keys([public_jwk(key, alg=algorithm)])
        verifier = issuer.verifier(algorithms=(algorithm,))
        assert verifier.verify_bearer(issuer.token(key=key, algorithm=algorithm)).subject == "ada"
        forged = issuer.token(key=private_key(algorithm, "stranger"), algorithm=algorithm)
        assert reason_for(verifier, forged) == "bad_signature"


class TestRefusedWithoutAKey:
    """Tokens that are refused before a fetch, so that a stranger causes no request."""

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"iss": "https://issuer.example/"}, "untrusted_issuer"),
            ({"iss": "HTTPS://issuer.example"}, "untrusted_issuer"),
            ({"iss": [ISSUER]}, "untrusted_issuer"),
            ({"iss": None}, "untrusted_issuer"),
            ({"aud": "byline-web"}, "untrusted_audience"),
            ({"aud": []}, "untrusted_audience"),
            ({"aud": ["BYLINE", "byline "]}, "untrusted_audience"),
            ({"aud": None}, "missing_claim"),
            ({"aud": {"byline": True}}, "malformed_claim"),
            ({"aud": ["byline", 1]}, "malformed_claim"),
            ({"exp": None}, "missing_claim"),
            ({"exp": "2000000000"}, "malformed_claim"),
            ({"exp": True}, "malformed_claim"),
            ({"exp": 10**400}, "malformed_claim"),
            ({"nbf": None}, "malformed_claim"),
            ({"nbf": "1"}, "malformed_claim"),
            ({"iat": [1]}, "malformed_claim"),
            ({"sub": None}, "missing_claim"),
            ({"sub": ""}, "missing_claim"),
            ({"sub": 7}, "malformed_claim"),
            ({"sub": "a" * 316}, "malformed_claim"),
            ({"sub": "ada\nroot"}, "malformed_claim"),
            ({"cnf": {"jkt": "thumbprint"}}, "wrong_token_type"),
        ],
    )
    def test_one_spoiled_claim_is_refused(
        self, issuer: BearerIssuer, changed: dict[str, Any], reason: Reason
    ) -> None:
        """One claim of a valid token is changed, and it is signed again with the right key."""
        assert reason_for(issuer.verifier(), issuer.token({**PERSON, **changed})) == reason
        assert issuer.web.requests == []

    @pytest.mark.parametrize(
        ("claim", "reason"),
        [
            ("iss", "untrusted_issuer"),
            ("aud", "missing_claim"),
            ("exp", "missing_claim"),
            ("sub", "missing_claim"),
        ],
    )
    def test_required_claim_missing_is_refused(
        self, issuer: BearerIssuer, claim: str, reason: Reason
    ) -> None:
        """What decides whom and what the token is for may not be left out."""
        assert reason_for(issuer.verifier(), issuer.token(without(PERSON, claim))) == reason
        assert issuer.web.requests == []

    @pytest.mark.parametrize(
        ("header", "reason"),
        [
            ({"alg": "none"}, "unsupported_algorithm"),
            ({"alg": "HS256"}, "unsupported_algorithm"),
            ({"alg": "RS384"}, "unsupported_algorithm"),
            ({"alg": "rs256"}, "unsupported_algorithm"),
            ({"alg": ["RS256"]}, "unsupported_algorithm"),
            ({"crit": ["exp"], "exp": 1}, "unsupported_critical_header"),
            ({"crit": []}, "unsupported_critical_header"),
            ({"typ": "id_token+jwt"}, "wrong_token_type"),
            ({"typ": "logout+jwt"}, "wrong_token_type"),
            ({"typ": ""}, "wrong_token_type"),
            ({"typ": 1}, "malformed_token"),
            ({"kid": 1}, "malformed_token"),
        ],
    )
    def test_one_spoiled_header_is_refused(
        self, issuer: BearerIssuer, header: dict[str, Any], reason: Reason
    ) -> None:
        """One member of a valid token's header is changed."""
        assert reason_for(issuer.verifier(), issuer.token(header=header)) == reason
        assert issuer.web.requests == []

    def test_algorithm_missing_is_refused(self, issuer: BearerIssuer) -> None:
        """A header must say how it was signed."""
        header = {"typ": "at+jwt", "kid": KID}
        token = sign(PERSON, header=header, key=issuer.key, algorithm="RS256")
        assert reason_for(issuer.verifier(), token) == "unsupported_algorithm"

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda text: text + "=",
            lambda text: text.replace(".", "=.", 1),
            lambda text: text.rpartition(".")[0],
            lambda text: text + ".x",
            lambda text: text.rpartition(".")[0] + ".",
            lambda text: " " + text,
            lambda text: encode(b'{"alg":"RS256","alg":"RS256"}') + text[text.index(".") :],
        ],
    )
    def test_malformed_text_is_refused(self, issuer: BearerIssuer, spoil: Any) -> None:
        """Padding, a wrong number of segments, doubled members."""
        token = UnverifiedToken(spoil(issuer.token().text))
        assert reason_for(issuer.verifier(), token) == "malformed_token"
        assert issuer.web.requests == []

    def test_no_issuer_configured_refuses_everyone(self, issuer: BearerIssuer) -> None:
        """An empty policy refuses everyone."""
        verifier = issuer.verifier_of()
        assert reason_for(verifier, issuer.token()) == "untrusted_issuer"

    def test_refusal_tells_the_operator_what_was_expected(self, issuer: BearerIssuer) -> None:
        """Expected and actual are facts beside the reason, for the log."""
        with pytest.raises(Rejected) as rejection:
            issuer.verifier().verify_bearer(issuer.token({**PERSON, "aud": "byline-web"}))
        assert rejection.value.expected == ["byline"]
        assert rejection.value.actual == ["byline-web"]


class TestForgeries:
    """Tokens that an attacker without the issuer's key can write."""

    def test_stranger_key_under_a_known_id_is_refused(self, issuer: BearerIssuer) -> None:
        """The key id is a hint; the signature decides."""
        forged = issuer.token(key=private_key("RS256", "stranger"))
        assert reason_for(issuer.verifier(), forged) == "bad_signature"

    @pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
    def test_key_brought_along_is_never_used(self, issuer: BearerIssuer, member: str) -> None:
        """A token cannot say by which key, or from where, it wants to be checked."""
        stranger = private_key("RS256", "stranger")
        jwk = public_jwk(stranger, kid="theirs")
        url = "https://stranger.example/keys"
        issuer.web.publish(url, {"keys": [jwk]})
        value: Mapping[str, Any] = {"jwk": jwk, "jku": url, "x5u": url, "x5c": ["MII"]}
        forged = issuer.token(key=stranger, header={"kid": "theirs", member: value[member]})
        assert reason_for(issuer.verifier(), forged) == "unknown_key"
        assert issuer.web.count(url) == 0

    def test_public_key_as_a_shared_secret_is_refused(self, issuer: BearerIssuer) -> None:
        """RFC 8725, 2.1: HS256 over the public key is not a signature of the issuer's."""
        pem = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signed = f"{encode({'alg': 'HS256', 'typ': 'at+jwt', 'kid': KID})}.{encode(PERSON)}"
        mac = hmac.digest(pem, signed.encode(), "sha256")
        forged = UnverifiedToken(f"{signed}.{encode(mac)}")
        assert reason_for(issuer.verifier(), forged) == "unsupported_algorithm"

    def test_key_of_another_trusted_issuer_is_refused(self) -> None:
        """Each issuer signs for itself, though both are trusted and share a key id."""
        first, other_key = BearerIssuer(), private_key("RS256", "other issuer")
        other = "https://other.example"
        first.web.publish(f"{other}/keys", {"keys": [public_jwk(other_key)]})
        verifier = first.verifier_of(
            first.trusted(), first.trusted(issuer=other, jwks_uri=f"{other}/keys")
        )
        genuine = first.token({**PERSON, "iss": other}, key=other_key)
        assert verifier.verify_bearer(genuine).issuer == other
        assert reason_for(verifier, first.token(key=other_key)) == "bad_signature"

    def test_algorithm_of_another_issuer_is_refused(self, issuer: BearerIssuer) -> None:
        """The allow-list is the issuer's own: what one may use, another may not."""
        other = issuer.trusted(issuer="https://other.example", algorithms=("ES256",))
        verifier = issuer.verifier_of(issuer.trusted(), other)
        forged = issuer.token(key=private_key("ES256"), algorithm="ES256")
        assert reason_for(verifier, forged) == "unsupported_algorithm"


class TestSeenTokens:
    """A verified token is remembered by its hash."""

    def test_seen_token_needs_no_key(self, issuer: BearerIssuer) -> None:
        """The second request with a token fetches nothing and gets the same caller."""
        verifier, token = issuer.verifier(), issuer.token()
        caller = verifier.verify_bearer(token)
        issuer.web.requests.clear()
        assert verifier.verify_bearer(UnverifiedToken(str(token.text))) is caller
        assert issuer.web.requests == []

    def test_seen_token_is_refused_from_its_expiry_on(self, issuer: BearerIssuer) -> None:
        """The cache does not outlive the token, to the second."""
        verifier, token = issuer.verifier(), issuer.token()
        verifier.verify_bearer(token)
        issuer.clock.time = PERSON["exp"] - 1
        assert verifier.verify_bearer(token).subject == "ada"
        issuer.clock.time = PERSON["exp"]
        assert reason_for(verifier, token) == "expired"

    def test_seen_token_is_refused_once_its_key_is_withdrawn(self, issuer: BearerIssuer) -> None:
        """The cache does not outlive the key set, so a withdrawn key stops counting with it."""
        verifier, token = issuer.verifier(), issuer.token({**PERSON, "exp": NOW + 86_400})
        verifier.verify_bearer(token)
        issuer.publish_keys([public_jwk(private_key("RS256", "next"), kid="key-2")])
        issuer.clock.pass_seconds(KEYS_LIFETIME_SECONDS - 1)
        assert verifier.verify_bearer(token).subject == "ada"
        issuer.clock.pass_seconds(1)
        assert reason_for(verifier, token) == "unknown_key"

    def test_refused_token_is_refused_again(self, issuer: BearerIssuer) -> None:
        """Nothing of a refusal is remembered as a success."""
        verifier = issuer.verifier()
        forged = issuer.token(key=private_key("RS256", "stranger"))
        assert reason_for(verifier, forged) == "bad_signature"
        assert reason_for(verifier, forged) == "bad_signature"


class TestForwarded:
    """`IDENTITY_TRUST=forwarded`: no key, no network, every other check."""

    def test_token_with_any_signature_is_decoded(self, issuer: BearerIssuer) -> None:
        """The caller is what the claims say, and nothing is fetched, userinfo included."""
        forged = issuer.token(key=private_key("RS256", "stranger"))
        caller = issuer.verifier(userinfo=True).bearer_tokens.decode_without_signature(forged)
        assert (caller.kind, caller.subject) == ("user", "ada")
        assert issuer.web.requests == []

    @pytest.mark.parametrize(
        ("changed", "header", "reason"),
        [
            ({"exp": NOW}, {}, "expired"),
            ({"aud": "other"}, {}, "untrusted_audience"),
            ({"iss": "https://other.example"}, {}, "untrusted_issuer"),
            ({"sub": ""}, {}, "missing_claim"),
            ({}, {"alg": "none"}, "unsupported_algorithm"),
            ({}, {"crit": ["b64"], "b64": False}, "unsupported_critical_header"),
            ({}, {"typ": "logout+jwt"}, "wrong_token_type"),
        ],
    )
    def test_other_checks_are_not_skipped(
        self,
        issuer: BearerIssuer,
        changed: dict[str, Any],
        header: dict[str, Any],
        reason: Reason,
    ) -> None:
        """What needs no key is checked as ever."""
        with pytest.raises(Rejected) as rejection:
            issuer.verifier().bearer_tokens.decode_without_signature(
                issuer.token({**PERSON, **changed}, header=header)
            )
        assert rejection.value.reason == reason

    def test_decoded_token_is_not_taken_for_a_verified_one(self, issuer: BearerIssuer) -> None:
        """Decoding leaves nothing behind that `verify` would find."""
        verifier = issuer.verifier()
        forged = issuer.token(key=private_key("RS256", "stranger"))
        verifier.bearer_tokens.decode_without_signature(forged)
        assert reason_for(verifier, forged) == "bad_signature"


class TestOneChange:
    """Whatever single thing is changed about a valid token or its configuration, it is refused."""

    @given(data=st.data())
    def test_text_is_refused(self, data: st.DataObject) -> None:
        """One character replaced, inserted or left out, anywhere."""
        issuer = BearerIssuer()
        text = issuer.token().text
        at = data.draw(st.integers(0, len(text) - 1))
        character = data.draw(
            st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ")
        )
        changed = data.draw(
            st.sampled_from(
                [
                    text[:at] + character + text[at + 1 :],
                    text[:at] + character + text[at:],
                    text[:at] + text[at + 1 :],
                ]
            ).filter(lambda other: other != text)
        )
        with pytest.raises(Rejected):
            issuer.verifier().verify_bearer(UnverifiedToken(changed))

    @given(
        claim=st.sampled_from(["iss", "aud"]),
        value=st.one_of(st.text(max_size=20), st.integers(), st.none(), st.lists(st.text())),
    )
    def test_claim_is_refused(self, claim: str, value: object) -> None:
        """Another issuer or audience, of whatever type, though the right key signed it."""
        if value in (ISSUER, "byline") or (isinstance(value, list) and "byline" in value):
            return
        issuer = BearerIssuer()
        with pytest.raises(Rejected):
            issuer.verifier().verify_bearer(issuer.token({**PERSON, claim: value}))
        assert issuer.web.requests == []

    @given(
        member=st.sampled_from(["alg", "typ", "crit"]),
        value=st.one_of(st.text(max_size=20), st.integers(), st.lists(st.text())),
    )
    def test_header_is_refused(self, member: str, value: object) -> None:
        """Another algorithm, type or extension, though the right key signed it."""
        harmless = {"rs256", "at+jwt", "application/at+jwt", "jwt"}
        if isinstance(value, str) and value.lower() in harmless:
            return
        issuer = BearerIssuer()
        with pytest.raises(Rejected):
            issuer.verifier().verify_bearer(issuer.token(header={member: value}))
        assert issuer.web.requests == []

    @given(
        changed=st.one_of(
            st.fixed_dictionaries(
                {"issuer": st.text(min_size=1).filter(lambda value: value != ISSUER)}
            ),
            st.fixed_dictionaries(
                {"audiences": st.tuples(st.text(min_size=1).filter(lambda v: v != "byline"))}
            ),
            st.fixed_dictionaries(
                {"algorithms": st.sampled_from([("RS384",), ("PS256",), ("ES256", "EdDSA")])}
            ),
            st.fixed_dictionaries({"profile": st.sampled_from(["keycloak", "cognito"])}),
        )
    )
    def test_configuration_is_refused(self, changed: dict[str, Any]) -> None:
        """The token stays as it is, and what it must fulfil changes."""
        issuer = BearerIssuer()
        with pytest.raises(Rejected):
            issuer.verifier(**changed).verify_bearer(issuer.token())
        assert issuer.web.requests == []


class TestThroughTheIdentity:
    """The Bearer path as a function calls it."""

    def settings(self, *issuers: TrustedIssuer) -> IdentitySettings:
        return IdentitySettings(trusted_issuers=issuers, bearer_target_group=BEARER_GROUP)

    def event(self, authorization: str) -> dict[str, Any]:
        return {
            "requestContext": {"elb": {"targetGroupArn": f"{BEARER_GROUP}/12ef"}},
            "multiValueHeaders": {"authorization": [authorization]},
        }

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_bearer_token_names_the_caller(self, issuer: BearerIssuer, scheme: str) -> None:
        """The name of the Bearer scheme is case-insensitive."""
        identity = Identity(self.settings(issuer.trusted()), fetch=issuer.web, now=issuer.clock)
        caller = identity.identify(self.event(f"{scheme} {issuer.token().text}"))
        assert caller is not None
        assert caller.subject == "ada"

    def test_unknown_kind_is_refused(self, issuer: BearerIssuer) -> None:
        """A subject that is provably neither person nor machine counts as neither."""
        identity = Identity(self.settings(issuer.trusted()), fetch=issuer.web, now=issuer.clock)
        token = issuer.token(without(PERSON, "client_id"))
        with pytest.raises(Rejected) as rejection:
            identity.identify(self.event(f"Bearer {token.text}"))
        assert rejection.value.reason == "unknown_caller_kind"

    def test_failed_fetches_are_counted(self, issuer: BearerIssuer) -> None:
        """What could not be fetched shows in the count that the metric is made of."""
        issuer.web.break_down(KEYS_URL)
        identity = Identity(self.settings(issuer.trusted()), fetch=issuer.web, now=issuer.clock)
        with pytest.raises(Unavailable):
            identity.identify(self.event(f"Bearer {issuer.token().text}"))
        assert identity.failed_fetches == 1


@contextmanager
def loopback_issuer(key: Any) -> Iterator[str]:
    """A real issuer on this machine: discovery and keys over HTTP, until the block ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            documents = {
                "/.well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/keys"},
                "/keys": {"keys": [public_jwk(key)]},
            }
            body = json.dumps(documents.get(self.path, {})).encode()
            self.send_response(200 if self.path in documents else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: a test's output is its own."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield url
        finally:
            server.shutdown()
            thread.join()


def test_discovery_and_keys_come_over_http() -> None:
    """With the real `fetch` and a real server: found, fetched, verified."""
    web, key = WebInMemory(), private_key("RS256")
    with loopback_issuer(key) as url:
        issuer = BearerIssuer(web)
        verifier = issuer.verifier_of(issuer.trusted(issuer=url), fetch=fetch)
        assert verifier.verify_bearer(issuer.token({**PERSON, "iss": url})).issuer == url
        assert verifier.failed_fetches == 0
