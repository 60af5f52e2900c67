"""How a load balancer names the signed-in person: `x-amzn-oidc-data`, and the key that verifies it.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
"""

import base64
import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask, Response, abort

ARN = (
    "arn:aws:elasticloadbalancing:us-east-1:123456789012"
    ":loadbalancer/app/byline-local/50dc6c495c0c9188"
)
TOKEN_SECONDS = 120


class Signer:
    """Signs as a load balancer, with a new key for each instance."""

    def __init__(self, arn: str = ARN) -> None:
        self.arn = arn
        self.kid = str(uuid4())
        self._key: EllipticCurvePrivateKey = generate_private_key(SECP256R1())

    @property
    def public_key(self) -> bytes:
        """The public key as PEM, SubjectPublicKeyInfo."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims: Mapping[str, Any], *, issuer: str, client: str, now: float) -> str:
        """A token of `claims` in the load balancer's own format.

        Its base64url keeps the padding, and its header has claims that JWTs have in the payload.
        """
        expiry = int(now) + TOKEN_SECONDS
        header = {
            "typ": "JWT",
            "kid": self.kid,
            "alg": "ES256",
            "iss": issuer,
            "client": client,
            "signer": self.arn,
            "exp": expiry,
        }
        payload = {**claims, "exp": expiry, "iss": issuer}
        signed = f"{_encode_json(header)}.{_encode_json(payload)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ECDSA(SHA256())))
        # RFC 7518, section 3.4
        return f"{signed}.{_encode(r.to_bytes(32) + s.to_bytes(32))}"


def public_keys(keys: Mapping[str, bytes]) -> Flask:
    """The endpoint of a region's public keys: `/{kid}` answers with one PEM."""
    application = Flask("local.load_balancer_signing", static_folder=None)

    @application.get("/<kid>")
    def public_key(kid: str) -> Response:
        if kid not in keys:
            abort(404)
        return Response(keys[kid], mimetype="application/x-pem-file")

    return application


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def _encode_json(value: Mapping[str, Any]) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())
