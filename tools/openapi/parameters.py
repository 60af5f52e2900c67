"""The parameters of path, query and header, and the bodies of requests."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from byline.names import Name, RunId
from serve_runs.audit.requests import ListAudit, ReadToken
from serve_runs.messages.requests import ListMessages
from serve_runs.people.requests import ME, PersonText
from serve_runs.projects.requests import DeleteProject
from serve_runs.role_bindings.access_routes import AccessQuery
from serve_runs.role_bindings.requests import RevokedBinding
from serve_runs.runs.requests import ListRuns
from serve_runs.service_accounts.requests import ListRegistrations
from serve_runs.web.paging import PageQuery
from serve_runs.web.requests import ServiceAccountId
from tools.openapi.examples import (
    AGENT_NAME,
    ALLOW_AGENT,
    APPLY_SET_NAME,
    BIND_CREDENTIAL,
    CHANGE_MEMBERS,
    CREATE_RUN,
    CREATE_SERVICE_ACCOUNT,
    CREDENTIAL_NAME,
    FAIL_RUN,
    GRANT_ROLE,
    POST_MESSAGE,
    PROJECT,
    PUT_CREDENTIAL,
    REGISTER_RUNNER,
    RUN_ID,
    RUNNER_NAME,
    SERVICE_ACCOUNT_ID,
)

type Json = dict[str, Any]

IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "For a day, a repetition by the same caller with the same key and body "
    "returns the first run or message.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
}


def _body(shape: str, example: Any, *, required: bool) -> Json:
    schema = {"$ref": f"#/components/schemas/{shape}"}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"required": required, "content": content}


BODIES = {
    "create_project": _body("CreateProject", {"name": PROJECT}, required=True),
    "create_run": _body("CreateRun", CREATE_RUN, required=False),
    "finish_run": _body("EndRun", {"exit_code": 0}, required=False),
    "fail_run": _body("EndRun", FAIL_RUN, required=False),
    "register_runner": _body("RegisterRunner", REGISTER_RUNNER, required=True),
    "grant_role": _body("RoleBinding", GRANT_ROLE, required=True),
    "put_project_credential": _body("PutCredential", PUT_CREDENTIAL, required=True),
    "bind_credential_readers": _body("BindCredential", BIND_CREDENTIAL, required=True),
    "post_message": _body("PostMessage", POST_MESSAGE, required=True),
    "change_apply_set": _body("ChangeMembers", CHANGE_MEMBERS, required=True),
    "allow_agent": _body("AllowAgent", ALLOW_AGENT, required=False),
    "create_service_account": _body("CreateServiceAccount", CREATE_SERVICE_ACCOUNT, required=True),
}
"""Request bodies by the name of the handler."""

QUERIES: dict[str, type] = {
    "list_project_runs": ListRuns,
    "list_created_runs": ListRuns,
    "list_project_runners": PageQuery,
    "show_runner_token": ReadToken,
    "list_role_bindings": PageQuery,
    "revoke_role": RevokedBinding,
    "show_access": AccessQuery,
    "show_person": PageQuery,
    "list_projects": PageQuery,
    "delete_project": DeleteProject,
    "list_audit_records": ListAudit,
    "list_project_credentials": PageQuery,
    "show_credential_token": ReadToken,
    "list_messages": ListMessages,
    "list_service_accounts": PageQuery,
    "list_agents": PageQuery,
    "show_caller": ListRegistrations,
}
"""The shape of a handler's query parameters, by its name."""

_PATH = {
    "project": (Name, PROJECT),
    "run_id": (RunId, RUN_ID),
    "runner": (Name, RUNNER_NAME),
    "credential": (Name, CREDENTIAL_NAME),
    "principal": (PersonText, ME),
    "account_id": (ServiceAccountId, SERVICE_ACCOUNT_ID),
    "agent": (Name, AGENT_NAME),
    "apply_set": (Name, APPLY_SET_NAME),
}
_QUERY = {
    "status": "Only runs in this state.",
    "created_by": "Only runs that the caller with this subject or e-mail address created; `me` "
    "is the caller of this request.",
    "limit": "The most items to return.",
    "after": "Only messages after the one with this id: `next_after` of the previous answer.",
    "role": "The role.",
    "subject": "The subject of the person or application at its issuer.",
    "wait": "If there is no message, the most seconds to wait for one.",
    "cursor": "`next_cursor` of the previous page, sent with the same other parameters.",
}


def path_parameters(path: str) -> Iterator[Json]:
    """The parameters that `path` names."""
    for name in re.findall(r"{(\w+)}", path):
        shape, example = _PATH[name]
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": json_schema(msgspec.json.schema(shape)),
            "example": example,
        }


def query_parameters(shape: type, *, across_projects: bool) -> Iterator[Json]:
    """The query parameters of a shape. `across_projects`: `created_by` is required."""
    schema = json_schema(msgspec.json.schema(shape))["$defs"][shape.__name__]
    for name, kind in schema["properties"].items():
        description = kind.get("description") or _QUERY[name]
        parameter: Json = {"name": name, "in": "query", "description": description}
        if name == "created_by" and across_projects:
            parameter |= {"required": True, "example": "me"}
        if name in schema.get("required", ()):
            parameter["required"] = True
        # A client leaves a parameter out; it cannot be null.
        kinds = [each for each in kind.get("anyOf", [kind]) if each != {"type": "null"}]
        yield parameter | {"schema": kinds[0]}


def json_schema(schema: Any) -> Any:
    """`schema` with portable patterns: `$` matches before a final newline only in Python."""
    match schema:
        case dict():
            return {
                name: value.replace(r"(?!\n)", "") if name == "pattern" else json_schema(value)
                for name, value in schema.items()
            }
        case list():
            return [json_schema(value) for value in schema]
        case _:
            return schema
