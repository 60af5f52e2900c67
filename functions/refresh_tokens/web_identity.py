"""Proof by a JWT of the function's own role, so that no secret of the client is stored (RFC 7523).

AWS signs the JWT, and its keys are at the issuer URL of the account (IAM outbound identity
federation). The issuer of the client trusts that URL, the role's ARN as `sub`, and the audience.
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
"""

from dataclasses import dataclass
from typing import Literal, Self

from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name, is_passing, sts
from refresh_tokens.client_secrets import ASSERTION_TYPE, Members, Proof, unusable
from refresh_tokens.errors import RefreshFailed

LIFETIME_SECONDS = 60
"""The shortest that AWS signs. Each token request has a JWT of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentity:
    """`aws_web_identity`. `audience` replaces the one of each request, unless it is empty."""

    client_id: str
    audience: str
    algorithm: Literal["RS256", "ES384"]

    @classmethod
    def of(cls, members: Members) -> Self:
        """The client of a client secret. Raises `RefreshFailed`."""
        match members.assertion_algorithm or "RS256":
            case "RS256" | "ES384" as algorithm:
                return cls(
                    client_id=members.client_id,
                    audience=members.assertion_audience,
                    algorithm=algorithm,
                )
            case _:
                raise unusable("has an `assertion_algorithm` that AWS does not have: RS256, ES384")

    def prove(self, *, audience: str, now: float) -> Proof:
        """The proof for one request: a new JWT of AWS for `audience`. Raises `RefreshFailed`."""
        try:
            answer = sts().get_web_identity_token(
                Audience=[self.audience or audience],
                SigningAlgorithm=self.algorithm,
                DurationSeconds=LIFETIME_SECONDS,
            )
        except (ClientError, BotoCoreError) as error:
            raise _failure_of(error) from None
        return Proof(
            {},
            {
                "client_id": self.client_id,
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": answer["WebIdentityToken"],
            },
        )


def _failure_of(error: ClientError | BotoCoreError) -> RefreshFailed:
    name = error_name(error)
    if is_passing(error) or name in ("Throttling", "NoCredentialsError"):
        return RefreshFailed("issuer_unavailable", f"AWS STS signed no JWT: {name}.")
    match name:
        case "AccessDenied":
            return unusable("needs a JWT for an audience that WebIdentityAudiences does not name")
        case "OutboundWebIdentityFederationDisabledException":
            return unusable("needs outbound identity federation, which is off in this AWS account")
        case _:
            return unusable(f"needs a JWT that AWS STS refuses: {name}")
