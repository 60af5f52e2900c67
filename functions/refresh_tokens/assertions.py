"""Assertions by which a client proves itself without sending a secret (RFC 7523, section 3)."""

from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Self

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from refresh_tokens.clients import Proof
from refresh_tokens.errors import RefreshFailed

ASSERTION_LIFETIME_SECONDS = 60

CLOCK_SKEW_SECONDS = 60
"""`iat` is this much earlier: an issuer whose clock is behind refuses a time in the future."""

MIN_RSA_BITS = 2_048
"""RFC 7518, section 3.3."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class PrivateKeyJwt:
    """`private_key_jwt` (RFC 7523, section 2.2; OpenID Connect Core 1.0, section 9).

    RS256 for RSA keys, ES256 for keys on P-256.
    """

    client_id: str
    key: RSAPrivateKey | EllipticCurvePrivateKey = field(repr=False)
    algorithm: str
    key_id: str

    @classmethod
    def of_pem(cls, client_id: str, pem: str, *, key_id: str) -> Self:
        """The client with the private key of a PEM text. An empty `key_id` leaves `kid` out.

        Raises `RefreshFailed` (`client_secret_unusable`).
        """
        try:
            key = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Refused outside the handler: errors may carry the text.
            key = None
        if isinstance(key, RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
            return cls(client_id, key, "RS256", key_id)
        if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
            return cls(client_id, key, "ES256", key_id)
        raise RefreshFailed(
            "client_secret_unusable",
            "`private_key_pem` in the client secret must be an RSA key of at least 2,048 bits or a"
            " key on P-256, without a passphrase",
        )

    def prove(self, *, audience: str, now: float) -> Proof:
        """The proof for one request: a new assertion for the token endpoint `audience`.

        `now` is in seconds since the epoch.
        """
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "jti": token_urlsafe(24),
            "iat": int(now) - CLOCK_SKEW_SECONDS,
            "exp": int(now) + ASSERTION_LIFETIME_SECONDS,
        }
        headers = {"kid": self.key_id} if self.key_id else None
        return Proof(
            {},
            {
                "client_id": self.client_id,
                "client_assertion_type": _ASSERTION_TYPE,
                "client_assertion": jwt.encode(
                    claims, self.key, algorithm=self.algorithm, headers=headers
                ),
            },
        )
