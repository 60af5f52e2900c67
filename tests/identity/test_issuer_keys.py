"""An issuer's keys: which of them count for what, and what an outage or a bad answer changes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from byline.errors import Reason, Rejected, Unavailable
from byline.fetch import Answer, FetchFailed
from byline.identity.discovery import DISCOVERY_LIFETIME_SECONDS
from byline.identity.documents import (
    OUTAGE_COOLDOWN_SECONDS,
    RENEWAL_COOLDOWN_SECONDS,
    STALE_LIFETIME_SECONDS,
)
from byline.identity.identity import Identity
from byline.identity.issuer_keys import KEYS_LIFETIME_SECONDS
from tests.identity.bearer_issuer import (
    DISCOVERY_URL,
    ISSUER,
    KEYS_URL,
    KID,
    NOW,
    PERSON,
    BearerIssuer,
    SlowWeb,
    encode,
    private_key,
    public_jwk,
)

LASTING = {**PERSON, "exp": NOW + 30 * 86_400}
"""A token that outlives every lifetime below, so that only the keys' own limits speak."""


@pytest.fixture
def issuer() -> BearerIssuer:
    return BearerIssuer()


def refused(verifier: Identity, token: Any) -> Reason:
    with pytest.raises(Rejected) as rejection:
        verifier.verify_bearer(token)
    return rejection.value.reason


def unavailable(verifier: Identity, token: Any) -> str:
    with pytest.raises(Unavailable) as outage:
        verifier.verify_bearer(token)
    return outage.value.source


class Tokens:
    """Valid tokens without end, each unseen, so that each asks for its key."""

    def __init__(self, issuer: BearerIssuer) -> None:
        self._issuer = issuer
        self._count = 0

    def __call__(self, **arguments: Any) -> Any:
        self._count += 1
        return self._issuer.token({**LASTING, "jti": str(self._count)}, **arguments)


@pytest.fixture
def unseen(issuer: BearerIssuer) -> Tokens:
    return Tokens(issuer)


def at_once(verifier: Identity, tokens: list[Any]) -> list[str]:
    """The subjects of `tokens`, each verified in a thread, all started together."""
    all_started = threading.Barrier(len(tokens))

    def verify(token: Any) -> str:
        all_started.wait()
        return verifier.verify_bearer(token).subject

    with ThreadPoolExecutor(len(tokens)) as threads:
        return list(threads.map(verify, tokens))


class TestLifetime:
    """When keys are fetched."""

    def test_keys_are_fetched_once_in_their_lifetime(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """Until the last second the copy does, from the next on it is fetched anew."""
        verifier = issuer.verifier()
        verifier.verify_bearer(unseen())
        issuer.clock.pass_seconds(KEYS_LIFETIME_SECONDS - 1)
        verifier.verify_bearer(unseen())
        assert issuer.web.count(KEYS_URL) == 1
        issuer.clock.pass_seconds(1)
        verifier.verify_bearer(unseen())
        assert issuer.web.count(KEYS_URL) == 2

    def test_discovery_has_a_lifetime_of_its_own(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """Where the keys are is asked less often than what they are."""
        verifier = issuer.verifier()
        verifier.verify_bearer(unseen())
        issuer.clock.pass_seconds(DISCOVERY_LIFETIME_SECONDS - 1)
        verifier.verify_bearer(unseen())
        assert (issuer.web.count(DISCOVERY_URL), issuer.web.count(KEYS_URL)) == (1, 2)
        issuer.clock.pass_seconds(KEYS_LIFETIME_SECONDS)
        verifier.verify_bearer(unseen())
        assert (issuer.web.count(DISCOVERY_URL), issuer.web.count(KEYS_URL)) == (2, 3)

    def test_configured_address_needs_no_discovery(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """With `jwks_uri` the discovery document is not asked for."""
        issuer.verifier(jwks_uri=KEYS_URL).verify_bearer(unseen())
        assert [url for url, _ in issuer.web.requests] == [KEYS_URL]

    @pytest.mark.parametrize("slow_url", [DISCOVERY_URL, KEYS_URL])
    def test_concurrent_misses_make_one_fetch(
        self, issuer: BearerIssuer, unseen: Tokens, slow_url: str
    ) -> None:
        """Eight threads without a key wait for one fetch, and all are served by it."""
        web = SlowWeb(issuer.web.answers, slow_url=slow_url)
        verifier = issuer.verifier_of(issuer.trusted(), fetch=web)
        assert at_once(verifier, [unseen() for _ in range(8)]) == ["ada"] * 8
        assert (web.count(DISCOVERY_URL), web.count(KEYS_URL)) == (1, 1)


class TestOutage:
    """Key outage is 503, never 401, and never an excuse to skip the check."""

    @pytest.mark.parametrize(
        ("url", "source"), [(DISCOVERY_URL, "discovery"), (KEYS_URL, "issuer_keys")]
    )
    def test_outage_without_a_copy_is_unavailable(
        self, issuer: BearerIssuer, unseen: Tokens, url: str, source: str
    ) -> None:
        """Nothing can be said of the token, and the error says what could not be had."""
        issuer.web.break_down(url)
        verifier = issuer.verifier()
        assert unavailable(verifier, unseen()) == source
        assert unavailable(verifier, unseen()) == source
        assert verifier.failed_fetches == 1

    def test_failed_fetch_is_repeated_after_its_cooldown_only(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """During an outage one request in five seconds tries, the others answer at once."""
        issuer.web.break_down(KEYS_URL)
        verifier = issuer.verifier()
        unavailable(verifier, unseen())
        issuer.publish_keys([public_jwk(issuer.key)])
        issuer.clock.pass_seconds(OUTAGE_COOLDOWN_SECONDS - 1)
        unavailable(verifier, unseen())
        assert issuer.web.count(KEYS_URL) == 1
        issuer.clock.pass_seconds(1)
        assert verifier.verify_bearer(unseen()).subject == "ada"

    @pytest.mark.parametrize("url", [DISCOVERY_URL, KEYS_URL])
    @pytest.mark.parametrize(
        "answer",
        [
            FetchFailed("ConnectTimeoutError"),
            Answer(500, b"{}"),
            Answer(404, b""),
            Answer(200, b""),
            Answer(200, b"<html>"),
            Answer(200, b"\xff\xfe"),
            Answer(200, b"[" * 100_000),
            Answer(200, b"{}"),
            Answer(200, b'{"keys": []}'),
            Answer(200, b'{"keys": {}}'),
            Answer(200, b'{"keys": [1, {"kid": "key-1"}, {"kty": 7}]}'),
            Answer(200, b'{"issuer": "https://other.example", "jwks_uri": "https://a.example"}'),
        ],
    )
    def test_bad_answer_never_erases_a_good_key(
        self,
        issuer: BearerIssuer,
        unseen: Tokens,
        url: str,
        answer: Answer | FetchFailed,
    ) -> None:
        """Whatever comes instead of the document, the last good copy goes on counting."""
        verifier = issuer.verifier()
        verifier.verify_bearer(unseen())
        issuer.web.answers[url] = answer
        issuer.clock.pass_seconds(DISCOVERY_LIFETIME_SECONDS)
        assert verifier.verify_bearer(unseen()).subject == "ada"
        assert issuer.web.count(url) == 2
        assert verifier.failed_fetches == 1

    def test_keys_in_an_error_page_are_not_believed(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """Only status 200 is an answer: a proxy's error page may hold anything, keys too."""
        stranger = private_key("RS256", "stranger")
        issuer.web.publish(KEYS_URL, {"keys": [public_jwk(stranger)]}, status=500)
        assert unavailable(issuer.verifier(), unseen(key=stranger)) == "issuer_keys"

    def test_good_key_is_kept_for_a_day_of_outage(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """Bounded staleness: the last second accepted, the next unavailable."""
        verifier = issuer.verifier()
        verifier.verify_bearer(unseen())
        issuer.web.break_down(KEYS_URL)
        issuer.clock.pass_seconds(STALE_LIFETIME_SECONDS - 1)
        assert verifier.verify_bearer(unseen()).subject == "ada"
        issuer.clock.pass_seconds(1)
        assert unavailable(verifier, unseen()) == "issuer_keys"

    def test_outage_does_not_skip_the_signature(self, issuer: BearerIssuer, unseen: Tokens) -> None:
        """A stale key checks as strictly as a fresh one."""
        verifier = issuer.verifier()
        verifier.verify_bearer(unseen())
        issuer.web.break_down(KEYS_URL)
        issuer.clock.pass_seconds(KEYS_LIFETIME_SECONDS)
        forged = unseen(key=private_key("RS256", "stranger"))
        assert refused(verifier, forged) == "bad_signature"

    def test_token_seen_during_an_outage_asks_for_its_key_again(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """What was verified with a stale key is not remembered past the outage."""
        verifier, token = issuer.verifier(), unseen()
        verifier.verify_bearer(token)
        issuer.web.break_down(KEYS_URL)
        issuer.clock.pass_seconds(KEYS_LIFETIME_SECONDS)
        verifier.verify_bearer(token)
        issuer.publish_keys([public_jwk(private_key("RS256", "next"), kid="key-2")])
        issuer.clock.pass_seconds(OUTAGE_COOLDOWN_SECONDS)
        assert refused(verifier, token) == "unknown_key"


class TestUnknownKey:
    """A key id that the copy at hand lacks."""

    def test_rotated_key_is_found_at_once(self, issuer: BearerIssuer, unseen: Tokens) -> None:
        """A token signed with a new key does not wait for the old copy's end."""
        verifier = issuer.verifier()
        verifier.verify_bearer(unseen())
        key = private_key("RS256", "next")
        issuer.publish_keys([public_jwk(issuer.key), public_jwk(key, kid="key-2")])
        issuer.clock.pass_seconds(1)
        assert verifier.verify_bearer(unseen(key=key, header={"kid": "key-2"})).subject == "ada"
        assert issuer.web.count(KEYS_URL) == 2

    def test_invented_ids_make_one_fetch_per_cooldown(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """However many ids a stranger invents, the issuer is asked once in the cooldown."""
        verifier = issuer.verifier()
        verifier.verify_bearer(unseen())
        issuer.clock.pass_seconds(1)
        assert refused(verifier, unseen(header={"kid": "invented"})) == "unknown_key"
        issuer.clock.pass_seconds(1)
        for number in range(20):
            token = unseen(header={"kid": f"invented-{number}"})
            assert unavailable(verifier, token) == "issuer_keys"
        issuer.clock.pass_seconds(RENEWAL_COOLDOWN_SECONDS - 1.5)
        assert refused(verifier, unseen(header={"kid": "invented"})) == "unknown_key"
        assert issuer.web.count(KEYS_URL) == 2
        issuer.clock.pass_seconds(0.5)
        assert refused(verifier, unseen(header={"kid": "invented-1"})) == "unknown_key"
        assert issuer.web.count(KEYS_URL) == 3
        assert verifier.failed_fetches == 0

    def test_new_key_beside_invented_ids_is_unavailable_for_seconds_and_never_refused(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """A stranger's ids do not make a token of a rotated key count as forged."""
        verifier = issuer.verifier()
        verifier.verify_bearer(unseen())
        issuer.clock.pass_seconds(1)
        assert refused(verifier, unseen(header={"kid": "invented"})) == "unknown_key"
        key = private_key("RS256", "next")
        issuer.publish_keys([public_jwk(issuer.key), public_jwk(key, kid="key-2")])
        issuer.clock.pass_seconds(RENEWAL_COOLDOWN_SECONDS - 1)
        token = unseen(key=key, header={"kid": "key-2"})
        assert unavailable(verifier, token) == "issuer_keys"
        issuer.clock.pass_seconds(1)
        assert verifier.verify_bearer(token).subject == "ada"

    def test_id_unknown_in_a_copy_fetched_for_it_makes_no_second_fetch(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """The first token of a cold start asks once, whatever its key id."""
        verifier = issuer.verifier()
        assert refused(verifier, unseen(header={"kid": "invented"})) == "unknown_key"
        assert issuer.web.count(KEYS_URL) == 1

    def test_unknown_id_during_an_outage_is_unavailable(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """It may be a new key that cannot be fetched: 503, while known keys go on counting."""
        verifier = issuer.verifier()
        verifier.verify_bearer(unseen())
        issuer.web.break_down(KEYS_URL)
        issuer.clock.pass_seconds(1)
        for _ in range(3):
            assert unavailable(verifier, unseen(header={"kid": "key-2"})) == "issuer_keys"
        assert verifier.verify_bearer(unseen()).subject == "ada"
        assert (verifier.failed_fetches, issuer.web.count(KEYS_URL)) == (1, 2)

    def test_concurrent_unknown_ids_make_one_fetch(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """Eight threads that lack the new key are served by one fetch."""
        web = SlowWeb(issuer.web.answers, slow_url=KEYS_URL)
        verifier = issuer.verifier_of(issuer.trusted(), fetch=web)
        verifier.verify_bearer(unseen())
        key = private_key("RS256", "next")
        issuer.publish_keys([public_jwk(key, kid="key-2")])
        issuer.clock.pass_seconds(1)
        tokens = [unseen(key=key, header={"kid": "key-2"}) for _ in range(8)]
        assert at_once(verifier, tokens) == ["ada"] * 8
        assert web.count(KEYS_URL) == 2


class TestFitness:
    """What a published key may verify. PyJWT checks neither `use` nor `key_ops` nor `alg`."""

    @pytest.mark.parametrize(
        "spoiled",
        [
            {"use": "enc"},
            {"use": ""},
            {"use": "SIG"},
            {"key_ops": ["sign"]},
            {"key_ops": []},
            {"alg": "RS384"},
            {"alg": "PS256"},
            {"alg": ""},
            {"kty": "EC"},
            {"kty": "oct", "k": "c2VjcmV0"},
            {"kty": "rsa"},
            {"n": None},
            {"e": "AA"},
            {"e": "AQ"},
            {"d": "AQAB"},
            {"d": 7},
        ],
    )
    def test_spoiled_key_is_unusable(
        self, issuer: BearerIssuer, unseen: Tokens, spoiled: dict[str, Any]
    ) -> None:
        """One member of a good key is changed, and its genuine signature counts no more."""
        issuer.publish_keys([public_jwk(issuer.key, **spoiled)])
        assert refused(issuer.verifier(), unseen()) == "unusable_key"

    @pytest.mark.parametrize(
        "harmless",
        [
            {"use": None, "key_ops": None},
            {"key_ops": ["verify", "encrypt"]},
            {"alg": "RS256"},
            {"x5c": ["MII"], "x5t": "abc", "anything": {"else": [1]}},
        ],
    )
    def test_key_that_allows_verifying_is_used(
        self, issuer: BearerIssuer, unseen: Tokens, harmless: dict[str, Any]
    ) -> None:
        """Members that are absent, say yes or are unknown are no hindrance."""
        issuer.publish_keys([public_jwk(issuer.key, **harmless)])
        assert issuer.verifier().verify_bearer(unseen()).subject == "ada"

    @pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
    def test_published_private_key_is_unusable(
        self, issuer: BearerIssuer, unseen: Tokens, algorithm: str
    ) -> None:
        """Anyone can sign with a published private key, so its signatures prove nothing."""
        key = private_key(algorithm)
        jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
        issuer.publish_keys([{**jwk, "kid": KID, "key_ops": ["sign", "verify"]}])
        token = unseen(key=key, algorithm=algorithm)
        assert refused(issuer.verifier(algorithms=(algorithm,)), token) == "unusable_key"

    def test_short_rsa_key_is_unusable(self, issuer: BearerIssuer, unseen: Tokens) -> None:
        """RFC 7518, 3.3: at least 2,048 bits."""
        short = rsa.generate_private_key(65_537, key_size=2_040)  # noqa: S505 - too short, indeed
        issuer.publish_keys([public_jwk(short)])
        assert refused(issuer.verifier(), unseen(key=short)) == "unusable_key"

    def test_key_of_another_curve_is_unusable(self, issuer: BearerIssuer, unseen: Tokens) -> None:
        """ES256 is P-256 and nothing else (RFC 7518, 3.4), though both are EC keys."""
        issuer.publish_keys([public_jwk(private_key("ES384"))])
        token = unseen(key=private_key("ES256"), algorithm="ES256")
        assert refused(issuer.verifier(algorithms=("ES256",)), token) == "unusable_key"

    def test_point_off_the_curve_is_unusable(self, issuer: BearerIssuer, unseen: Tokens) -> None:
        """An EC key whose coordinates lie on no curve is no key."""
        key = private_key("ES256")
        issuer.publish_keys([public_jwk(key, x=encode(bytes(32)))])
        token = unseen(key=key, algorithm="ES256")
        assert refused(issuer.verifier(algorithms=("ES256",)), token) == "unusable_key"

    def test_unreadable_keys_are_passed_over(self, issuer: BearerIssuer, unseen: Tokens) -> None:
        """RFC 7517, 5: one key that we cannot read does not hide the others."""
        strange = [1, None, {}, {"kty": 1}, {"kty": "AKP", "pub": "x"}, {"kty": "RSA", "kid": 5}]
        issuer.web.publish(KEYS_URL, {"keys": [*strange, public_jwk(issuer.key)]})
        assert issuer.verifier().verify_bearer(unseen()).subject == "ada"

    def test_two_types_under_one_id_are_told_apart(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """RFC 7517, 4.5: equal ids are legal where the algorithm decides."""
        curve = private_key("ES256")
        issuer.publish_keys([public_jwk(curve), public_jwk(issuer.key)])
        verifier = issuer.verifier(algorithms=("RS256", "ES256"))
        assert verifier.verify_bearer(unseen()).subject == "ada"
        assert verifier.verify_bearer(unseen(key=curve, algorithm="ES256")).subject == "ada"

    def test_two_keys_that_fit_under_one_id_are_unusable(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """Nothing says which is meant, and trying both is guessing."""
        issuer.publish_keys([public_jwk(issuer.key), public_jwk(private_key("RS256", "stranger"))])
        assert refused(issuer.verifier(), unseen()) == "unusable_key"

    def test_same_key_twice_under_one_id_is_one_key(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """Issuers that publish a key with and without `alg`, or twice, leave no doubt."""
        twice = [
            public_jwk(issuer.key),
            public_jwk(issuer.key),
            public_jwk(issuer.key, alg="RS256"),
        ]
        issuer.publish_keys(twice)
        assert issuer.verifier().verify_bearer(unseen()).subject == "ada"
        forged = unseen(key=private_key("RS256", "stranger"))
        assert refused(issuer.verifier(), forged) == "bad_signature"

    @pytest.mark.parametrize("published", ["Ed25519", "EdDSA", None])
    @pytest.mark.parametrize("named", ["Ed25519", "EdDSA"])
    def test_ed25519_has_two_names(
        self, issuer: BearerIssuer, unseen: Tokens, published: str | None, named: str
    ) -> None:
        """RFC 9864 names the algorithm of a key and a token by its curve, RFC 8037 did not."""
        key = private_key("EdDSA")
        issuer.publish_keys([public_jwk(key, alg=published)])
        token = unseen(key=key, algorithm="EdDSA", header={"alg": named})
        verifier = issuer.verifier(algorithms=("Ed25519", "EdDSA"))
        assert verifier.verify_bearer(token).subject == "ada"

    @pytest.mark.parametrize("published", ["ES256", "Ed448", "none", ""])
    def test_ed25519_key_of_another_algorithm_is_unusable(
        self, issuer: BearerIssuer, unseen: Tokens, published: str
    ) -> None:
        """A key's own `alg` is binding, whatever its curve."""
        key = private_key("EdDSA")
        issuer.publish_keys([public_jwk(key, alg=published)])
        token = unseen(key=key, algorithm="EdDSA", header={"alg": "Ed25519"})
        assert refused(issuer.verifier(algorithms=("Ed25519",)), token) == "unusable_key"

    def test_token_without_id_needs_one_key_that_fits(
        self, issuer: BearerIssuer, unseen: Tokens
    ) -> None:
        """The only RSA key beside an EC key is used; of two RSA keys neither is."""
        curve = public_jwk(private_key("ES256"), kid="curve")
        issuer.publish_keys([curve, public_jwk(issuer.key)])
        assert issuer.verifier().verify_bearer(unseen(header={"kid": None})).subject == "ada"
        second = public_jwk(private_key("RS256", "next"), kid="key-2")
        issuer.publish_keys([curve, public_jwk(issuer.key), second])
        assert refused(issuer.verifier(), unseen(header={"kid": None})) == "unusable_key"

    def test_empty_id_is_not_a_missing_one(self, issuer: BearerIssuer, unseen: Tokens) -> None:
        """A `kid` that is sent must be published, the empty one too."""
        assert refused(issuer.verifier(), unseen(header={"kid": ""})) == "unknown_key"


class TestDiscovery:
    """The document that says where the keys are."""

    @pytest.mark.parametrize(
        "spoiled",
        [
            {"issuer": f"{ISSUER}/"},
            {"issuer": "https://other.example"},
            {"issuer": None},
            {"jwks_uri": None},
            {"jwks_uri": "http://issuer.example/keys"},
            {"jwks_uri": "file:///keys"},
            {"jwks_uri": "http://127.0.0.1:9001/2018-06-01/runtime"},
            {"jwks_uri": "https://user:password@issuer.example/keys"},
            {"userinfo_endpoint": "http://issuer.example/userinfo"},
            {"userinfo_endpoint": "http://localhost/userinfo"},
        ],
    )
    def test_spoiled_document_is_not_followed(
        self, issuer: BearerIssuer, unseen: Tokens, spoiled: dict[str, Any]
    ) -> None:
        """Another issuer's document, or an address that is not https, leads nowhere."""
        issuer.web.publish(DISCOVERY_URL, {**issuer.metadata, **spoiled})
        assert unavailable(issuer.verifier(), unseen()) == "discovery"
        assert [url for url, _ in issuer.web.requests] == [DISCOVERY_URL]

    def test_trailing_slash_of_the_issuer_is_not_doubled(self) -> None:
        """OpenID Connect Discovery, 4: the slash goes before the well-known path is added."""
        issuer = BearerIssuer()
        issuer.web.publish(DISCOVERY_URL, {**issuer.metadata, "issuer": f"{ISSUER}/"})
        token = issuer.token({**PERSON, "iss": f"{ISSUER}/"})
        assert issuer.verifier(issuer=f"{ISSUER}/").verify_bearer(token).issuer == f"{ISSUER}/"


class TestWhatPyJwtDoes:
    """Behaviour of the library that this package leans on; an update that changes it shows here."""

    def test_signature_in_der_is_refused(self, issuer: BearerIssuer) -> None:
        """RFC 7518, 3.4: an ES256 signature is r and s, and DER would be a second spelling."""
        key = private_key("ES256")
        der = key.sign(b"signed", ec.ECDSA(SHA256()))
        algorithm = jwt.get_algorithm_by_name("ES256")
        assert not algorithm.verify(b"signed", key.public_key(), der)
        assert algorithm.verify(b"signed", key.public_key(), algorithm.sign(b"signed", key))

    @pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
    @pytest.mark.parametrize("spoil", [lambda s: s[:-1], lambda s: s + b"\0", lambda _: b"\0"])
    def test_signature_of_another_length_is_false_and_no_error(
        self, algorithm: str, spoil: Callable[[bytes], bytes]
    ) -> None:
        """`verify` answers, whatever it is given."""
        key = private_key(algorithm)
        signature = jwt.get_algorithm_by_name(algorithm).sign(b"signed", key)
        spoiled = spoil(signature)
        assert not jwt.get_algorithm_by_name(algorithm).verify(b"signed", key.public_key(), spoiled)

    def test_all_zero_ecdsa_signature_is_false(self) -> None:
        """CVE-2022-21449 elsewhere: r = s = 0 satisfies a careless equation."""
        key = private_key("ES256")
        algorithm = jwt.get_algorithm_by_name("ES256")
        assert not algorithm.verify(b"signed", key.public_key(), bytes(64))


def test_key_id_is_compared_exactly(issuer: BearerIssuer, unseen: Tokens) -> None:
    """Another case is another key."""
    assert refused(issuer.verifier(), unseen(header={"kid": KID.upper()})) == "unknown_key"
