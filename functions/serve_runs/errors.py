"""Why a request cannot be carried out, in the product's terms and without HTTP.

Routes and stores raise `RequestFailed`; `web.problems` answers it, once for all.
"""

from collections.abc import Mapping
from typing import Any, Literal

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
"""Why a request was not carried out, beside `byline.errors.Reason` for its credential.

Closed: clients may match on it. `web.reasons` has status, sentence and meaning of each."""


class RequestFailed(Exception):
    """The request is not carried out.

    `detail`: a sentence for the caller, without secret text; empty for the sentence of the reason.
    `members` are added to the problem document.
    """

    def __init__(
        self, reason: RequestReason, detail: str = "", *, members: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: RequestReason = reason
        self.detail = detail
        self.members = dict(members or {})


def not_found() -> RequestFailed:
    """The error for a resource that does not exist, or that the caller may not know of.

    One sentence for both, so that the answer does not tell which it is.
    """
    return RequestFailed("not_found")


def forbidden(action: str) -> RequestFailed:
    """The error for a caller that may read the resource, but not carry out `action`."""
    return RequestFailed(
        "forbidden",
        f"You can read this, but none of your roles allows `{action}`. Ask a project admin.",
    )


def contended(resource: str) -> RequestFailed:
    """The error for a write that other requests overtook at every attempt; a retry may succeed."""
    return RequestFailed(
        "store_unavailable", f"Other requests keep changing the {resource}. Retry."
    )
