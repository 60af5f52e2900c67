"""The shapes in which a principal can be sent to the authorization service."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from byline.registration.settings import RegistrationSettings

Kind = Literal["user", "application", "anonymous"]

type Json = Mapping[str, Any]


class PrincipalShape(Protocol):
    """The JSON of a person, a service account, or an anonymous caller without a subject."""

    def __call__(self, kind: Kind, *, subject: str = "", issuer: str = "") -> Json: ...


def typed(kind: Kind, *, subject: str = "", issuer: str = "") -> Json:
    """The principal with its type and its issuer: a subject is unique at its issuer only."""
    if kind == "anonymous":
        return {"type": "anonymous"}
    name = "user" if kind == "user" else "service_account"
    return {"type": name, "id": subject, "issuer": issuer}


def flat(account_id: str) -> PrincipalShape:
    """The shape of agentex's principal context, in the account `account_id`.

    https://github.com/scaleapi/scale-agentex/blob/main/agentex/docs/docs/development_guides/auth_provider_contract.md
    It has no issuer, so two issuers with the same subject are one principal. Empty values are null.
    """

    def shape(kind: Kind, *, subject: str = "", issuer: str = "") -> Json:
        return {
            "user_id": subject if kind == "user" else None,
            "service_account_id": subject if kind == "application" else None,
            "account_id": account_id or None,
        }

    return shape


def shape_of(settings: RegistrationSettings) -> PrincipalShape:
    """The shape that the settings choose."""
    return typed if settings.principal == "typed" else flat(settings.account_id)
