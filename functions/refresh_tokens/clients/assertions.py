"""Assertions by which a client proves itself without sending a secret (RFC 7523, section 3)."""

from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Self

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from refresh_tokens.errors import RefreshFailed

ASSERTION_LIFETIME_SECONDS = 60

CLOCK_SKEW_SECONDS = 60
"""`iat` is set back by so much: an issuer whose clock is behind refuses what is not yet."""

MIN_RSA_BITS = 2_048
"""RFC 7518, section 3.3."""


@dataclass(frozen=True, slots=True)
class AssertionKey:
    """A private key, and the one algorithm that it signs with."""

    key: RSAPrivateKey | EllipticCurvePrivateKey = field(repr=False)
    algorithm: str
    key_id: str

    @classmethod
    def of_pem(cls, pem: str, *, key_id: str) -> Self:
        """RS256 for RSA keys, ES256 for keys on P-256. An empty `key_id` leaves `kid` out.

        Raises `RefreshFailed` (`client_secret_unusable`).
        """
        try:
            key = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Refused outside the handler: errors may carry the text.
            key = None
        if isinstance(key, RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
            return cls(key, "RS256", key_id)
        if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
            return cls(key, "ES256", key_id)
        raise RefreshFailed(
            "client_secret_unusable",
            "the client secret's `private_key_pem` is no RSA key of 2,048 bits or more,"
            " nor one on P-256, without a passphrase",
        )

    def assertion(self, client_id: str, *, audience: str, now: float) -> str:
        """A new assertion of the client, for one request. `now` is in seconds since the epoch."""
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "jti": token_urlsafe(24),
            "iat": int(now) - CLOCK_SKEW_SECONDS,
            "exp": int(now) + ASSERTION_LIFETIME_SECONDS,
        }
        headers = {"kid": self.key_id} if self.key_id else None
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers=headers)
