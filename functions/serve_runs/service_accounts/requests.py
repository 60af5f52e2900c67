"""What a request about service accounts may say, checked on the way in.

The shapes here are the API's: `docs/openapi.json` is generated from them.
"""

import re
from base64 import b32encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from byline.identity.caller import Principal
from byline.identity.unverified import MAX_TOKEN_BYTES
from serve_runs.role_bindings.requests import RoleName
from serve_runs.runs.requests import Text
from serve_runs.web.problems import Problem, not_found
from serve_runs.web.requests import END, read_body

ID_CHARACTERS = 26
"""130 bits of a hash."""

ID_PATTERN = f"^[a-z2-7]{{{ID_CHARACTERS}}}" + END

_ID = re.compile(ID_PATTERN)

ServiceAccountId = Annotated[str, Meta(pattern=ID_PATTERN)]
Token = Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN_BYTES)]


class CreateServiceAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service account that is to act for whoever sends this. Which one it is follows from its own
    token, in a trusted issuer's words: nobody types a subject."""

    token: Token
    name: Text | None = None
    role: RoleName = "project:editor"

    def __repr__(self) -> str:
        return "<a service account's token, and its role>"


class ListServiceAccounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a listing, from the query."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=512)] | None = None


def create_service_account(event: Mapping[str, Any]) -> CreateServiceAccount:
    """The body of a create. Raises `Problem` 400, 413, 415; none of them quotes it."""
    try:
        return read_body(event, CreateServiceAccount)
    except Problem as problem:
        if "unknown field" not in problem.detail:
            raise
    # Its name may be the token, where somebody mixed them up.
    raise Problem(400, "invalid_body", "The body has `token`, and perhaps `name` and `role`.")


def id_of(application: Principal) -> str:
    """The id of a service account: of its issuer and subject alone, so it is always the same, and
    fit for a path, which they are not."""
    digest = sha256(application.text.encode()).digest()
    return b32encode(digest).decode().lower()[:ID_CHARACTERS]


def service_account_id(text: str) -> str:
    """An id from the path. What cannot be one does not exist: `Problem` 404."""
    if not _ID.fullmatch(text):
        raise not_found()
    return text
