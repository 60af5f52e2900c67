"""Problem documents: the answer to each error as `application/problem+json` (RFC 9457).

Only this module gives an error its status, logs it and counts it.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name, error_places, is_passing
from byline.errors import Rejected, Unavailable
from byline.identity.caller import Caller
from byline.metrics import Metrics
from byline.names import NAME
from byline.tables.rows import Contended, RowsUnread
from serve_runs.errors import RequestFailed
from serve_runs.web.reasons import REASONS, ProblemReason

logger = Logger(service="byline")

DENIALS = frozenset[ProblemReason](
    {
        "forbidden",
        "not_found",
        "cross_site_request",
        "run_not_executed",
        "run_required",
        "run_labels_differ",
        "wrong_state",
    }
)
"""The reasons for which a token is not handed out to a caller. Other reasons are of the request's
form, or passing."""


METADATA_PATH = "/.well-known/oauth-protected-resource"
"""Where a client learns how to sign in (RFC 9728, section 3)."""


class Problems:
    """Answers errors, and counts them in `metrics`.

    `public_origin`: the address of the service, empty where it publishes no metadata.
    """

    def __init__(self, metrics: Metrics, *, public_origin: str) -> None:
        self._metrics = metrics
        self._challenge = 'Bearer realm="byline"'
        if public_origin:
            # RFC 9728, section 5.1
            self._challenge += f', resource_metadata="{public_origin}{METADATA_PATH}"'

    def answer(self, error: Exception, *, request_id: str) -> Response[str]:
        """The problem document for `error`, which is also logged and counted.

        `request_id` becomes `instance`, by which an operator finds the log lines.
        """
        match error:
            case RequestFailed():
                return problem(
                    error.reason,
                    error.detail,
                    request_id=request_id,
                    members=error.members,
                    retry_after_seconds=error.retry_after_seconds,
                )
            case Rejected():
                return self._reject(error, request_id)
            case Unavailable():
                self._metrics.count("Unavailable")
                logger.error("keys unavailable", source=error.source, detail=error.detail)
                return problem("keys_unavailable", request_id=request_id)
            case Contended() | RowsUnread():
                return problem("store_unavailable", request_id=request_id)
            case ClientError() | BotoCoreError() if is_passing(error):
                self._metrics.count("Unavailable")
                logger.error("store unavailable", error=error_name(error))
                return problem("store_unavailable", request_id=request_id)
            case _:
                # No message and no traceback: they may quote the request, and a secret in it.
                self._metrics.count("InternalError")
                operation = error.operation_name if isinstance(error, ClientError) else None
                name, places = error_name(error), error_places(error)
                logger.error("unexpected error", error=name, operation=operation, at=places)
        return problem("internal", request_id=request_id)

    def count_denied_read(
        self, failure: RequestFailed, caller: Caller | None, resource: Mapping[str, str]
    ) -> None:
        """Log and count a read of a token that was denied to a caller.

        `resource`: the project and the name of the resource, as the path has them. A caller without
        an accepted credential is rejected before, which is counted as `Rejected`.
        """
        if failure.reason not in DENIALS:
            return
        named: dict[str, Any] = {
            place: name for place, name in resource.items() if NAME.fullmatch(name)
        }
        self._metrics.count("TokenReadDenied", reason=failure.reason)
        logger.warning(
            "token read denied",
            reason=failure.reason,
            actor=caller and caller.subject,
            actor_issuer=caller and caller.issuer,
            on_behalf_of=caller and caller.represents and caller.represents.subject,
            **named,
        )

    def _reject(self, error: Rejected, request_id: str) -> Response[str]:
        """The 401 to a rejected caller, with the accepted scheme (RFC 9110, section 15.5.2)."""
        self._metrics.count("Rejected", reason=error.reason)
        logger.warning(
            "caller rejected",
            reason=error.reason,
            detail=error.detail,
            expected=error.expected,
            actual=error.actual,
        )
        challenge = self._challenge
        if error.reason != "no_credentials":
            # RFC 6750, section 3.1: no error code for a request without credentials.
            challenge += ', error="invalid_token"'
        headers = {"WWW-Authenticate": challenge}
        return problem(error.reason, error.detail, request_id=request_id, headers=headers)


def problem(
    reason: ProblemReason,
    detail: str = "",
    *,
    request_id: str,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    retry_after_seconds: int | None = None,
) -> Response[str]:
    """The problem document of `reason`, with its status and `Retry-After`.

    An empty `detail` stands for the reason's own sentence, and None for its own `Retry-After`.
    """
    entry = REASONS[reason]
    retry_after = retry_after_seconds or entry.retry_after_seconds
    document = {
        "type": "about:blank",
        "title": HTTPStatus(entry.status).phrase,
        "status": entry.status,
        "detail": detail or entry.sentence,
        "instance": request_id,
        "reason": reason,
        **(members or {}),
    }
    return Response(
        status_code=entry.status,
        content_type="application/problem+json",
        body=msgspec.json.encode(document).decode(),
        headers={
            **({} if retry_after is None else {"Retry-After": str(retry_after)}),
            **(headers or {}),
        },
    )


def method_not_allowed(allowed: Sequence[str], *, request_id: str) -> Response[str]:
    """The 405 for a path, with its methods in `Allow` (RFC 9110, section 15.5.6)."""
    headers = {"Allow": ", ".join(allowed)}
    return problem("method_not_allowed", request_id=request_id, headers=headers)
