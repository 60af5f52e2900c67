"""Verification of `x-amzn-oidc-data`, the token in which a load balancer names a signed-in person.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html

All load balancers of a region sign with the same keys, those of other AWS customers too. Only the
header's `signer` shows which load balancer signed ("ALBeast", 2024). All checks that need no key
come first. So a stranger's token causes no request.
"""

import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from byline.caching import Clock
from byline.errors import Rejected
from byline.identity.caller import Caller, Verified
from byline.identity.claim_conditions import subject_at
from byline.identity.claims import (
    SignedClaims,
    email_of,
    optional_text,
    preferred_name,
    required_text,
)
from byline.identity.load_balancer_keys import KEY_LIFETIME_SECONDS, LoadBalancerKeys
from byline.identity.settings import IdentitySettings
from byline.identity.unverified import UnverifiedHeader, UnverifiedToken, parse

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ES256 = ECDSA(SHA256())


class LoadBalancerTokens:
    """Verifies tokens of the configured load balancers for the configured client and issuer."""

    def __init__(self, settings: IdentitySettings, *, keys: LoadBalancerKeys, now: Clock) -> None:
        self._keys_urls = {signer.signer: signer.keys_url for signer in settings.signers}
        self._issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._subject = settings.browser_subject
        self._keys = keys
        self._now = now

    def verify(self, token: UnverifiedToken) -> Verified:
        """The person that the token names, and until when it counts.

        Raises `Rejected`, and `Unavailable` where the signing key could not be fetched.
        """
        parts = parse(token, padded=True)
        keys_url, kid, expiry = self._check_header(parts.header)
        key = self._keys.get(keys_url, kid)
        _check_signature(key, parts.signature, parts.signed)
        caller = self._caller(parts.header, SignedClaims(parts.claims), expiry)
        # A token counts no longer than its key counts without a fetch.
        return Verified(caller, until=min(expiry, self._now() + KEY_LIFETIME_SECONDS))

    def decode_without_signature(self, token: UnverifiedToken) -> Caller:
        """The person after all checks of `verify` but the signature.

        It makes no request, for networks without internet access. Anyone who can invoke the
        function without the load balancer can then claim to be any person. Raises `Rejected`.
        """
        parts = parse(token, padded=True)
        _, _, expiry = self._check_header(parts.header)
        return self._caller(parts.header, SignedClaims(parts.claims), expiry)

    def _check_header(self, header: UnverifiedHeader) -> tuple[str, str, int]:
        """Every check that needs no key. Returns the keys' base URL, the key id and the expiry."""
        if header.get("alg") != "ES256":
            raise Rejected(
                "unsupported_algorithm",
                "The token header's `alg` is not ES256.",
            )
        if "crit" in header:
            # RFC 7515, 4.1.11: an unknown extension must not be ignored.
            raise Rejected(
                "unsupported_critical_header", "The token header's `crit` demands an extension."
            )
        kid = header.get("kid")
        if not isinstance(kid, str) or not _UUID.fullmatch(kid):
            # The key id becomes part of a URL.
            raise Rejected("malformed_token", "The token header's `kid` is not a UUID.")
        signer = header.get("signer")
        keys_url = self._keys_urls.get(signer) if isinstance(signer, str) else None
        if keys_url is None:
            raise Rejected(
                "untrusted_signer",
                "A load balancer signed the token that is not in LOAD_BALANCER_ARNS.",
                expected=sorted(self._keys_urls),
                actual=signer,
            )
        # An empty setting matches no token: an unset policy refuses everyone.
        if not self._client_id or header.get("client") != self._client_id:
            raise Rejected(
                "untrusted_client",
                "The token's `client` is not OIDC_CLIENT_ID.",
                expected=self._client_id,
                actual=header.get("client"),
            )
        if not self._issuer or header.get("iss") != self._issuer:
            raise Rejected(
                "untrusted_issuer",
                "The token's `iss` is not OIDC_ISSUER.",
                expected=self._issuer,
                actual=header.get("iss"),
            )
        expiry = header.get("exp")
        if type(expiry) is not int:
            raise Rejected("missing_claim", "The token header has no `exp` in whole seconds.")
        now = self._now()
        if expiry <= now:
            # AWS keeps the clocks of load balancers and of Lambda, so no leeway is needed.
            raise Rejected(
                "expired", "The token has expired. Sign in again.", expected=now, actual=expiry
            )
        return keys_url, kid, expiry

    def _caller(self, header: UnverifiedHeader, claims: SignedClaims, expiry: int) -> Caller:
        for repeated, authority in (("exp", expiry), ("iss", header["iss"])):
            if repeated in claims and claims[repeated] != authority:
                raise Rejected("malformed_claim", f"`{repeated}` of payload and header differ.")
        token_subject = required_text(claims, "sub")
        # One person has one subject: a rule for the issuer's Bearer tokens counts here too.
        subject = subject_at(self._subject, claims)
        email, is_verified = email_of(claims)
        return Caller(
            kind="user",
            source="alb",
            issuer=self._issuer,
            subject=subject,
            token_subject=token_subject,
            name=preferred_name(claims, subject),
            given_name=optional_text(claims, "given_name"),
            family_name=optional_text(claims, "family_name"),
            email=email,
            email_verified=is_verified,
            full_name=optional_text(claims, "name"),
        )


def _check_signature(key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> None:
    """RFC 7518, section 3.4: an ES256 signature is r and s, 32 bytes each."""
    if len(signature) != 64:
        raise Rejected("bad_signature", "The token's ES256 signature does not have 64 bytes.")
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    try:
        key.verify(der, signed, _ES256)
    except InvalidSignature:
        raise Rejected("bad_signature", "The token's signature is not valid.") from None
