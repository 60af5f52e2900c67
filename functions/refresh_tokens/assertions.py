"""Assertions by which a client proves itself without sending a secret (RFC 7523, section 3)."""

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from functools import cache
from secrets import token_urlsafe
from typing import Self

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from jwt import PyJWS
from jwt.algorithms import OKPAlgorithm

from refresh_tokens.client_secrets import ASSERTION_TYPE, Members, Proof, unusable

ASSERTION_LIFETIME_SECONDS = 60

CLOCK_SKEW_SECONDS = 60
"""`iat` is this much earlier: an issuer whose clock is behind refuses a time in the future."""

MIN_RSA_BITS = 2_048
"""RFC 7518, section 3.3."""

type PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKeyJwt:
    """`private_key_jwt` (RFC 7523, section 2.2; OpenID Connect Core 1.0, section 9).

    `audience`: replaces the one of each request, unless it is empty. `header`: names the key.
    """

    client_id: str
    key: PrivateKey = field(repr=False)
    algorithm: str
    audience: str
    header: dict[str, str]

    @classmethod
    def of(cls, members: Members) -> Self:
        """The client with the key of a client secret. Raises `RefreshFailed`.

        The header has the members `kid` and `x5t#S256` (RFC 7515, section 4.1) where the secret has
        a key id or a certificate.
        """
        if "\\n" in members.private_key_pem:
            raise unusable("has `\\n` as two characters in `private_key_pem`: write line ends")
        key = _private_key(members.private_key_pem)
        possible = _algorithms(key)
        algorithm = members.assertion_algorithm or possible[0]
        if algorithm not in possible:
            raise unusable(
                "has an `assertion_algorithm` that its key does not have."
                f" The key's: {', '.join(possible)}"
            )
        header = {"kid": members.key_id} if members.key_id else {}
        if members.certificate_pem:
            header["x5t#S256"] = _thumbprint(members.certificate_pem, key)
        return cls(
            client_id=members.client_id,
            key=key,
            algorithm=algorithm,
            audience=members.assertion_audience,
            header=header,
        )

    def prove(self, *, audience: str, now: float) -> Proof:
        """The proof for one request: a new assertion for the issuer or endpoint `audience`.

        `now` is in seconds since the epoch.
        """
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience or audience,
            "jti": token_urlsafe(24),
            "iat": int(now) - CLOCK_SKEW_SECONDS,
            "exp": int(now) + ASSERTION_LIFETIME_SECONDS,
        }
        assertion = _signer().encode(
            msgspec.json.encode(claims), self.key, algorithm=self.algorithm, headers=self.header
        )
        return Proof(
            {},
            {
                "client_id": self.client_id,
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": assertion,
            },
        )


@cache
def _signer() -> PyJWS:
    signer = PyJWS()
    # RFC 9864, section 2.2. PyJWT knows it as EdDSA only.
    signer.register_algorithm("Ed25519", OKPAlgorithm())
    return signer


def _private_key(pem: str) -> PrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Refused outside the handler: errors may carry the text.
        key = None
    if isinstance(key, RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise unusable(
        "needs in `private_key_pem` an RSA key of at least 2,048 bits, a key on P-256 or an"
        " Ed25519 key, as PEM and without a passphrase"
    )


def _algorithms(key: PrivateKey) -> tuple[str, ...]:
    """The algorithms of a key, the usual one first (RFC 7518, section 3.1; RFC 9864)."""
    if isinstance(key, RSAPrivateKey):
        return "RS256", "PS256"
    return ("ES256",) if isinstance(key, EllipticCurvePrivateKey) else ("Ed25519", "EdDSA")


def _thumbprint(pem: str, key: PrivateKey) -> str:
    """The certificate's SHA-256 thumbprint, base64url (RFC 7515, section 4.1.8)."""
    try:
        certificate = load_pem_x509_certificate(pem.encode())
        is_of_key = certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        certificate = None
    if certificate is None:
        raise unusable("needs in `certificate_pem` an X.509 certificate as PEM")
    if not is_of_key:
        raise unusable("has a `certificate_pem` of another key than `private_key_pem`")
    return urlsafe_b64encode(certificate.fingerprint(SHA256())).rstrip(b"=").decode()
