"""The error of a request that cannot be carried out, with its reason and without HTTP.

Routes and stores raise `RequestFailed`; `web.problems` makes the answer.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

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
    "project_exists",
    "runs_live",
    "unknown_email",
    "ambiguous_email",
    "already_registered",
    "invalid_service_account_token",
    "invalid_parent_run",
    "too_many_changes",
    "too_many_refreshes",
    "too_many_waits",
    "method_not_allowed",
    "cross_site_request",
    "wrong_state",
    "run_not_executed",
    "run_required",
    "run_labels_differ",
    "idempotency_conflict",
    "run_deleted",
    "keys_unavailable",
    "store_unavailable",
    "token_unavailable",
    "grant_refused",
    "grant_unavailable",
    "internal",
]
"""The reasons of a failed request. Those of a rejected credential are in `byline.errors.Reason`.

The list is closed, so clients may match on it. `web.reasons` has the status of each."""


class RequestFailed(Exception):
    """The request was not carried out.

    `detail`: a sentence for the caller, without secret text; empty for the reason's own sentence.
    `members` are added to the problem document. `retry_after_seconds`: None for the reason's own.
    """

    def __init__(
        self,
        reason: RequestReason,
        detail: str = "",
        *,
        members: Mapping[str, Any] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: RequestReason = reason
        self.detail = detail
        self.members = dict(members or {})
        self.retry_after_seconds = retry_after_seconds


def not_found() -> RequestFailed:
    """The error for a resource that does not exist, or that the caller may not know of.

    Both have one sentence, so that the answer does not reveal whether the resource exists.
    """
    return RequestFailed("not_found")


def forbidden(action: str) -> RequestFailed:
    """The error for a caller that may read the resource, but not carry out `action`.

    The member `permission` names the action, as roles and audit records do.
    """
    return RequestFailed(
        "forbidden",
        f"You can read this, but none of your roles allows `{action}`. Ask a project admin.",
        members={"permission": action},
    )


def contended(resource: str) -> RequestFailed:
    """The error for a row that other requests changed at every attempt; a retry may succeed."""
    return RequestFailed(
        "store_unavailable", f"Other requests keep changing the {resource}. Retry."
    )


def is_about_an_index(error: "ClientError") -> bool:
    """Whether a query failed because DynamoDB has not filled its index yet, or lacks it."""
    fault = error.response["Error"]
    return fault["Code"] == "ValidationException" and " index: " in fault["Message"]


def index_unavailable() -> RequestFailed:
    """The error for a list while DynamoDB fills its index, after an upgrade."""
    return RequestFailed("store_unavailable", "DynamoDB fills a new index at present. Retry later.")
