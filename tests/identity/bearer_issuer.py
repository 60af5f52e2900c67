"""An issuer of Bearer tokens with real keys, and the web in memory that it publishes on."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import Event, Lock
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from byline.fetch import Answer, Fetch, FetchFailed
from byline.identity.identity import Identity
from byline.identity.settings import IdentitySettings
from byline.identity.trusted_issuers import IssuerProfile, TrustedIssuer
from byline.identity.unverified import UnverifiedToken
from tests.identity.alb_tokens import SetClock

NOW = 1_800_000_000.0
ISSUER = "https://issuer.example"
KEYS_URL = f"{ISSUER}/keys"
DISCOVERY_URL = f"{ISSUER}/.well-known/openid-configuration"
USERINFO_URL = f"{ISSUER}/userinfo"
KID = "key-1"

PERSON: Mapping[str, Any] = {
    "iss": ISSUER,
    "aud": "byline",
    "sub": "ada",
    "client_id": "web",
    "auth_time": int(NOW) - 90,
    "iat": int(NOW) - 60,
    "exp": int(NOW) + 300,
}
"""A person's access token as RFC 9068 has it."""


@cache
def private_key(algorithm: str, name: str = "first") -> Any:
    """A real key for `algorithm`, made once for the session; another for another `name`."""
    del name
    if algorithm.startswith("ES"):
        curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
        return ec.generate_private_key(curves[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def public_jwk(key: Any, **members: Any) -> dict[str, Any]:
    """The public half of `key` as a JWK, with `members` beside it; None leaves a member out."""
    kinds: list[tuple[type, str]] = [
        (rsa.RSAPrivateKey, "RS256"),
        (ec.EllipticCurvePrivateKey, "ES256"),
        (ed25519.Ed25519PrivateKey, "EdDSA"),
    ]
    name = next(algorithm for kind, algorithm in kinds if isinstance(key, kind))
    jwk: dict[str, Any] = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    jwk = {"kid": KID, "use": "sig", **jwk, **members}
    return {member: value for member, value in jwk.items() if value is not None}


def encode(part: Mapping[str, Any] | bytes) -> str:
    """One segment of a token."""
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(
    claims: Mapping[str, Any], *, header: Mapping[str, Any], key: Any, algorithm: str
) -> UnverifiedToken:
    """A compact JWS. `header` is taken as it is, true or not; `algorithm` is what really signs."""
    signed = f"{encode(header)}.{encode(claims)}"
    signature = jwt.get_algorithm_by_name(algorithm).sign(signed.encode(), key)
    return UnverifiedToken(f"{signed}.{encode(signature)}")


@dataclass
class WebInMemory:
    """The `Fetch` port in memory: what was published where, and who asked for it."""

    answers: dict[str, Answer | FetchFailed] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        with self._lock:
            self.requests.append((url, dict(headers or {})))
        answer = self.answers.get(url, Answer(404, b"nothing here"))
        if isinstance(answer, FetchFailed):
            raise answer
        return answer

    def publish(self, url: str, document: Any, *, status: int = 200) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers[url] = Answer(status, body)

    def break_down(self, url: str) -> None:
        self.answers[url] = FetchFailed("ConnectTimeoutError")

    def count(self, url: str) -> int:
        """How often `url` was asked for."""
        return sum(asked == url for asked, _ in self.requests)


class SlowWeb(WebInMemory):
    """Answers `slow_url` late, so that concurrent misses would fetch it as well."""

    def __init__(self, answers: dict[str, Answer | FetchFailed], *, slow_url: str) -> None:
        super().__init__(answers)
        self._slow_url = slow_url

    def __call__(self, url: str, **arguments: Any) -> Answer:
        if url == self._slow_url:
            Event().wait(0.2)
        return super().__call__(url, **arguments)


class BearerIssuer:
    """A trusted issuer that signs with one RS256 key, published with its discovery document."""

    def __init__(
        self, web: WebInMemory | None = None, *, profile: IssuerProfile = "generic"
    ) -> None:
        self.web = web or WebInMemory()
        self.clock = SetClock(NOW)
        self.profile: IssuerProfile = profile
        self.key = private_key("RS256")
        self.metadata: dict[str, Any] = {
            "issuer": ISSUER,
            "jwks_uri": KEYS_URL,
            "userinfo_endpoint": USERINFO_URL,
        }
        self.web.publish(DISCOVERY_URL, self.metadata)
        self.publish_keys([public_jwk(self.key)])

    def publish_keys(self, jwks: Iterable[Mapping[str, Any]]) -> None:
        self.web.publish(KEYS_URL, {"keys": list(jwks)})

    def trusted(self, **members: Any) -> TrustedIssuer:
        """The configuration that trusts this issuer, with `members` changed."""
        settings: dict[str, Any] = {
            "issuer": ISSUER,
            "audiences": ("byline",),
            "profile": self.profile,
            **members,
        }
        return TrustedIssuer(**settings)

    def verifier(self, **members: Any) -> Identity:
        """An identity that trusts this issuer alone, configured with `members`."""
        return self.verifier_of(self.trusted(**members))

    def verifier_of(self, *issuers: TrustedIssuer, fetch: Fetch | None = None) -> Identity:
        """An identity that trusts `issuers`; it fetches from this issuer's web by default."""
        settings = IdentitySettings(trusted_issuers=issuers)
        identity = Identity(settings, fetch=fetch or self.web, now=self.clock)
        # Lambda sends one event at a time, so this is loaded without a lock; tests use threads.
        assert identity.bearer_tokens.failed_fetches == 0
        return identity

    def token(
        self,
        claims: Mapping[str, Any] = PERSON,
        *,
        header: Mapping[str, Any] | None = None,
        key: Any = None,
        algorithm: str = "RS256",
    ) -> UnverifiedToken:
        """A signed token; members of `header` that are None are left out."""
        members = {"alg": algorithm, "typ": "at+jwt", "kid": KID, **(header or {})}
        members = {name: value for name, value in members.items() if value is not None}
        return sign(claims, header=members, key=key or self.key, algorithm=algorithm)


def without(claims: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """`claims` without `names`."""
    return {name: value for name, value in claims.items() if name not in names}
