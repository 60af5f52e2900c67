"""The public keys of an issuer: its JSON Web Key Set (RFC 7517), cached.

PyJWT reads a key and checks a signature. This module adds the checks that PyJWT leaves out: `use`,
`key_ops`, the key's own `alg`, the size of RSA keys, and the algorithms that a key may verify
(RFC 8725, sections 2.1 and 3.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from jwt.algorithms import Algorithm

from byline.caching import BoundedCache, Clock
from byline.errors import Rejected
from byline.fetch import Fetch, FetchFailed
from byline.identity.discovery import Discovery
from byline.identity.documents import (
    RENEWAL_COOLDOWN_SECONDS,
    Copy,
    LastGood,
    fetch_document,
)
from byline.identity.trusted_issuers import TrustedIssuer

KEYS_LIFETIME_SECONDS = 600
"""The age at which the keys are fetched again, and so the longest use of a withdrawn key."""

MIN_RSA_BITS = 2_048
"""RFC 7518, section 3.3."""

type AlgorithmName = str

_ALGORITHMS: Mapping[tuple[str, str | None], frozenset[AlgorithmName]] = {
    ("RSA", None): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
}
"""The algorithms of each key type and curve (RFC 7518, section 3.1; RFC 8037, section 3.1). With
curve Ed25519, `EdDSA` and `Ed25519` are one algorithm (RFC 9864, section 2.2)."""

ABSENT_IDS = 256
"""How many key ids are remembered that the issuer does not publish."""


class _KeySet(msgspec.Struct, frozen=True):
    keys: tuple[msgspec.Raw, ...]


class _Jwk(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 7517, section 4; RFC 7518, section 6. Only a private key has `d`."""

    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: tuple[str, ...] | None = None
    alg: str | None = None
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None
    d: object = None


@dataclass(frozen=True, slots=True)
class _PublishedKey:
    kid: str | None
    key: Any
    algorithms: frozenset[AlgorithmName]
    """The algorithms that it may verify; empty for a published key that is unusable."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with the one algorithm that the token names."""

    key: Any
    algorithm: Algorithm
    fresh_until: float
    """The time at which the key must be fetched again, seconds since the epoch."""

    def check(self, signature: bytes, *, signed: bytes) -> None:
        """Raise `Rejected` (`bad_signature`) unless this key made `signature` over `signed`."""
        if not self.algorithm.verify(signed, self.key, signature):
            raise Rejected("bad_signature", "The token's signature is not valid.")


class IssuerKeys:
    """The keys of one issuer, from its configured `jwks_uri` or the one that it publishes."""

    def __init__(
        self, issuer: TrustedIssuer, *, discovery: Discovery, fetch: Fetch, now: Clock
    ) -> None:
        def load() -> tuple[_PublishedKey, ...]:
            url = issuer.jwks_uri or discovery.get().value.jwks_uri
            return _published_keys(fetch_document(url, _KeySet, fetch=fetch))

        self._now = now
        self._absent: BoundedCache[str | None, float] = BoundedCache(ABSENT_IDS, now=now)
        self._keys = LastGood(load, source="issuer_keys", lifetime=KEYS_LIFETIME_SECONDS, now=now)

    @property
    def failed_fetches(self) -> int:
        """How many fetches of keys failed. The discovery document counts its own failures."""
        return self._keys.failed_fetches

    def get(self, kid: str | None, algorithm: AlgorithmName) -> VerifyingKey:
        """The key `kid` for `algorithm`; without a `kid` the only key for `algorithm`.

        Raises `Rejected`: `unknown_key` where the issuer does not publish the key, `unusable_key`
        where not exactly one published key may verify `algorithm`. Raises `Unavailable` where the
        keys could not be fetched, and for an unknown `kid` in the seconds after another unknown one
        was asked for: it may be a new key.
        """
        asked_at = self._now()
        copy = self._keys.get()
        keys = _of_id(copy, kid)
        if not keys and copy.fetched_at < asked_at and self._absent.get(kid) is None:
            copy = self._keys.newer_than(copy)
            keys = _of_id(copy, kid)
        if not keys:
            until = copy.fetched_at + RENEWAL_COOLDOWN_SECONDS
            self._absent.put(kid, copy.fetched_at, until=until)
            raise Rejected(
                "unknown_key",
                "The issuer does not publish the token's key id (`kid`). Get a new token.",
            )
        usable = _distinct([key for key in keys if algorithm in key.algorithms])
        if len(usable) != 1:
            raise Rejected(
                "unusable_key",
                f"{len(usable)} keys of the token's key id (`kid`) may verify {algorithm}, not 1.",
            )
        return VerifyingKey(usable[0].key, _algorithm(algorithm), copy.fresh_until)


def _algorithm(name: AlgorithmName) -> Algorithm:
    """PyJWT's algorithm, which has no name of RFC 9864 yet."""
    return jwt.get_algorithm_by_name("EdDSA" if name == "Ed25519" else name)


def _distinct(keys: list[_PublishedKey]) -> list[_PublishedKey]:
    """The keys without those whose key is that of an earlier one, as during a rotation."""
    return [
        key
        for number, key in enumerate(keys)
        if all(key.key != earlier.key for earlier in keys[:number])
    ]


def _of_id(copy: Copy[tuple[_PublishedKey, ...]], kid: str | None) -> list[_PublishedKey]:
    return [key for key in copy.value if kid is None or key.kid == kid]


def _published_keys(key_set: _KeySet) -> tuple[_PublishedKey, ...]:
    """Entries that are not keys are ignored (RFC 7517, section 5)."""
    keys = []
    for raw in key_set.keys:
        try:
            keys.append(_published_key(msgspec.json.decode(raw, type=_Jwk)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
    if not keys:
        raise FetchFailed("the key set is empty")
    return tuple(keys)


def _published_key(jwk: _Jwk) -> _PublishedKey:
    algorithms = _ALGORITHMS.get((jwk.kty, None if jwk.kty == "RSA" else jwk.crv), frozenset())
    if jwk.alg is not None and not (jwk.crv == "Ed25519" and jwk.alg in algorithms):
        algorithms &= {jwk.alg}
    may_verify = jwk.use in (None, "sig") and (jwk.key_ops is None or "verify" in jwk.key_ops)
    if jwk.d is not None or not may_verify or not algorithms:
        # Anyone can sign with a published private key (`d`).
        return _PublishedKey(jwk.kid, None, frozenset())
    try:
        key = _algorithm(min(algorithms)).from_jwk(msgspec.to_builtins(jwk))
    except (jwt.InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError):
        return _PublishedKey(jwk.kid, None, frozenset())
    if jwk.kty == "RSA" and key.key_size < MIN_RSA_BITS:
        return _PublishedKey(jwk.kid, None, frozenset())
    return _PublishedKey(jwk.kid, key, algorithms)
