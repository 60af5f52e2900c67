"""Choosing the one credential of a request that counts.

The choice follows from the target group that the load balancer forwarded to, which no client can
forge, and from nothing else: a forged header of the other kind is not even read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byline.errors import Rejected
from byline.identity.unverified import UnverifiedToken

OIDC_DATA = "x-amzn-oidc-data"
OIDC_IDENTITY = "x-amzn-oidc-identity"
AUTHORIZATION = "authorization"

_TARGET_GROUP_ARN = re.compile(
    r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/([A-Za-z0-9-]{1,32})/[0-9a-f]+"
)


@dataclass(frozen=True, slots=True)
class BrowserCredential:
    """The load balancer's token, and the unsigned subject that may stand beside it."""

    token: UnverifiedToken
    unsigned_subject: str | None


def target_group(event: Mapping[str, Any]) -> str:
    """The name of the target group through which `event` came, empty where there is none."""
    try:
        arn = event["requestContext"]["elb"]["targetGroupArn"]
    except (KeyError, TypeError):
        return ""
    match = _TARGET_GROUP_ARN.fullmatch(arn) if isinstance(arn, str) else None
    return match[1] if match else ""


def header_values(event: Mapping[str, Any], name: str) -> list[str]:
    """All values of header `name` (lower case), in whatever spelling, in both shapes of an event.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html#multi-value-headers
    """
    headers = event.get("multiValueHeaders") or event.get("headers")
    if not isinstance(headers, Mapping):
        return []
    values: list[Any] = []
    for spelling, value in headers.items():
        if spelling.lower() == name:
            values.extend(value if isinstance(value, list) else [value])
    return [value for value in values if isinstance(value, str)]


def single_header(event: Mapping[str, Any], name: str) -> str | None:
    """The one value of header `name` (lower case), None where it is not sent.

    Raises `Rejected` (`duplicated_header`) for more than one value, two spellings of the name
    included: two readers might take different ones.
    """
    values = header_values(event, name)
    if len(values) > 1:
        raise Rejected("duplicated_header", f"`{name}` was sent {len(values)} times")
    return values[0] if values else None


def browser_credential(event: Mapping[str, Any]) -> BrowserCredential | None:
    """The load balancer's token, None where it sent none. Raises `Rejected`."""
    data = single_header(event, OIDC_DATA)
    subject = single_header(event, OIDC_IDENTITY)
    if data is None:
        return None
    return BrowserCredential(UnverifiedToken(data), subject)


def bearer_credential(event: Mapping[str, Any]) -> UnverifiedToken | None:
    """The Bearer token (RFC 6750, section 2.1), None without an `Authorization` header.

    Raises `Rejected`: `duplicated_header`, `unsupported_scheme`, `malformed_token`.
    """
    value = single_header(event, AUTHORIZATION)
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer":
        raise Rejected("unsupported_scheme", "the scheme of `Authorization` is not Bearer")
    token = token.strip(" ")
    if not token:
        raise Rejected("malformed_token", "no token follows the scheme")
    return UnverifiedToken(token)
