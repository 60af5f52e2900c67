"""Parsing of forwarded requests: path, body, query and headers, each with limits and checks.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
"""

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote, unquote_plus

import msgspec
from msgspec import Meta

from byline.identity.caller import MAX_PRINCIPAL_BYTES
from byline.identity.claims import MAX_SUBJECT_BYTES
from byline.identity.identity import header_values
from byline.names import NAME, RUN_ID, naming_rule
from serve_runs.errors import RequestFailed, not_found

MAX_BODY_BYTES = 65_536
"""The longest body after decoding. Every valid body is shorter; the load balancer allows 1 MB."""

DETAIL_CHARACTERS = 200
"""The longest detail about a body or query, which may quote the name of an unknown member."""

END = r"$(?!\n)"
"""The pattern of the end of a text. Python's `$` alone also matches before a final line feed."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*" + END

SubjectText = Annotated[str, Meta(min_length=1, max_length=MAX_SUBJECT_BYTES, pattern=PRINTABLE)]
"""A subject in a query."""

PersonText = Annotated[str, Meta(min_length=1, max_length=MAX_PRINCIPAL_BYTES, pattern=PRINTABLE)]
"""A person in a query: `me`, a subject, an e-mail address or a principal."""

Time = Annotated[datetime, Meta(tz=True)]
"""A time with its offset, RFC 3339."""

SERVICE_ACCOUNT_ID_CHARACTERS = 26
"""The length of a service account's id: 130 bits of a hash."""

ServiceAccountId = Annotated[
    str, Meta(pattern=f"^[a-z2-7]{{{SERVICE_ACCOUNT_ID_CHARACTERS}}}" + END)
]

_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class _NoMembers(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request that takes none."""


def path_name(text: str, *, of: str) -> str:
    """The name of a project, runner or credential in a path.

    Raises `RequestFailed` (`invalid_name`), with the rule for names.
    """
    if not NAME.fullmatch(text):
        raise RequestFailed("invalid_name", naming_rule(unquote(text), of=of))
    return text


def path_part(name: str, text: str) -> str:
    """The part of a path at the place `name`, after its rule was checked. Raises `RequestFailed`.

    Parts with a rule of their subject are returned unchecked, and the route's function checks them.
    """
    match name:
        case "run_id":
            return path_id(text, pattern=RUN_ID)
        case "runner" | "credential" | "agent":
            return path_name(text, of=name)
        case "apply_set":
            return path_name(text, of="apply set")
        case _:
            return text


def path_id(text: str, *, pattern: re.Pattern[str]) -> str:
    """An id in a path. Raises `RequestFailed` (`not_found`) for text that cannot be an id."""
    if not pattern.fullmatch(text):
        raise not_found()
    return text


def read_body[Shape](event: Mapping[str, Any], shape: type[Shape]) -> Shape:
    """The JSON body as a `shape`.

    Raises `RequestFailed`: `invalid_body`, `body_too_large`, `unsupported_media_type`.
    """
    body = _body(event)
    # A page of another site can send text/plain or a form without a preflight, but not JSON
    # (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
    media_type = header(event, "content-type").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestFailed("unsupported_media_type")
    try:
        read = msgspec.json.decode(body, type=shape)
    except RecursionError:
        raise RequestFailed("invalid_body", "The body is nested too deeply.") from None
    except msgspec.MsgspecError as error:
        raise RequestFailed("invalid_body", str(error)[:DETAIL_CHARACTERS]) from None
    except UnicodeDecodeError:
        raise RequestFailed("invalid_body", "The body is not UTF-8.") from None
    if _has_member_twice(body):
        # msgspec takes the last of the two, another reader may take the first.
        raise RequestFailed("invalid_body", "An object of the body has two members of one name.")
    return read


def refuse_members(event: Mapping[str, Any]) -> None:
    """Refuse a body with members, for a route that would ignore them; `{}` passes.

    Raises `RequestFailed` as `read_body`.
    """
    if event.get("body"):
        read_body(event, _NoMembers)


def read_query[Shape](event: Mapping[str, Any], shape: type[Shape]) -> Shape:
    """The query as a `shape`; an unknown name raises `RequestFailed` (`invalid_parameter`) too."""
    try:
        query: dict[str, str | int] = {**_query(event)}
        for name in ("limit", "wait"):
            number = query.get(name)
            if isinstance(number, str) and _INTEGER.fullmatch(number):
                query[name] = int(number)
        return msgspec.convert(query, type=shape)
    except msgspec.ValidationError as error:
        raise RequestFailed("invalid_parameter", str(error)[:DETAIL_CHARACTERS]) from None
    except UnicodeError:
        raise RequestFailed("invalid_parameter", "A parameter is not UTF-8.") from None


def idempotency_key(event: Mapping[str, Any]) -> str | None:
    """The header `Idempotency-Key`; None where it is not sent.

    Raises `RequestFailed` (`invalid_idempotency_key`).
    """
    values = header_values(event, "idempotency-key")
    if not values:
        return None
    if len(values) > 1 or not _IDEMPOTENCY_KEY.fullmatch(values[0]):
        raise RequestFailed("invalid_idempotency_key")
    return values[0]


def is_cross_site(event: Mapping[str, Any]) -> bool:
    """Whether a page of another origin started the request, as the browser says.

    Browsers send the load balancer's session cookie with such a request, so its token verifies.
    They name its origin too (https://www.w3.org/TR/fetch-metadata/, RFC 6454 section 7).
    """
    if sites := header_values(event, "sec-fetch-site"):
        return not {"same-origin", "none"}.issuperset(sites)
    scheme = header(event, "x-forwarded-proto") or "https"
    own = f"{scheme}://{header(event, 'host')}"
    return any(origin != own for origin in header_values(event, "origin"))


def header(event: Mapping[str, Any], name: str) -> str:
    """A header's first value, empty where it is not sent."""
    values = header_values(event, name)
    return values[0] if values else ""


def _has_member_twice(body: bytes) -> bool:
    found: list[bool] = []

    def count(pairs: list[tuple[str, Any]]) -> None:
        found.append(len(pairs) != len(dict(pairs)))

    json.loads(body, object_pairs_hook=count)
    return any(found)


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body") or ""
    if len(text) > MAX_BODY_BYTES * 2:
        raise _too_large()
    try:
        body = b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except ValueError:
        raise RequestFailed("invalid_body", "The body is not base64 or not UTF-8.") from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> RequestFailed:
    return RequestFailed("body_too_large", f"A body has at most {MAX_BODY_BYTES} bytes.")


def _query(event: Mapping[str, Any]) -> dict[str, str]:
    """Each parameter once, percent-decoded, because the load balancer does not decode.

    In single-value events the load balancer has kept only the last value of each.
    """
    multiple = event.get("multiValueQueryStringParameters")
    parameters = multiple if multiple is not None else event.get("queryStringParameters") or {}
    query: dict[str, str] = {}
    for name, values in parameters.items():
        if isinstance(values, list) and len(values) != 1:
            raise RequestFailed("invalid_parameter", "A parameter was sent more than once.")
        value = values[0] if isinstance(values, list) else values
        decoded = unquote_plus(name, errors="strict")
        if decoded in query:
            raise RequestFailed("invalid_parameter", "A parameter was sent more than once.")
        query[decoded] = unquote_plus(value, errors="strict")
        query[decoded].encode()  # raises UnicodeError for a lone surrogate
    return query
