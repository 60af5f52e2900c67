"""What a handler does not say of itself: its answers, and which problems it may answer with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from byline.errors import Reason
from problems import ProblemReason
from tools.openapi.shapes import (
    AuditRecordList,
    Caller,
    Health,
    Run,
    RunList,
    Runner,
    RunnerList,
    RunnerToken,
)

STATUS: Mapping[str, int] = {
    **dict.fromkeys(get_args(Reason), 401),
    "invalid_name": 400,
    "invalid_body": 400,
    "invalid_parameter": 400,
    "invalid_cursor": 400,
    "invalid_idempotency_key": 400,
    "cross_site_request": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "wrong_state": 409,
    "run_deleted": 409,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_conflict": 422,
    "internal": 500,
    "keys_unavailable": 503,
    "store_unavailable": 503,
    "token_unavailable": 503,
}
"""The status that each reason comes with."""

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


OPERATIONS: Mapping[str, Operation] = {
    "check_health": Operation("health", {200: ("It answers.", Health)}, ()),
    "show_caller": Operation("callers", {200: ("The caller.", Caller)}, NEEDS_CALLER),
    "create_run": Operation(
        "runs",
        {
            201: ("The run was created.", Run),
            200: ("The run that this `Idempotency-Key` created before, as it is now.", Run),
        },
        (
            *NEEDS_TABLE,
            "cross_site_request",
            "invalid_name",
            "invalid_idempotency_key",
            "invalid_body",
            "body_too_large",
            "unsupported_media_type",
            "idempotency_conflict",
            "run_deleted",
        ),
        located=(200, 201),
    ),
    "list_project_runs": Operation(
        "runs",
        {200: ("A page.", RunList)},
        (*NEEDS_TABLE, "invalid_name", "invalid_parameter", "invalid_cursor"),
    ),
    "list_created_runs": Operation(
        "runs",
        {200: ("A page.", RunList)},
        (*NEEDS_TABLE, "invalid_parameter", "invalid_cursor"),
    ),
    "show_run": Operation(
        "runs", {200: ("The run.", Run)}, (*NEEDS_TABLE, "invalid_name", "not_found")
    ),
    "change_run": Operation(
        "runs",
        {200: ("The run in its new state.", Run)},
        (*NEEDS_TABLE, "cross_site_request", "invalid_name", "not_found", "wrong_state"),
    ),
    "delete_run": Operation(
        "runs",
        {204: ("It is deleted.", None)},
        (*NEEDS_TABLE, "cross_site_request", "invalid_name", "not_found"),
    ),
    "register_runner": Operation(
        "runners",
        {
            201: ("The runner was registered.", Runner),
            200: ("The runner as it is registered now.", Runner),
        },
        (
            *NEEDS_TABLE,
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
        (*NEEDS_TABLE, "invalid_name", "invalid_parameter", "invalid_cursor"),
    ),
    "show_runner": Operation(
        "runners", {200: ("The runner.", Runner)}, (*NEEDS_TABLE, "invalid_name", "not_found")
    ),
    "delete_runner": Operation(
        "runners",
        {204: ("It is deleted.", None)},
        (*NEEDS_TABLE, "cross_site_request", "invalid_name", "not_found"),
    ),
    "show_runner_token": Operation(
        "runners",
        {200: ("The token.", RunnerToken)},
        (*NEEDS_TABLE, "invalid_name", "invalid_parameter", "not_found", "token_unavailable"),
    ),
    "list_audit_records": Operation(
        "audit",
        {200: ("A page.", AuditRecordList)},
        (*NEEDS_TABLE, "invalid_name", "invalid_parameter", "invalid_cursor", "not_found"),
    ),
}
"""By the name of the handler."""
