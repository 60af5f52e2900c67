"""The answers of each route, and the reasons of its problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from byline.errors import Reason
from serve_runs.web.reasons import REASONS, ProblemReason
from tools.openapi.shapes import (
    AllowedAgent,
    AllowedAgentList,
    ApplySet,
    AuditRecordList,
    Caller,
    Credential,
    CredentialList,
    CredentialToken,
    DeletedProject,
    GrantedRole,
    Health,
    Message,
    MessageList,
    OffboardedPerson,
    Person,
    PrincipalAccess,
    Project,
    ProjectList,
    RegisteredRunner,
    ResourceMetadata,
    RoleBindingList,
    RoleList,
    Run,
    RunList,
    Runner,
    RunnerList,
    RunnerToken,
    ServiceAccount,
    ServiceAccountList,
    SignedOut,
    TokenList,
)

type Reasons = tuple[ProblemReason, ...]
type Answers = Mapping[int, tuple[str, type | None]]
"""Description and shape by status."""

STATUS: Mapping[str, int] = {reason: entry.status for reason, entry in REASONS.items()}
"""The status of each reason."""

CALL: Reasons = (*get_args(Reason), "keys_unavailable", "store_unavailable", "internal")
"""Reasons of every route that needs a caller and reads its roles."""

READ: Reasons = (*CALL, "invalid_name", "not_found")
"""Reasons of a route about a resource of a project."""

PAGE: Reasons = ("invalid_parameter", "invalid_cursor")
CHANGE: Reasons = ("forbidden", "cross_site_request")
BODY: Reasons = ("invalid_body", "body_too_large", "unsupported_media_type")
"""Reasons of every change: a route without a body refuses one with members."""

KEY: Reasons = ("invalid_idempotency_key", "idempotency_conflict")
NAMED: Reasons = ("invalid_parameter", "unknown_email", "ambiguous_email")
"""Reasons of a route whose principal may be named by its e-mail address."""

TOKEN: Reasons = (
    *CHANGE,
    "invalid_parameter",
    "run_not_executed",
    "wrong_state",
    "token_unavailable",
)
READERS: Reasons = ("run_required", "run_labels_differ")


@dataclass(frozen=True, slots=True)
class Operation:
    """The answers of a route and the reasons of its problems.

    `located`: the statuses with a `Location` header.
    """

    tag: str
    answers: Answers
    reasons: Reasons
    located: tuple[int, ...] = ()


def _list(tag: str, shape: type, *more: ProblemReason) -> Operation:
    return Operation(tag, {200: ("A page.", shape)}, (*READ, *PAGE, *more))


def _read(tag: str, description: str, shape: type, *more: ProblemReason) -> Operation:
    return Operation(tag, {200: (description, shape)}, (*READ, *more))


def _change(
    tag: str, answers: Answers, *more: ProblemReason, located: tuple[int, ...] = ()
) -> Operation:
    return Operation(tag, answers, (*READ, *CHANGE, *BODY, *more), located)


def _delete(tag: str, description: str, *more: ProblemReason) -> Operation:
    return _change(tag, {204: (description, None)}, *more)


_CHANGE_OF_STATE = _change("runs", {200: ("The run in its new state.", Run)}, "wrong_state")

OPERATIONS: Mapping[str, Operation] = {
    "check_health": Operation("health", {200: ("The service answers.", Health)}, ()),
    "show_resource_metadata": Operation(
        "callers",
        {200: ("The metadata.", ResourceMetadata)},
        ("not_found",),
    ),
    "show_caller": Operation("callers", {200: ("The caller.", Caller)}, (*CALL, *PAGE)),
    "end_session": Operation(
        "callers",
        {
            200: ("The session has ended, and no page follows.", SignedOut),
            303: ("The session has ended. `Location` leads on.", None),
        },
        ("cross_site_request", "internal"),
        located=(303,),
    ),
    "create_run": _change(
        "runs",
        {
            201: ("The run was created.", Run),
            200: ("The run that this `Idempotency-Key` created before, as it is now.", Run),
        },
        *KEY,
        "invalid_parent_run",
        "run_deleted",
        located=(200, 201),
    ),
    "list_project_runs": _list("runs", RunList),
    "list_created_runs": Operation("runs", {200: ("A page.", RunList)}, (*CALL, *PAGE)),
    "show_run": _read("runs", "The run.", Run),
    **dict.fromkeys(("start_run", "finish_run", "fail_run", "cancel_run"), _CHANGE_OF_STATE),
    "send_heartbeat": _change("runs", {200: ("The run.", Run)}, "wrong_state"),
    "delete_run": _delete("runs", "The run is deleted."),
    "register_runner": _change(
        "runners",
        {
            201: ("The runner was registered.", RegisteredRunner),
            200: ("The runner as it is registered now.", RegisteredRunner),
        },
        located=(201,),
    ),
    "list_project_runners": _list("runners", RunnerList),
    "show_runner": _read("runners", "The runner.", Runner),
    "delete_runner": _delete("runners", "The runner is deleted."),
    "refresh_runner": _change(
        "runners",
        {202: ("The runner. Its token is refreshed within seconds.", Runner)},
        "too_many_refreshes",
    ),
    "list_project_tokens": _list("runners", TokenList, "forbidden"),
    "show_runner_token": _read("runners", "The token.", RunnerToken, *TOKEN),
    "list_role_bindings": _list("access", RoleBindingList),
    "grant_role": _change(
        "access",
        {
            201: ("The principal has the role now.", GrantedRole),
            200: ("The principal had the role already.", GrantedRole),
        },
        *NAMED,
    ),
    "show_access": _read(
        "access", "What the principal may do.", PrincipalAccess, "forbidden", *NAMED
    ),
    "list_roles": _read("access", "The roles that can be granted.", RoleList),
    "revoke_role": _delete("access", "The role is revoked.", *NAMED, "last_admin"),
    "show_person": Operation("people", {200: ("A page.", Person)}, (*CALL, "not_found", *PAGE)),
    "offboard_person": Operation(
        "people",
        {
            200: ("Nothing is left.", OffboardedPerson),
            202: (
                "Something is left, or the indexes are not complete. Send the request again.",
                OffboardedPerson,
            ),
        },
        (*CALL, "not_found", *CHANGE, *BODY, "invalid_parameter"),
    ),
    "list_projects": Operation("projects", {200: ("A page.", ProjectList)}, (*CALL, *PAGE)),
    "create_project": Operation(
        "projects",
        {
            201: ("The project, with the caller as its admin.", Project),
            200: ("The project, which the caller created before.", Project),
        },
        (*CALL, *CHANGE, *BODY, "project_exists"),
        located=(201, 200),
    ),
    "delete_project": _change(
        "projects",
        {
            200: ("The project is deleted.", DeletedProject),
            202: (
                "Something is left, or requests that began before may be under way. Send the "
                "request again after `retry_after_seconds`.",
                DeletedProject,
            ),
        },
        "invalid_parameter",
        "runs_live",
        "project_exists",
    ),
    "show_project": _read("projects", "The project.", Project),
    "list_audit_records": _list("audit", AuditRecordList),
    "put_project_credential": _change(
        "credentials",
        {
            201: ("The credential was stored.", Credential),
            200: ("The credential as it is stored now.", Credential),
        },
        "too_many_changes",
        located=(201,),
    ),
    "bind_credential_readers": _change(
        "credentials", {200: ("The credential with its readers.", Credential)}, *BODY
    ),
    "list_project_credentials": _list("credentials", CredentialList, "forbidden"),
    "show_credential": _read("credentials", "The credential.", Credential),
    "delete_credential": _delete("credentials", "The credential is deleted."),
    "show_credential_token": _read("credentials", "The token.", CredentialToken, *TOKEN, *READERS),
    "list_messages": _read(
        "messages", "The messages.", MessageList, *CHANGE, "invalid_parameter", "too_many_waits"
    ),
    "post_message": _change(
        "messages",
        {
            201: ("The message was written.", Message),
            200: ("The message that this `Idempotency-Key` wrote before.", Message),
        },
        *KEY,
    ),
    "create_service_account": _change(
        "service accounts",
        {
            201: ("The service account acts for the caller from now on.", ServiceAccount),
            200: (
                "The service account existed. It has the new role, name and end.",
                ServiceAccount,
            ),
        },
        "already_registered",
        "invalid_service_account_token",
        "grant_refused",
        "grant_unavailable",
        located=(201,),
    ),
    "list_service_accounts": _list("service accounts", ServiceAccountList),
    "show_service_account": _read("service accounts", "The service account.", ServiceAccount),
    "delete_service_account": _delete("service accounts", "The service account is deleted."),
    "allow_agent": _change(
        "agents",
        {
            201: ("The agent may act for whoever's token it carries.", AllowedAgent),
            200: ("The agent was allowed already. It has the new roles and end.", AllowedAgent),
        },
        *BODY,
        "already_registered",
        located=(201,),
    ),
    "show_apply_set": _read("apply sets", "The set.", ApplySet),
    "change_apply_set": _change("apply sets", {200: ("The set after the change.", ApplySet)}),
    "list_agents": _list("agents", AllowedAgentList),
    "show_agent": _read("agents", "The agent.", AllowedAgent),
    "delete_agent": _delete("agents", "The agent is not allowed any more."),
}
"""Operations by the name of the function that answers."""
