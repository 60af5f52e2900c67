"""What a handler does not say of itself: its answers, and which problems it may answer with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from byline.errors import Reason
from serve_runs.web.reasons import REASONS, ProblemReason
from tools.openapi.shapes import (
    AuditRecordList,
    Caller,
    Credential,
    CredentialList,
    CredentialToken,
    Health,
    Message,
    MessageList,
    RoleBindingList,
    RoleBindingOf,
    Run,
    RunList,
    Runner,
    RunnerList,
    RunnerToken,
    ServiceAccount,
    ServiceAccountList,
)

STATUS: Mapping[str, int] = {reason: entry.status for reason, entry in REASONS.items()}
"""The status of each reason."""

NEEDS_CALLER: tuple[ProblemReason, ...] = (*get_args(Reason), "keys_unavailable", "internal")
NEEDS_TABLE: tuple[ProblemReason, ...] = (*NEEDS_CALLER, "store_unavailable")


@dataclass(frozen=True, slots=True)
class Operation:
    """What a handler answers: shapes by status, and reasons of problems.

    `located`: the statuses that come with a `Location`.
    """

    tag: str
    answers: Mapping[int, tuple[str, type | None]]
    reasons: tuple[ProblemReason, ...]
    located: tuple[int, ...] = ()


CHANGE_OF_STATE = Operation(
    "runs",
    {200: ("The run in its new state.", Run)},
    (
        *NEEDS_TABLE,
        "forbidden",
        "cross_site_request",
        "invalid_name",
        "not_found",
        "wrong_state",
    ),
)

OPERATIONS: Mapping[str, Operation] = {
    **dict.fromkeys(("start_run", "finish_run", "fail_run", "cancel_run"), CHANGE_OF_STATE),
    "check_health": Operation("health", {200: ("It answers.", Health)}, ()),
    "show_caller": Operation("callers", {200: ("The caller.", Caller)}, NEEDS_TABLE),
    "create_run": Operation(
        "runs",
        {
            201: ("The run was created.", Run),
            200: ("The run that this `Idempotency-Key` created before, as it is now.", Run),
        },
        (
            *NEEDS_TABLE,
            "forbidden",
            "not_found",
            "cross_site_request",
            "invalid_name",
            "invalid_idempotency_key",
            "invalid_body",
            "body_too_large",
            "unsupported_media_type",
            "invalid_parent_run",
            "idempotency_conflict",
            "run_deleted",
        ),
        located=(200, 201),
    ),
    "list_project_runs": Operation(
        "runs",
        {200: ("A page.", RunList)},
        (*NEEDS_TABLE, "not_found", "invalid_name", "invalid_parameter", "invalid_cursor"),
    ),
    "list_created_runs": Operation(
        "runs",
        {200: ("A page.", RunList)},
        (*NEEDS_TABLE, "invalid_parameter", "invalid_cursor"),
    ),
    "show_run": Operation(
        "runs", {200: ("The run.", Run)}, (*NEEDS_TABLE, "invalid_name", "not_found")
    ),
    "delete_run": Operation(
        "runs",
        {204: ("It is deleted.", None)},
        (*NEEDS_TABLE, "forbidden", "cross_site_request", "invalid_name", "not_found"),
    ),
    "register_runner": Operation(
        "runners",
        {
            201: ("The runner was registered.", Runner),
            200: ("The runner as it is registered now.", Runner),
        },
        (
            *NEEDS_TABLE,
            "forbidden",
            "not_found",
            "cross_site_request",
            "invalid_name",
            "invalid_body",
            "body_too_large",
            "unsupported_media_type",
        ),
        located=(201,),
    ),
    "list_project_runners": Operation(
        "runners",
        {200: ("A page.", RunnerList)},
        (*NEEDS_TABLE, "not_found", "invalid_name", "invalid_parameter", "invalid_cursor"),
    ),
    "show_runner": Operation(
        "runners", {200: ("The runner.", Runner)}, (*NEEDS_TABLE, "invalid_name", "not_found")
    ),
    "delete_runner": Operation(
        "runners",
        {204: ("It is deleted.", None)},
        (*NEEDS_TABLE, "forbidden", "cross_site_request", "invalid_name", "not_found"),
    ),
    "show_runner_token": Operation(
        "runners",
        {200: ("The token.", RunnerToken)},
        (
            *NEEDS_TABLE,
            "forbidden",
            "invalid_name",
            "invalid_parameter",
            "not_found",
            "token_unavailable",
        ),
    ),
    "list_role_bindings": Operation(
        "access",
        {200: ("A page.", RoleBindingList)},
        (*NEEDS_TABLE, "invalid_name", "invalid_parameter", "invalid_cursor", "not_found"),
    ),
    "grant_role": Operation(
        "access",
        {
            201: ("They have the role now.", RoleBindingOf),
            200: ("They had it already.", RoleBindingOf),
        },
        (
            *NEEDS_TABLE,
            "cross_site_request",
            "forbidden",
            "invalid_name",
            "invalid_body",
            "invalid_parameter",
            "not_found",
            "body_too_large",
            "unsupported_media_type",
        ),
    ),
    "revoke_role": Operation(
        "access",
        {204: ("They have it no more.", None)},
        (
            *NEEDS_TABLE,
            "cross_site_request",
            "forbidden",
            "invalid_name",
            "invalid_parameter",
            "not_found",
            "last_admin",
        ),
    ),
    "list_audit_records": Operation(
        "audit",
        {200: ("A page.", AuditRecordList)},
        (*NEEDS_TABLE, "invalid_name", "invalid_parameter", "invalid_cursor", "not_found"),
    ),
    "put_project_credential": Operation(
        "credentials",
        {
            201: ("The credential was stored.", Credential),
            200: ("The credential as it is stored now.", Credential),
        },
        (
            *NEEDS_TABLE,
            "cross_site_request",
            "forbidden",
            "invalid_name",
            "invalid_body",
            "not_found",
            "body_too_large",
            "unsupported_media_type",
            "too_many_changes",
        ),
        located=(201,),
    ),
    "list_project_credentials": Operation(
        "credentials",
        {200: ("A page.", CredentialList)},
        (
            *NEEDS_TABLE,
            "forbidden",
            "invalid_name",
            "invalid_parameter",
            "invalid_cursor",
            "not_found",
        ),
    ),
    "show_credential": Operation(
        "credentials",
        {200: ("The credential.", Credential)},
        (*NEEDS_TABLE, "invalid_name", "not_found"),
    ),
    "delete_credential": Operation(
        "credentials",
        {204: ("It is deleted.", None)},
        (*NEEDS_TABLE, "cross_site_request", "forbidden", "invalid_name", "not_found"),
    ),
    "show_credential_token": Operation(
        "credentials",
        {200: ("The token.", CredentialToken)},
        (
            *NEEDS_TABLE,
            "forbidden",
            "invalid_name",
            "invalid_parameter",
            "not_found",
            "token_unavailable",
        ),
    ),
    "list_messages": Operation(
        "messages",
        {200: ("The messages.", MessageList)},
        (*NEEDS_TABLE, "forbidden", "invalid_name", "invalid_parameter", "not_found"),
    ),
    "post_message": Operation(
        "messages",
        {
            201: ("The message was written.", Message),
            200: ("The message that this `Idempotency-Key` wrote before.", Message),
        },
        (
            *NEEDS_TABLE,
            "cross_site_request",
            "forbidden",
            "invalid_name",
            "invalid_idempotency_key",
            "invalid_body",
            "not_found",
            "body_too_large",
            "unsupported_media_type",
            "idempotency_conflict",
        ),
    ),
    "create_service_account": Operation(
        "service accounts",
        {
            201: ("From now on it acts for the caller.", ServiceAccount),
            200: ("It did so before; its role and name are these now.", ServiceAccount),
        },
        (
            *NEEDS_TABLE,
            "cross_site_request",
            "forbidden",
            "invalid_name",
            "invalid_body",
            "not_found",
            "already_registered",
            "body_too_large",
            "unsupported_media_type",
            "invalid_service_account_token",
            "grant_refused",
            "grant_unavailable",
        ),
        located=(201,),
    ),
    "list_service_accounts": Operation(
        "service accounts",
        {200: ("A page.", ServiceAccountList)},
        (*NEEDS_TABLE, "invalid_name", "invalid_parameter", "invalid_cursor", "not_found"),
    ),
    "show_service_account": Operation(
        "service accounts",
        {200: ("The service account.", ServiceAccount)},
        (*NEEDS_TABLE, "invalid_name", "not_found"),
    ),
    "delete_service_account": Operation(
        "service accounts",
        {204: ("It acts for nobody.", None)},
        (*NEEDS_TABLE, "cross_site_request", "forbidden", "invalid_name", "not_found"),
    ),
}
"""By the name of the handler."""
