"""The routes of RunsFunction about role bindings: who may do what in a project.

caller → may they administer → one transaction of the binding, the count of admins and the record.
"""

import time

from aws_lambda_powertools.event_handler import Response

from byline.aws import dynamodb
from byline.identity.caller import Principal
from serve_runs.access.admins import default_issuer
from serve_runs.access.decisions import role_names
from serve_runs.role_bindings.requests import ListRoleBindings, RoleBinding
from serve_runs.role_bindings.store import RoleStore, binding_json, binding_resource
from serve_runs.service import (
    access_of,
    access_table,
    act_of,
    app,
    audit,
    caller_of_change,
    caller_of_read,
    json_answer,
    log_act,
    no_content,
    settings,
)
from serve_runs.web.cursors import decode_text, encode_text
from serve_runs.web.problems import Problem
from serve_runs.web.requests import path_name, read_body, read_query

role_bindings = RoleStore(dynamodb(), access_table, now=time.time)


@app.get("/v1/projects/<project>/role-bindings")
def list_role_bindings(project: str) -> Response[str]:
    """Who has which roles in a project, by kind, issuer and subject."""
    caller = caller_of_read()
    project = path_name(project, of="project")
    access = access_of(caller, project)
    access.require("read_roles", access.resource("RoleBindings", ""))
    query = read_query(app.current_event, ListRoleBindings)
    binding = f"role bindings of {project}"
    after = decode_text(query.cursor, query=binding) if query.cursor else None
    found, last = role_bindings.list_bindings(project, limit=query.limit, after=after)
    next_cursor = encode_text(last, query=binding) if last else None
    return json_answer(200, {"role_bindings": found, "next_cursor": next_cursor})


@app.put("/v1/projects/<project>/role-bindings")
def grant_role(project: str) -> Response[str]:
    """Give somebody a role: 201, or 200 where they have it already."""
    actor = caller_of_change()
    project = path_name(project, of="project")
    access = access_of(actor, project)
    access.require("grant_role", access.resource("RoleBindings", ""))
    body = read_body(app.current_event, RoleBinding)
    principal = _principal(body)
    if body.role not in role_names():
        raise Problem(400, "invalid_body", f"There is no such role: {', '.join(_roles())}.")
    resource = binding_resource(project, principal, body.role)
    record = audit.record(act_of(actor, access), "grant_role", resource)
    outcome = role_bindings.grant(project, principal, body.role, record=record)
    log_act(f"role {outcome}", actor, project=project, role=body.role, of=principal.text)
    document = binding_json(principal, [body.role])
    return json_answer(201 if outcome == "created" else 200, document)


@app.delete("/v1/projects/<project>/role-bindings")
def revoke_role(project: str) -> Response[str]:
    """Take a role away: 204, 404 where they do not have it, 409 for the last admin's."""
    actor = caller_of_change()
    project = path_name(project, of="project")
    access = access_of(actor, project)
    access.require("revoke_role", access.resource("RoleBindings", ""))
    query = read_query(app.current_event, RoleBinding)
    principal = _principal(query)
    resource = binding_resource(project, principal, query.role)
    record = audit.record(act_of(actor, access), "revoke_role", resource)
    role_bindings.revoke(project, principal, query.role, record=record)
    log_act("role revoked", actor, project=project, role=query.role, of=principal.text)
    return no_content()


def _principal(binding: RoleBinding) -> Principal:
    return binding.principal(default_issuer=default_issuer(settings))


def _roles() -> list[str]:
    return sorted(role_names())
