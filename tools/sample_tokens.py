"""Tokens for the sample events: real tokens of published keys that expire in 2100.

They are the same bytes in every run: ECDSA with the deterministic nonce of RFC 6979, and RS256.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

PRIVATE_KEYS = Path(__file__).parents[1] / "events" / "keys" / "not-secret"

LOAD_BALANCER_KID = "6e9d2f04-5a1c-4c7b-9f83-2d1b0c8e7a55"
ISSUER_KID = "sample-events"

ISSUER = "http://127.0.0.1:8081"
CLIENT_ID = "byline-browser"
AUDIENCE = "byline"
LOAD_BALANCER = (
    "arn:aws:elasticloadbalancing:us-east-1:123456789012:"
    "loadbalancer/app/byline-local/50dc6c495c0c9188"
)
FOREIGN_LOAD_BALANCER = LOAD_BALANCER.replace("123456789012", "999999999999")

ISSUED_AT = 1_793_606_400
"""2026-11-02T08:00:00Z, seconds since the epoch."""
EXPIRY = 4_102_444_800
"""2100-01-01."""
PAST = ISSUED_AT + 120

ADA: Mapping[str, Any] = {
    "sub": "user-1815",
    "name": "Ada Lovelace",
    "given_name": "Ada",
    "family_name": "Lovelace",
    "preferred_username": "ada",
    "email": "ada@example.com",
    "email_verified": "true",
}
"""A person's claims, as userinfo has them."""


def browser_token(*, signer: str = LOAD_BALANCER, expiry: int = EXPIRY) -> str:
    """Ada's `x-amzn-oidc-data`, signed with ES256 over padded segments."""
    header = {
        "typ": "JWT",
        "kid": LOAD_BALANCER_KID,
        "alg": "ES256",
        "iss": ISSUER,
        "client": CLIENT_ID,
        "signer": signer,
        "exp": expiry,
    }
    signed = f"{_padded(header)}.{_padded({**ADA, 'exp': expiry, 'iss': ISSUER})}"
    key = cast(EllipticCurvePrivateKey, _private_key("load-balancer.pem"))
    der = key.sign(signed.encode(), ECDSA(SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return f"{signed}.{urlsafe_b64encode(r.to_bytes(32) + s.to_bytes(32)).decode()}"


def forged_browser_token() -> str:
    """Ada's token with another payload, and the signature left as it was."""
    header, _, signature = browser_token().split(".")
    payload = {**ADA, "sub": "user-1906", "email": "grace@example.com"}
    return f"{header}.{_padded(payload)}.{signature}"


def bearer_token(subject: str, client_id: str, **claims: Any) -> str:
    """An access token (RFC 9068) of a person, or of the client itself if both names are equal."""
    payload = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "client_id": client_id,
        "iat": ISSUED_AT,
        "exp": EXPIRY,
        **claims,
    }
    key = cast(RSAPrivateKey, _private_key("issuer.pem"))
    return jwt.encode(payload, key, "RS256", headers={"typ": "at+jwt", "kid": ISSUER_KID})


def load_balancer_public_key() -> str:
    """The load balancer's public key as PEM, as a region publishes it at `/{kid}`."""
    public_key = _private_key("load-balancer.pem").public_key()
    pem: bytes = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def issuer_key_set() -> dict[str, Any]:
    """The issuer's JSON Web Key Set (RFC 7517)."""
    key = cast(RSAPrivateKey, _private_key("issuer.pem")).public_key()
    jwk = jwt.get_algorithm_by_name("RS256").to_jwk(key, as_dict=True)
    jwk = {"kid": ISSUER_KID, "use": "sig", "alg": "RS256", **jwk}
    return {"keys": [{name: value for name, value in jwk.items() if name != "key_ops"}]}


def _private_key(name: str) -> Any:
    return load_pem_private_key((PRIVATE_KEYS / name).read_bytes(), password=None)


def _padded(part: Mapping[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(part, separators=(",", ":")).encode()).decode()
