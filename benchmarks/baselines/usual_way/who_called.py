"""Baseline: the caller by PyJWT, with keys fetched by httpx and kept."""

import os
from functools import cache
from typing import Any, Literal

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel

SIGNERS = os.environ["LOAD_BALANCER_ARNS"].split(",")
ISSUER = os.environ["OIDC_ISSUER"]
CLIENT_ID = os.environ["OIDC_CLIENT_ID"]
AUDIENCE = os.environ.get("AUDIENCE", "runs")
KEYS_URL = f"https://public-keys.auth.elb.{os.environ['AWS_REGION']}.amazonaws.com"

http = httpx.Client(timeout=3)


class NotAuthenticated(Exception):
    """The caller could not be authenticated."""


class UserClaims(BaseModel):
    """The claims of a person's token."""

    sub: str
    email: str = ""
    given_name: str = ""
    family_name: str = ""


class Caller(BaseModel):
    """A verified caller."""

    kind: Literal["user", "application"]
    subject: str
    executed_by: dict[str, Any]


def identify(headers: dict[str, Any]) -> Caller:
    """The caller from the request's verified token."""
    values = {
        name: value[0] if isinstance(value, list) else value for name, value in headers.items()
    }
    try:
        if token := values.get("x-amzn-oidc-data"):
            return _user(_load_balancer_claims(token))
        if authorization := values.get("authorization"):
            return _user(_bearer_claims(authorization.removeprefix("Bearer ")))
    except jwt.PyJWTError as error:
        raise NotAuthenticated(type(error).__name__) from error
    raise NotAuthenticated("no credentials")


def _load_balancer_claims(token: str) -> dict[str, Any]:
    header = jwt.get_unverified_header(token)
    if header.get("signer") not in SIGNERS or header.get("client") != CLIENT_ID:
        raise NotAuthenticated("signed by or for somebody else")
    claims: dict[str, Any] = jwt.decode(
        token,
        _load_balancer_key(header["kid"]),
        algorithms=["ES256"],
        issuer=ISSUER,
        options={"require": ["exp", "iss", "sub"], "verify_aud": False},
    )
    return claims


@cache
def _load_balancer_key(kid: str) -> EllipticCurvePublicKey:
    answer = http.get(f"{KEYS_URL}/{kid}").raise_for_status()
    key = load_pem_public_key(answer.content)
    if not isinstance(key, EllipticCurvePublicKey):
        raise NotAuthenticated("not a key of a load balancer")
    return key


@cache
def _issuer_keys() -> jwt.PyJWKClient:
    document = http.get(f"{ISSUER}/.well-known/openid-configuration").raise_for_status().json()
    return jwt.PyJWKClient(document["jwks_uri"])


def _bearer_claims(token: str) -> dict[str, Any]:
    key = _issuer_keys().get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=["RS256"], issuer=ISSUER, audience=AUDIENCE
    )
    return claims


def _user(claims: dict[str, Any]) -> Caller:
    user = UserClaims.model_validate(claims)
    spec = {"firstName": user.given_name, "lastName": user.family_name, "email": user.email}
    return Caller(
        kind="user",
        subject=user.sub,
        executed_by={"user": {"id": {"subject": user.sub}, "spec": spec}},
    )
