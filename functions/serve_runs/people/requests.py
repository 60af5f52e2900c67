"""The principal in the path of a person's routes."""

from typing import Annotated
from urllib.parse import unquote

from msgspec import Meta

from byline.identity.caller import (
    MAX_PRINCIPAL_BYTES,
    Caller,
    Principal,
    principal_of,
    read_principal,
)
from serve_runs.errors import RequestFailed

ME = "me"

PersonText = Annotated[
    str,
    Meta(
        min_length=1,
        description="`me`, a principal such as `user:https://id.example.com#ada`, or a subject of "
        "the issuer that browsers sign in with. Percent-encode `/`, `#` and `%`.",
    ),
]


def named_principal(text: str, *, caller: Caller, default_issuer: str) -> Principal:
    """The principal that a part of a path names. Raises `RequestFailed` (`invalid_parameter`).

    `default_issuer`: the issuer of a subject given without one, or empty.
    """
    try:
        named = unquote(text, errors="strict")
        if named == ME:
            return principal_of(caller)
        if named.startswith(("user:", "application:")):
            principal = read_principal(named)
        else:
            principal = Principal("user", default_issuer, named)
    except ValueError:
        raise RequestFailed(
            "invalid_parameter",
            "The principal must be `me`, or `user:` or `application:`, issuer, `#` and subject.",
        ) from None
    if not principal.issuer:
        raise RequestFailed(
            "invalid_parameter",
            "Several issuers are trusted: name `user:`, the issuer, `#` and the subject.",
        )
    if len(principal.text.encode()) > MAX_PRINCIPAL_BYTES:
        raise RequestFailed("invalid_parameter", "The principal is too long.")
    return principal
