"""STS's `GetWebIdentityToken`, which moto does not have: JWTs for the role of the caller.

https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from stand_ins.listener import HttpAnswer
from stand_ins.refusal import Refused
from stand_ins.secret_texts import SecretTexts

ISSUER = "https://3f2b7f4e-0000.tokens.sts.global.api.aws"
SUBJECT = "arn:aws:iam::123456789012:role/RefreshTokensRole"
_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class SecurityTokenService:
    """Signs JWTs and verifies them as an issuer does that trusts the account.

    `is_on`: whether outbound identity federation is on in the account. `audiences`: those that the
    role's policy allows, None for all. `texts` remembers the JWTs as secret.
    """

    def __init__(self, *, clock: Callable[[], float], texts: SecretTexts) -> None:
        self.is_on = True
        self.audiences: frozenset[str] | None = None
        self._clock = clock
        self._texts = texts

    @cached_property
    def _keys(self) -> dict[str, Any]:
        return {
            "RS256": rsa.generate_private_key(65537, 2048),
            "ES384": ec.generate_private_key(ec.SECP384R1()),
        }

    def answer(self, form: Mapping[str, str]) -> HttpAnswer:
        """The answer to a request of AWS's query protocol."""
        try:
            token, expires = self._signed(form)
        except Refused as refused:
            code, message = refused.refusal.code, escape(refused.refusal.message)
            error = f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
            status = 403 if code == "AccessDenied" else 400
            return _xml(status, "ErrorResponse", f"<Error>{error}</Error>")
        expiration = datetime.fromtimestamp(expires, UTC).isoformat()
        result = (
            f"<WebIdentityToken>{token}</WebIdentityToken><Expiration>{expiration}</Expiration>"
        )
        return _xml(
            200,
            "GetWebIdentityTokenResponse",
            f"<GetWebIdentityTokenResult>{result}</GetWebIdentityTokenResult>",
        )

    def verified(self, token: str, *, audience: str) -> dict[str, Any]:
        """The claims of a JWT that this service has signed for `audience` and that has not expired.

        Raises `jwt.InvalidTokenError` for any other.
        """
        algorithm = str(jwt.get_unverified_header(token)["alg"])
        claims: dict[str, Any] = jwt.decode(
            token,
            self._keys[algorithm].public_key(),
            algorithms=[algorithm],
            audience=audience,
            issuer=ISSUER,
            options={"verify_exp": False, "verify_iat": False},
        )
        if not claims["iat"] <= self._clock() < claims["exp"]:
            raise jwt.ExpiredSignatureError
        return claims

    def _signed(self, form: Mapping[str, str]) -> tuple[str, int]:
        if form.get("Action") != "GetWebIdentityToken":
            raise Refused("InvalidAction", "The stand-in knows GetWebIdentityToken only.")
        audiences = [value for name, value in form.items() if name.startswith("Audience.member.")]
        duration = int(form.get("DurationSeconds", "300"))
        algorithm = form.get("SigningAlgorithm", "")
        if (
            not 1 <= len(audiences) <= 10
            or not all(1 <= len(audience) <= 1_000 for audience in audiences)
            or not 60 <= duration <= 3_600
            or algorithm not in self._keys
        ):
            raise Refused("ValidationError", "A parameter is out of its range.")
        if self.audiences is not None and not self.audiences.issuperset(audiences):
            raise Refused("AccessDenied", f"{SUBJECT} is not authorized")
        if not self.is_on:
            raise Refused("OutboundWebIdentityFederationDisabledException", "It is off.")
        issued = int(self._clock())
        claims = {
            "iss": ISSUER,
            "sub": SUBJECT,
            "aud": audiences[0] if len(audiences) == 1 else audiences,
            "iat": issued,
            "exp": issued + duration,
            "jti": str(uuid4()),
        }
        token = jwt.encode(claims, self._keys[algorithm], algorithm=algorithm)
        self._texts.add(token)
        return token, issued + duration


def _xml(status: int, element: str, content: str) -> HttpAnswer:
    metadata = f"<RequestId>{uuid4()}</RequestId>"
    if status == 200:
        metadata = f"<ResponseMetadata>{metadata}</ResponseMetadata>"
    body = f'<{element} xmlns="{_NAMESPACE}">{content}{metadata}</{element}>'
    return HttpAnswer(status, {"Content-Type": "text/xml"}, body.encode())
