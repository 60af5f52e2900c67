"""What a request may say, checked on the way in.

The shapes here are the API's: `docs/openapi.json` is generated from them.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import unquote_plus

import msgspec
from msgspec import Meta

from byline.credentials import header_values
from problems import Problem, not_found

MAX_BODY_BYTES = 65_536
"""Far above any legal body; the load balancer itself allows 1 MB."""

DETAIL_CHARACTERS = 200
"""How much is said of what is wrong: it may quote the name of an unknown member."""

_END = r"$(?!\n)"
"""The end of the text: Python's `$` alone lets a line feed follow."""

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?" + _END
"""A DNS label in lower case (RFC 1123, 2.1): names end up in hosts, paths and secret names."""

RUN_ID_PATTERN = "^[0-7][0-9A-HJKMNP-TV-Z]{25}" + _END
"""A ULID in Crockford's base 32, upper case (https://github.com/ulid/spec)."""

_PRINTABLE = r"^[^\x00-\x1f\x7f]*" + _END
_NAME = re.compile(NAME_PATTERN)
_RUN_ID = re.compile(RUN_ID_PATTERN)
_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
RunId = Annotated[str, Meta(pattern=RUN_ID_PATTERN)]
Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=_PRINTABLE)]
LabelName = Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9._/-]+" + _END)]
LabelValue = Annotated[str, Meta(max_length=256, pattern=_PRINTABLE)]
Status = Literal["pending", "running", "succeeded", "failed", "cancelled"]


class CreateRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run to create. Who creates it is never in the body: it follows from the credential."""

    name: Text | None = None
    agent: Text | None = None
    runner: Name | None = None
    parent_run: RunId | None = None
    labels: Annotated[dict[LabelName, LabelValue], Meta(max_length=32)] = {}


class ListRuns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a listing is narrowed by, from the query."""

    status: Status | None = None
    created_by: Annotated[str, Meta(min_length=1, max_length=255, pattern=_PRINTABLE)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=512)] | None = None


def project_name(text: str) -> str:
    """A project's name from the path. Raises `Problem` 400."""
    if not _NAME.fullmatch(text):
        raise Problem(
            400,
            "invalid_name",
            "A project's name has 1 to 63 characters: a-z, 0-9 and inner hyphens.",
        )
    return text


def run_id(text: str) -> str:
    """A run's id from the path. What cannot be one does not exist: `Problem` 404."""
    if not _RUN_ID.fullmatch(text):
        raise not_found()
    return text


def create_run(event: Mapping[str, Any]) -> CreateRun:
    """The body of a create. Raises `Problem` 400, 413, 415."""
    body = _body(event)
    if not body:
        return CreateRun()
    # A page of another site can send text/plain or a form without asking, JSON it cannot
    # (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
    media_type = _header(event, "content-type").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(415, "unsupported_media_type", "The body must be application/json.")
    try:
        return msgspec.json.decode(body, type=CreateRun)
    except RecursionError:
        raise Problem(400, "invalid_body", "The body is nested too deep.") from None
    except msgspec.MsgspecError as error:
        raise Problem(400, "invalid_body", str(error)[:DETAIL_CHARACTERS]) from None
    except UnicodeDecodeError:
        raise Problem(400, "invalid_body", "The body is not UTF-8.") from None


def list_runs(event: Mapping[str, Any]) -> ListRuns:
    """The query of a listing. Raises `Problem` 400, for parameters nobody knows too."""
    try:
        query: dict[str, str | int] = {**_query(event)}
        limit = query.get("limit")
        if isinstance(limit, str) and _INTEGER.fullmatch(limit):
            query["limit"] = int(limit)
        return msgspec.convert(query, type=ListRuns)
    except msgspec.ValidationError as error:
        raise Problem(400, "invalid_parameter", str(error)[:DETAIL_CHARACTERS]) from None
    except UnicodeError:
        raise Problem(400, "invalid_parameter", "A parameter is not UTF-8.") from None


def idempotency_key(event: Mapping[str, Any]) -> str | None:
    """The header `Idempotency-Key`, None where it is not sent. Raises `Problem` 400."""
    values = header_values(event, "idempotency-key")
    if not values:
        return None
    if len(values) > 1 or not _IDEMPOTENCY_KEY.fullmatch(values[0]):
        raise Problem(
            400, "invalid_idempotency_key", "Send one key of 1 to 255 visible ASCII characters."
        )
    return values[0]


def refuse_cross_site(event: Mapping[str, Any]) -> None:
    """Refuse a change that another site's page makes a signed-in browser send. `Problem` 403.

    The load balancer's session cookie travels with such a request, so its token verifies. Browsers
    say where a request comes from (https://www.w3.org/TR/fetch-metadata/, RFC 6454 section 7).
    """
    if sites := header_values(event, "sec-fetch-site"):
        foreign = not {"same-origin", "none"}.issuperset(sites)
    else:
        scheme = _header(event, "x-forwarded-proto") or "https"
        own = f"{scheme}://{_header(event, 'host')}"
        foreign = any(origin != own for origin in header_values(event, "origin"))
    if foreign:
        raise Problem(
            403, "cross_site_request", "A page of another site may not act for its visitor."
        )


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body") or ""
    if len(text) > MAX_BODY_BYTES * 2:
        raise _too_large()
    try:
        body = b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except ValueError:
        raise Problem(400, "invalid_body", "The body is not what its encoding says.") from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> Problem:
    return Problem(413, "body_too_large", f"A body may have {MAX_BODY_BYTES} bytes.")


def _query(event: Mapping[str, Any]) -> dict[str, str]:
    """Each parameter once, decoded, which the load balancer does not do.

    In the single-value shape it has kept the last value of each.
    """
    multiple = event.get("multiValueQueryStringParameters")
    parameters = multiple if multiple is not None else event.get("queryStringParameters") or {}
    query: dict[str, str] = {}
    for name, values in parameters.items():
        if isinstance(values, list) and len(values) != 1:
            raise Problem(400, "invalid_parameter", "A parameter was sent more than once.")
        value = values[0] if isinstance(values, list) else values
        decoded = unquote_plus(name, errors="strict")
        if decoded in query:
            raise Problem(400, "invalid_parameter", "A parameter was sent more than once.")
        query[decoded] = unquote_plus(value, errors="strict")
        query[decoded].encode()  # a lone surrogate is no text
    return query


def _header(event: Mapping[str, Any], name: str) -> str:
    values = header_values(event, name)
    return values[0] if values else ""
