"""The body of a credential; docs/openapi.json is generated from it.

Errors about a body have fixed sentences. The decoder's sentences quote names and values: a token in
place of the provider would appear in the error, and in logs of errors.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from serve_runs.credentials.readers import READER, BoundTo, require_known_roles
from serve_runs.errors import RequestFailed
from serve_runs.web.requests import END, read_body

Provider = Literal["github", "gitlab", "jira", "google", "vertex", "kubeconfig", "generic"]

MAX_TOKEN_CHARACTERS = 61_440

MAX_SECRET_BYTES = 65_536
"""https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html"""

URL_PATTERN = r"^https://[^\s/?#@\\\x00-\x20\x7f]+(?:/[^\s?#\x00-\x20\x7f]*)?" + END
"""No user name, query or fragment: they may carry tokens, and the URL is shown."""

EMAIL_PATTERN = r"^[^\s@\x00-\x20\x7f]+@[^\s@\x00-\x20\x7f]+" + END

CredentialToken = Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN_CHARACTERS)]
Url = Annotated[str, Meta(max_length=512, pattern=URL_PATTERN)]
Email = Annotated[str, Meta(max_length=254, pattern=EMAIL_PATTERN)]

_HEADER_TOKEN = re.compile(r"[\x21-\x7e]+")
_TEXT = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")

ONE_WORD = "A token of this provider is visible ASCII, without spaces."
KEY_FILE = "The token of this provider is the text of its key file, a JSON object."
NO_CONTROLS = "A token has no control characters except tabs and line ends."
JIRA_SITE = "A token of `jira` needs `url` and `email`."
TOO_LONG = f"A credential has at most {MAX_SECRET_BYTES} bytes, as JSON with all its members."

_MEMBER = re.compile(r"`(?:\$\.)?(provider|token|url|email)`")
_OF_READERS = re.compile(r"`\$\.readers[`\[]")


class PutCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A credential to store.

    `token`: the secret itself; for `google` and `vertex` the text of a key file, for `kubeconfig`
    the file. A member that is left out is removed, except `readers`, which then stay.

    `readers`: who may read the token. Of a new credential without them: whoever has the role
    `credential:token-reader`.
    """

    provider: Provider
    token: CredentialToken
    url: Url | None = None
    email: Email | None = None
    readers: BoundTo | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        # A secret has the same members, in the same order.
        secret = {"provider": self.provider, "token": self.token, "url": self.url}
        is_too_long = len(msgspec.json.encode(secret | {"email": self.email})) > MAX_SECRET_BYTES
        rule = TOO_LONG if is_too_long else _broken_rule(self)
        if rule is not None:
            raise ValueError(rule)

    def __repr__(self) -> str:
        return f"<credential of {self.provider}>"


def put_credential(event: Mapping[str, Any]) -> PutCredential:
    """The body of a put. Raises `RequestFailed`; no detail quotes the body."""
    try:
        body = read_body(event, PutCredential)
    except RequestFailed as failure:
        if failure.reason != "invalid_body":
            raise
        detail = _error_detail(failure.detail)
    else:
        if body.readers is not msgspec.UNSET:
            require_known_roles(body.readers)
        return body
    raise RequestFailed("invalid_body", detail)


def _error_detail(detail: str) -> str:
    if detail in (ONE_WORD, KEY_FILE, NO_CONTROLS, JIRA_SITE, TOO_LONG):
        return detail
    if _OF_READERS.search(detail) is not None:
        return READER
    member = _MEMBER.search(detail)
    if member is not None:
        return f"`{member[1]}` is missing or invalid."
    return (
        "The body must be JSON with `provider` and `token`, and optionally `url`, `email` and"
        " `readers`."
    )


def _broken_rule(credential: PutCredential) -> str | None:
    match credential.provider:
        case "github" | "gitlab" | "jira":
            if not _HEADER_TOKEN.fullmatch(credential.token):
                return ONE_WORD
            has_site = credential.url is not None and credential.email is not None
            return JIRA_SITE if credential.provider == "jira" and not has_site else None
        case "google" | "vertex":
            return None if _is_json_object(credential.token) else KEY_FILE
        case "kubeconfig" | "generic":
            return None if _TEXT.fullmatch(credential.token) else NO_CONTROLS


def _is_json_object(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True
