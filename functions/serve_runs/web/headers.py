"""The headers of every answer, problems included."""

from collections.abc import Mapping
from typing import Any

FIXED_HEADERS: Mapping[str, str] = {
    # Answers differ by caller, so no cache may store one.
    "Cache-Control": "no-store",
    # An answer is data: no browser may run it, show it in another page, or read it for one.
    # https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Paths hold the names of projects and people's runs.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_MULTI_VALUE = {name: [value] for name, value in FIXED_HEADERS.items()}


def with_fixed_headers(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer to the load balancer, in either shape, with the fixed headers in it."""
    if "multiValueHeaders" in answer:
        return {**answer, "multiValueHeaders": {**answer["multiValueHeaders"], **_MULTI_VALUE}}
    return {**answer, "headers": {**answer["headers"], **FIXED_HEADERS}}
