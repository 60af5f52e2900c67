"""The body of a service account; docs/openapi.json is generated from it."""

import re
from base64 import b32encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from byline.identity.caller import Principal
from byline.identity.typed_text import fault_of_typed
from byline.identity.unverified import MAX_TOKEN_BYTES
from serve_runs.access.entries import ExpiresAt
from serve_runs.errors import RequestFailed
from serve_runs.role_bindings.requests import RoleName
from serve_runs.web.paging import PageQuery
from serve_runs.web.requests import (
    PRINTABLE,
    SERVICE_ACCOUNT_ID_CHARACTERS,
    path_id,
    read_body,
)

_ID = re.compile(f"[a-z2-7]{{{SERVICE_ACCOUNT_ID_CHARACTERS}}}")

ServiceAccountToken = Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN_BYTES)]
ServiceAccountName = Annotated[str, Meta(min_length=1, max_length=200, pattern=PRINTABLE)]


class ListRegistrations(PageQuery, frozen=True, forbid_unknown_fields=True):
    """The page of a service account's own registrations, from the query."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 100


class CreateServiceAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service account that is to act for the caller.

    Its own token, verified like a caller's, identifies it, so the body has no subject. A member
    that is left out has its default again. From `expires_at` on it does not act for the caller.
    """

    token: ServiceAccountToken
    name: ServiceAccountName | None = None
    role: RoleName = "project:editor"
    expires_at: ExpiresAt | None = None

    def __post_init__(self) -> None:
        if fault := fault_of_typed(self.name or ""):
            raise ValueError(f"`name` {fault}.")

    def __repr__(self) -> str:
        return "<a service account's token, and its role>"


def create_service_account(event: Mapping[str, Any]) -> CreateServiceAccount:
    """The body of a create. Raises `RequestFailed`; no detail quotes the body."""
    try:
        return read_body(event, CreateServiceAccount)
    except RequestFailed as failure:
        if "unknown field" not in failure.detail:
            raise
    # A client may have sent the token as a member's name, so the detail must not quote it.
    raise RequestFailed(
        "invalid_body", "The body must have only `token`, `name`, `role` and `expires_at`."
    )


def id_of(application: Principal, project: str) -> str:
    """The id of a service account in a project, derived from both.

    It is valid in a path, which issuer and subject are not. In each project it has another id, so
    that the authorization service knows the grant of each. Earlier versions derived it without the
    project; such an account keeps its id.
    """
    digest = sha256(f"{project}#{application.text}".encode()).digest()
    return b32encode(digest).decode().lower()[:SERVICE_ACCOUNT_ID_CHARACTERS]


def service_account_id(text: str) -> str:
    """An id in a path. Raises `RequestFailed` (`not_found`) for text that cannot be an id."""
    return path_id(text, pattern=_ID)
