"""Converts HTTP requests to Lambda events, and answers to HTTP, as a load balancer does.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
"""

import base64
import json
from binascii import Error as Base64Error
from copy import replace
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

MAX_BODY_BYTES = 1_048_576
"""The largest body of a request, and the largest JSON of an answer, in bytes."""

Shape = Literal["multi-value", "single-value"]
"""The shape of headers and query parameters in an event: every value, or the last one
(`lambda.multi_value_headers.enabled`)."""

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection only (RFC 9110, section 7.6.1)."""

Headers = tuple[tuple[str, str], ...]


class BadAnswer(Exception):
    """A load balancer does not accept the function's answer, and replies with 502."""


@dataclass(frozen=True, slots=True)
class Request:
    """A raw request: path and query not decoded, header names lower-case, repeated headers kept."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes

    def values(self, name: str) -> list[str]:
        """All values of the header `name` (lower-case)."""
        return [value for header, value in self.headers if header == name]

    def with_headers(self, **changes: str) -> "Request":
        """The request with these headers replaced. `_` in a name means `-`."""
        new = {name.replace("_", "-"): value for name, value in changes.items()}
        kept = tuple(header for header in self.headers if header[0] not in new)
        return replace(self, headers=(*kept, *new.items()))


@dataclass(frozen=True, slots=True)
class Reply:
    """The response to the client."""

    status: int
    headers: Headers = ()
    body: bytes = b""


def plain(status: HTTPStatus, text: str = "") -> Reply:
    """A plain-text response of the load balancer itself."""
    body = f"{status.value} {status.phrase}{': ' if text else ''}{text}\n"
    return Reply(status.value, (("content-type", "text/plain; charset=utf-8"),), body.encode())


def to_event(request: Request, target_group_arn: str, *, shape: Shape) -> dict[str, Any]:
    """The event for the function. As on AWS, query values are not decoded."""
    query = [pair.partition("=")[::2] for pair in request.query.split("&") if pair]
    is_base64 = bool(request.body) and not _is_text(request)
    body = base64.b64encode(request.body) if is_base64 else request.body
    event: dict[str, Any] = {
        "requestContext": {"elb": {"targetGroupArn": target_group_arn}},
        "httpMethod": request.method,
        "path": request.path,
        "body": body.decode(),
        "isBase64Encoded": is_base64,
    }
    if shape == "multi-value":
        event["multiValueHeaders"] = _grouped(request.headers)
        event["multiValueQueryStringParameters"] = _grouped(query)
    else:
        event["headers"] = dict(request.headers)
        event["queryStringParameters"] = dict(query)
    return event


def to_reply(answer: Any, *, shape: Shape) -> Reply:
    """The response for the function's `answer`. Raises `BadAnswer`."""
    if not isinstance(answer, dict):
        raise BadAnswer("the answer is not an object")
    if len(json.dumps(answer).encode()) > MAX_BODY_BYTES:
        raise BadAnswer(f"the answer has more than {MAX_BODY_BYTES} bytes")
    status = answer.get("statusCode")
    if type(status) is not int or not 200 <= status <= 599:
        raise BadAnswer("statusCode is not a status")
    body = answer.get("body") or ""
    if not isinstance(body, str):
        raise BadAnswer("body is not a string")
    return Reply(status, _reply_headers(answer, shape), _decoded(body, answer))


def _reply_headers(answer: dict[str, Any], shape: Shape) -> Headers:
    headers = answer.get("multiValueHeaders" if shape == "multi-value" else "headers") or {}
    other = answer.get("headers" if shape == "multi-value" else "multiValueHeaders")
    if other or not isinstance(headers, dict):
        raise BadAnswer(f"headers are not in the {shape} shape")
    pairs = []
    for name, given in headers.items():
        values = given if shape == "multi-value" else [given]
        if not isinstance(values, list):
            raise BadAnswer("a header's values are not a list")
        for value in values:
            if not isinstance(value, str) or not (name + value).isprintable():
                raise BadAnswer("a header's value is not printable text")
            if name.lower() not in HOP_BY_HOP and name.lower() != "content-length":
                pairs.append((name, value))
    return tuple(pairs)


def _decoded(body: str, answer: dict[str, Any]) -> bytes:
    if answer.get("isBase64Encoded") is not True:
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except Base64Error:
        raise BadAnswer("body is not base64") from None


def _is_text(request: Request) -> bool:
    """Whether the body goes into the event as text; otherwise it goes as base64."""
    types = request.values("content-type")
    content_type = types[-1].partition(";")[0].strip().lower() if types else ""
    if request.values("content-encoding") or not (
        content_type.startswith("text/")
        or content_type in ("application/json", "application/javascript", "application/xml")
    ):
        return False
    try:
        request.body.decode()
    except UnicodeDecodeError:
        return False  # JSON cannot carry it otherwise
    return True


def _grouped(pairs: Any) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return groups
