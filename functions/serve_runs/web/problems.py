"""Every answer that is not a success: `application/problem+json` (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, get_args

import msgspec
from aws_lambda_powertools.event_handler import Response

from byline.errors import Reason

RequestReason = Literal[
    "invalid_name",
    "invalid_body",
    "invalid_parameter",
    "invalid_cursor",
    "invalid_idempotency_key",
    "body_too_large",
    "unsupported_media_type",
    "not_found",
    "forbidden",
    "last_admin",
    "already_registered",
    "invalid_service_account_token",
    "invalid_parent_run",
    "too_many_changes",
    "method_not_allowed",
    "cross_site_request",
    "wrong_state",
    "idempotency_conflict",
    "run_deleted",
    "keys_unavailable",
    "store_unavailable",
    "token_unavailable",
    "grant_refused",
    "grant_unavailable",
    "internal",
]

ProblemReason = Reason | RequestReason
PROBLEM_REASONS: tuple[str, ...] = (*get_args(Reason), *get_args(RequestReason))
"""The closed list that `reason` is of. Clients may match on it; texts may change."""

RETRY_AFTER_SECONDS = 2
"""What a 503 asks a client to wait. Keys are asked for again after 5 s, DynamoDB at once."""


class Problem(Exception):
    """An answer for the client, ready but for the request's id.

    `members` are added to the document, `headers` to the answer.
    """

    def __init__(
        self,
        status: int,
        reason: ProblemReason,
        detail: str,
        *,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status = status
        self.reason: ProblemReason = reason
        self.detail = detail
        self.members = dict(members or {})
        self.headers = dict(headers or {})

    def response(self, *, request_id: str) -> "Response[str]":
        """The answer. `instance` is the request's id, to be found in the logs."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": request_id,
            "reason": self.reason,
            **self.members,
        }
        return Response(
            status_code=self.status,
            content_type="application/problem+json",
            body=msgspec.json.encode(document).decode(),
            headers={"Cache-Control": "no-store", **self.headers},
        )


def not_found() -> Problem:
    """What does not exist. One text for all of it, so that the answer tells nothing else."""
    return Problem(404, "not_found", "There is nothing here.")


def forbidden() -> Problem:
    """What the caller may see and not do (RFC 9110, section 15.5.4)."""
    return Problem(403, "forbidden", "You may see this, but your roles do not permit that.")


def method_not_allowed(allowed: Sequence[str]) -> Problem:
    """A path that answers other methods, named in `Allow` (RFC 9110, section 15.5.6)."""
    return Problem(
        405,
        "method_not_allowed",
        "This path does not answer the method.",
        headers={"Allow": ", ".join(allowed)},
    )


def unauthorized(reason: Reason, detail: str) -> Problem:
    """RFC 9110, section 15.5.2: a 401 names the scheme that would be accepted."""
    challenge = 'Bearer realm="byline"'
    if reason != "no_credentials":
        # RFC 6750, section 3.1: no error code for a request without credentials.
        challenge += ', error="invalid_token"'
    return Problem(401, reason, detail, headers={"WWW-Authenticate": challenge})


def unavailable(
    reason: Literal[
        "keys_unavailable", "store_unavailable", "token_unavailable", "grant_unavailable"
    ],
    detail: str,
) -> Problem:
    """Nothing was decided; the same request may succeed later."""
    return Problem(503, reason, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
