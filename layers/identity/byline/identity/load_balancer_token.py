"""Verifying `x-amzn-oidc-data`, the token in which a load balancer names who signed in.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html

The signing keys are shared by every customer's load balancers in a region: only the header's
`signer` tells ours from an attacker's ("ALBeast", 2024). The order below lets no stranger make us
dial out: everything that can be refused without a key is refused before one is fetched.
"""

import re
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from byline.caching import Clock
from byline.errors import Rejected
from byline.identity.caller import Caller, Verified
from byline.identity.claims import SignedClaims, optional_text, preferred_name, required_text
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
        """All of `verify` but the signature, for networks without a way out to the keys.

        Whoever can reach the function past the load balancer can then be anybody.
        """
        parts = parse(token, padded=True)
        _, _, expiry = self._check_header(parts.header)
        return self._caller(parts.header, SignedClaims(parts.claims), expiry)

    def _check_header(self, header: UnverifiedHeader) -> tuple[str, str, int]:
        """Every check that needs no key. Returns the keys' base URL, the key id and the expiry."""
        if header.get("alg") != "ES256":
            raise Rejected("unsupported_algorithm", "a load balancer signs with ES256")
        if "crit" in header:
            # RFC 7515, 4.1.11: extensions we do not know must not be passed over.
            raise Rejected("unsupported_critical_header", "the header demands an extension")
        kid = header.get("kid")
        if not isinstance(kid, str) or not _UUID.fullmatch(kid):
            # It becomes part of a URL.
            raise Rejected("malformed_token", "a load balancer's key id is a UUID")
        signer = header.get("signer")
        keys_url = self._keys_urls.get(signer) if isinstance(signer, str) else None
        if keys_url is None:
            raise Rejected(
                "untrusted_signer",
                "another load balancer signed",
                expected=sorted(self._keys_urls),
                actual=signer,
            )
        _require("untrusted_client", self._client_id, header.get("client"))
        _require("untrusted_issuer", self._issuer, header.get("iss"))
        expiry = header.get("exp")
        if type(expiry) is not int:
            raise Rejected("missing_claim", "the header has no `exp` in seconds")
        now = self._now()
        if expiry <= now:
            # The load balancer's clock and Lambda's are AWS's own: no leeway.
            raise Rejected("expired", "the token's time is over", expected=now, actual=expiry)
        return keys_url, kid, expiry

    def _caller(self, header: UnverifiedHeader, claims: SignedClaims, expiry: int) -> Caller:
        for repeated, authority in (("exp", expiry), ("iss", header["iss"])):
            if repeated in claims and claims[repeated] != authority:
                raise Rejected("malformed_claim", f"`{repeated}` differs from the header's")
        subject = required_text(claims, "sub")
        return Caller(
            kind="user",
            source="alb",
            issuer=self._issuer,
            subject=subject,
            token_subject=subject,
            name=preferred_name(claims, subject),
            given_name=optional_text(claims, "given_name"),
            family_name=optional_text(claims, "family_name"),
            email=optional_text(claims, "email"),
        )


def _require(
    reason: Literal["untrusted_client", "untrusted_issuer"], expected: str, actual: object
) -> None:
    # An empty expectation never matches: an unset policy refuses everyone.
    if not expected or actual != expected:
        raise Rejected(reason, "the token is for another one", expected=expected, actual=actual)


def _check_signature(key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> None:
    """RFC 7518, section 3.4: an ES256 signature is r and s, 32 bytes each."""
    if len(signature) != 64:
        raise Rejected("bad_signature", "an ES256 signature has 64 bytes")
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    try:
        key.verify(der, signed, _ES256)
    except InvalidSignature:
        raise Rejected("bad_signature", "the signature does not match") from None
