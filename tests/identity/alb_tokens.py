"""Tokens and events as a load balancer makes them: real keys, real header fields, padded segments.

`mint()` is valid for `SETTINGS` at the time `NOW`; every test spoils one thing of it.
"""

import json
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from byline.fetch import Answer, FetchFailed
from byline.identity.settings import IdentitySettings

NOW: Final = 1_800_000_000
KID: Final = "0f6b4bbe-9c1e-4f5c-8d0a-2b8a4e6c7d10"
ISSUER: Final = "https://login.example.com"
CLIENT: Final = "browser-client"
_ACCOUNT = "us-east-1:123456789012"
SIGNER: Final = f"arn:aws:elasticloadbalancing:{_ACCOUNT}:loadbalancer/app/byline/50dc6c495c0c9188"
FOREIGN_SIGNER: Final = (
    "arn:aws:elasticloadbalancing:us-east-1:999999999999:loadbalancer/app/byline/50dc6c495c0c9188"
)
_GROUPS = f"arn:aws:elasticloadbalancing:{_ACCOUNT}:targetgroup"
BROWSER_GROUP: Final = f"{_GROUPS}/byline-browser"
BEARER_GROUP: Final = f"{_GROUPS}/byline-bearer"
KEYS_URL: Final = "https://public-keys.auth.elb.us-east-1.amazonaws.com"
KEY_URL: Final = f"{KEYS_URL}/{KID}"

ENVIRONMENT: Final[Mapping[str, str]] = {
    "LOAD_BALANCER_ARNS": SIGNER,
    "OIDC_ISSUER": ISSUER,
    "OIDC_CLIENT_ID": CLIENT,
    "BROWSER_TARGET_GROUP": BROWSER_GROUP,
    "BEARER_TARGET_GROUP": BEARER_GROUP,
}
SETTINGS: Final = IdentitySettings.from_environment(ENVIRONMENT)

ABSENT: Final = object()
"""As a field's value: leave the field out."""

HEADER: Final[Mapping[str, Any]] = {
    "typ": "JWT",
    "kid": KID,
    "alg": "ES256",
    "iss": ISSUER,
    "client": CLIENT,
    "signer": SIGNER,
    "exp": NOW + 120,
}
CLAIMS: Final[Mapping[str, Any]] = {
    "sub": "248289761001",
    "email": "ada@example.com",
    "email_verified": "true",
    "given_name": "Ada",
    "family_name": "Lovelace",
    "exp": NOW + 120,
    "iss": ISSUER,
}


@cache
def signing_key(name: str = "the region's") -> EllipticCurvePrivateKey:
    """A P-256 key, one for each name and test run."""
    return generate_private_key(SECP256R1())


def pem(key: EllipticCurvePrivateKey | EllipticCurvePublicKey) -> bytes:
    """The public key as a load balancer's region publishes it."""
    public = key.public_key() if isinstance(key, EllipticCurvePrivateKey) else key
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def mint(
    header: Mapping[str, Any] | None = None,
    claims: Mapping[str, Any] | None = None,
    *,
    key: EllipticCurvePrivateKey | None = None,
) -> str:
    """A token, signed after `header` and `claims` have replaced fields of the valid ones."""
    return sign(_json(HEADER, header), _json(CLAIMS, claims), key=key)


def sign(header: bytes, payload: bytes, *, key: EllipticCurvePrivateKey | None = None) -> str:
    """Any two segments, signed."""
    signed = f"{padded(header)}.{padded(payload)}"
    der = (key or signing_key()).sign(signed.encode(), ECDSA(SHA256()))
    r, s = decode_dss_signature(der)
    return f"{signed}.{padded(r.to_bytes(32) + s.to_bytes(32))}"


def padded(data: bytes) -> str:
    """base64url with its `=`, as only load balancers write it."""
    return urlsafe_b64encode(data).decode()


def event(
    *headers: tuple[str, str], group: str = BROWSER_GROUP, multi_value: bool = True
) -> dict[str, Any]:
    """A request as the load balancer hands it to the function, in either of its two shapes."""
    request: dict[str, Any] = {
        "requestContext": {"elb": {"targetGroupArn": target_group_arn(group)}},
        "httpMethod": "GET",
        "path": "/v1/whoami",
        "body": "",
        "isBase64Encoded": False,
    }
    if multi_value:
        values: dict[str, list[str]] = {}
        for name, value in headers:
            values.setdefault(name, []).append(value)
        request |= {"multiValueHeaders": values, "multiValueQueryStringParameters": {}}
    else:
        request |= {"headers": dict(headers), "queryStringParameters": {}}
    return request


def target_group_arn(group: str) -> str:
    """The ARN of a target group, with its id. `group`: the ARN without it, or a name."""
    return f"{group if ':' in group else f'{_GROUPS}/{group}'}/1234567890abcdef"


class PublishedKeys:
    """The region's key endpoint in memory: answers by URL, 404 for all others, calls counted."""

    def __init__(self, answers: Mapping[str, Answer | FetchFailed] | None = None) -> None:
        self.answers: dict[str, Answer | FetchFailed] = dict(
            {KEY_URL: Answer(200, pem(signing_key()))} if answers is None else answers
        )
        self.calls: Counter[str] = Counter()

    def __call__(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        self.calls[url] += 1
        answer = self.answers.get(url, Answer(404, b"NoSuchKey"))
        if isinstance(answer, FetchFailed):
            raise answer
        return answer


class SetClock:
    """A clock that stands still until a test moves it. Seconds since the epoch."""

    def __init__(self, time: float = NOW) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time

    def pass_seconds(self, seconds: float) -> None:
        self.time += seconds


def _json(valid: Mapping[str, Any], changes: Mapping[str, Any] | None) -> bytes:
    fields = {**valid, **(changes or {})}
    return json.dumps({name: v for name, v in fields.items() if v is not ABSENT}).encode()


def segments_of(tokens: Iterable[str]) -> set[str]:
    """The segments of `tokens`, none of which may ever be shown."""
    return {segment for token in tokens for segment in token.split(".") if segment}
