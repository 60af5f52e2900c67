"""Forged credentials, which the demo and the tests see refused."""

import time

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from local.load_balancer_events import Reply, Request
from local.load_balancer_signing import Signer
from local.openid_directory import Person
from local.openid_provider import AUDIENCE, BROWSER_CLIENT

ATTACKER_ARN = (
    "arn:aws:elasticloadbalancing:us-east-1:999999999999:loadbalancer/app/attacker/0123456789abcdef"
)


class AttackersRule:
    """A load balancer of an attacker's account, which names every caller `victim`.

    Its key is published beside ours, because all load balancers of a region share one endpoint. The
    attacker configures our issuer and client in the load balancer ("ALBeast", 2024).
    """

    def __init__(self, victim: Person, *, issuer: str) -> None:
        self.signer = Signer(ATTACKER_ARN)
        self._victim = victim
        self._issuer = issuer

    def token(self) -> str:
        """A token that is genuine except for its signer."""
        claims = self._victim.userinfo("openid profile email")
        return self.signer.sign(claims, issuer=self._issuer, client=BROWSER_CLIENT, now=time.time())

    def apply(self, request: Request) -> Request | Reply:
        """Forward every request as `victim`."""
        return request.with_headers(
            x_amzn_oidc_data=self.token(), x_amzn_oidc_identity=self._victim.subject
        )


def strangers_token(victim: Person, *, issuer: str) -> str:
    """An access token of `victim` that names the issuer's key, but is signed with another key."""
    [key, *_] = httpx.get(f"{issuer}/jwks.json").json()["keys"]
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": victim.subject,
        "client_id": BROWSER_CLIENT,
        "iat": now,
        "exp": now + 600,
    }
    return jwt.encode(
        claims,
        generate_private_key(public_exponent=65537, key_size=2048),
        algorithm="RS256",
        headers={"kid": key["kid"], "typ": "at+jwt"},
    )
