"""The public keys of an issuer: its JSON Web Key Set (RFC 7517), cached.

PyJWT reads a key and checks a signature. What it leaves out is done here: `use`, `key_ops`, the
key's own `alg`, the size of RSA keys, and that a key serves no algorithm but those it is meant for
(RFC 8725, sections 2.1 and 3.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from jwt.algorithms import Algorithm

from byline.caching import Clock
from byline.errors import Rejected
from byline.fetch import Fetch, FetchFailed
from byline.identity.discovery import Discovery
from byline.identity.documents import Copy, LastGood, fetch_document
from byline.identity.settings import TrustedIssuer

KEYS_LIFETIME_SECONDS = 600
"""After this the keys are fetched anew: for so long a key counts that its issuer withdrew."""

MIN_RSA_BITS = 2_048
"""RFC 7518, section 3.3."""

type AlgorithmName = str

_ALGORITHMS: Mapping[tuple[str, str | None], frozenset[AlgorithmName]] = {
    ("RSA", None): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
"""What each type of key and curve may verify (RFC 7518, section 3.1; RFC 8037, section 3.1)."""


class _KeySet(msgspec.Struct, frozen=True):
    keys: tuple[msgspec.Raw, ...]


class _Jwk(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 7517, section 4; RFC 7518, section 6. `d` belongs to a private key."""

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
    """What it may verify. Empty for a key that may verify nothing: it is known, and unusable."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key, bound to the one algorithm that it was asked for."""

    key: Any
    algorithm: Algorithm
    fresh_until: float
    """Until when it counts without being fetched again, seconds since the epoch."""

    def check(self, signature: bytes, *, signed: bytes) -> None:
        """Raise `Rejected` (`bad_signature`) unless `signature` is this key's over `signed`."""
        if not self.algorithm.verify(signed, self.key, signature):
            raise Rejected("bad_signature", "the signature does not match")


class IssuerKeys:
    """The keys of one issuer, at its configured `jwks_uri` or at the one that it publishes."""

    def __init__(
        self, issuer: TrustedIssuer, *, discovery: Discovery, fetch: Fetch, now: Clock
    ) -> None:
        def load() -> tuple[_PublishedKey, ...]:
            url = issuer.jwks_uri or discovery.get().value.jwks_uri
            return _published_keys(fetch_document(url, _KeySet, fetch=fetch))

        self._now = now
        self._keys = LastGood(load, source="issuer_keys", lifetime=KEYS_LIFETIME_SECONDS, now=now)

    @property
    def failed_fetches(self) -> int:
        """How many fetches failed. Those of the discovery document are counted there."""
        return self._keys.failed_fetches

    def get(self, kid: str | None, algorithm: AlgorithmName) -> VerifyingKey:
        """The key `kid` for `algorithm`; without a `kid` the only key that fits.

        Raises `Rejected` (`unknown_key`: the issuer does not publish it; `unusable_key`: it does,
        but not for this algorithm, or not one alone) and `Unavailable`.
        """
        asked_at = self._now()
        copy = self._keys.get()
        keys = _of_id(copy, kid)
        if not keys and copy.fetched_at < asked_at:
            copy = self._keys.newer_than(copy)
            keys = _of_id(copy, kid)
        if not keys:
            raise Rejected("unknown_key", "the issuer does not publish this key id")
        usable = [key for key in keys if algorithm in key.algorithms]
        if len(usable) != 1:
            raise Rejected("unusable_key", f"{len(usable)} keys of this id may verify {algorithm}")
        return VerifyingKey(usable[0].key, jwt.get_algorithm_by_name(algorithm), copy.fresh_until)


def _of_id(copy: Copy[tuple[_PublishedKey, ...]], kid: str | None) -> list[_PublishedKey]:
    return [key for key in copy.value if kid is None or key.kid == kid]


def _published_keys(key_set: _KeySet) -> tuple[_PublishedKey, ...]:
    """What cannot be read as a key is passed over (RFC 7517, section 5)."""
    keys = []
    for raw in key_set.keys:
        try:
            keys.append(_published_key(msgspec.json.decode(raw, type=_Jwk)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
    if not keys:
        raise FetchFailed("there is no key in the set")
    return tuple(keys)


def _published_key(jwk: _Jwk) -> _PublishedKey:
    algorithms = _ALGORITHMS.get((jwk.kty, None if jwk.kty == "RSA" else jwk.crv), frozenset())
    if jwk.alg is not None:
        algorithms &= {jwk.alg}
    may_verify = jwk.use in (None, "sig") and (jwk.key_ops is None or "verify" in jwk.key_ops)
    if jwk.d is not None or not may_verify or not algorithms:
        # Whoever reads a published private key (`d`) can sign with it.
        return _PublishedKey(jwk.kid, None, frozenset())
    try:
        key = jwt.get_algorithm_by_name(min(algorithms)).from_jwk(msgspec.to_builtins(jwk))
    except (jwt.InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError):
        return _PublishedKey(jwk.kid, None, frozenset())
    if jwk.kty == "RSA" and key.key_size < MIN_RSA_BITS:
        return _PublishedKey(jwk.kid, None, frozenset())
    return _PublishedKey(jwk.kid, key, algorithms)
