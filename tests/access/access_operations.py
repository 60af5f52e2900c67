"""Operations on access: role bindings, service accounts and the audit trail."""

from copy import replace
from time import time
from typing import Any

from byline.identity.caller import Principal
from byline.tables.rows import rfc3339
from serve_runs.service_accounts.requests import id_of
from tests.access.comparison import ALL, APPLICATIONS, WORKLOADS, Comparison, Step
from tests.access.in_process import InProcess
from tests.access.model import ANONYMOUS, Caller

END = rfc3339(time() + 30 * 86_400)


def account_id(api: InProcess, application: Caller, project: str) -> str:
    """The id of a service account in paths."""
    return id_of(Principal("application", api.issuer(application), application[1]), project)


def grant_role(comparison: Comparison, step: Step) -> None:
    """Grant a role: 201, or 200 where the principal has it already."""
    current_roles = comparison.model.roles[step.project, step.other]
    expected = comparison.expected(step, "grant_role", "roles")
    if expected == 200 and not _can_be_granted(comparison, step):
        expected = 400
    expected = 201 if expected == 200 and step.role not in current_roles else expected
    comparison.send(step, "PUT", "role-bindings", expected, document=_binding(comparison, step))
    if expected in {200, 201}:
        current_roles.add(step.role)
        comparison.existing_projects.add(step.project)


def revoke_role(comparison: Comparison, step: Step) -> None:
    """Revoke a role: 409 for the last admin of a project, which stays."""
    assigned = sorted(
        (caller, role)
        for (project, caller), roles in comparison.model.roles.items()
        for role in roles
        if project == step.project
    )
    if assigned and step.number:
        other, role = assigned[(step.number - 1) % len(assigned)]
        step = replace(step, other=other, role=role)
    current_roles = comparison.model.roles[step.project, step.other]
    expected = comparison.expected(step, "revoke_role", "roles")
    if expected == 200:
        is_last = step.role == "project:admin" and _admins(comparison, step) == 1
        expected = 404 if step.role not in current_roles else 409 if is_last else 204
    comparison.send(step, "DELETE", "role-bindings", expected, query=_binding(comparison, step))
    if expected == 204:
        current_roles.remove(step.role)


def list_roles(comparison: Comparison, step: Step) -> None:
    """List the role bindings of a project."""
    expected = comparison.expected(step, "read_roles", "roles")
    answer = comparison.send(step, "GET", "role-bindings", expected, query=ALL)
    if expected == 200:
        listed = [(_bound(comparison, one), one["roles"]) for one in answer.json["role_bindings"]]
        assert sorted(listed) == sorted(
            (caller, sorted(roles))
            for (project, caller), roles in comparison.model.roles.items()
            if project == step.project and roles
        ), step


def read_audit(comparison: Comparison, step: Step) -> None:
    """Read the audit records of a run."""
    expected = comparison.expected(step, "read_audit", "audit")
    comparison.send(step, "GET", "audit", expected, query={"run": comparison.choose_run(step)})


def show_caller(comparison: Comparison, step: Step) -> None:
    """Read `whoami`, which names the persons that an application acts for, by project."""
    answer = comparison.send(step, "GET", "/v1/whoami", 401 if step.caller == ANONYMOUS else 200)
    if answer.status == 200:
        assert {
            one["project"]: (one["acts_for"]["user"]["id"]["subject"], one["role"])
            for one in answer.json["registrations"]
        } == {
            project: (person[1], role)
            for (caller, project), (person, role) in comparison.model.acts_for.items()
            if caller == step.caller
        }, step


def create_service_account(comparison: Comparison, step: Step) -> None:
    """Register a service account: 409 where it acts for another person in the project.

    403 for one that administers every project, unless the person does so too.
    """
    application = application_of(step.number)
    expected = comparison.expected(step, "create_service_account")
    link = comparison.model.acts_for.get((application, step.project))
    admins = comparison.model.admins
    if expected == 200 and application in admins and step.caller not in admins:
        expected = 403
    elif expected == 200 and link is None:
        expected = 201
    elif expected == 200 and link is not None and link[0] != step.caller:
        expected = 409
    [(_, bearer)] = comparison.api.credential(application).headers
    document = {"token": bearer.removeprefix("Bearer "), "role": step.role, **_end(step)}
    comparison.send(step, "POST", "service-accounts", expected, document=document)
    if expected in {200, 201}:
        comparison.model.acts_for[application, step.project] = step.caller, step.role
        account = account_id(comparison.api, application, step.project)
        known = {"person": step.caller, "account": application, "ends": bool(_end(step))}
        comparison.add(step, "service_account", account, **known)


def list_service_accounts(comparison: Comparison, step: Step) -> None:
    """List the service accounts of a project."""
    comparison.list_all(step, "service_account", "service-accounts", by="id")


def read_service_account(comparison: Comparison, step: Step) -> None:
    """Read a service account."""
    account = account_id(comparison.api, application_of(step.number), step.project)
    expected = comparison.expected(step, "read_service_account", "service_account", account)
    comparison.send(step, "GET", f"service-accounts/{account}", expected)


def delete_service_account(comparison: Comparison, step: Step) -> None:
    """Delete a service account, which then acts for no person."""
    application = application_of(step.number)
    account = account_id(comparison.api, application, step.project)
    if comparison.delete(step, "service_account", account, f"service-accounts/{account}"):
        del comparison.model.acts_for[application, step.project]


def allow_agent(comparison: Comparison, step: Step) -> None:
    """Allow an agent: 201, or 200 where it is allowed already."""
    agent = APPLICATIONS[step.number % len(APPLICATIONS)]
    expected = comparison.expected(step, "allow_agent", "agent", makes=True)
    is_new = (step.project, agent) not in comparison.model.agents
    if expected == 200 and is_new:
        expected = 201
    document = {"roles": [step.role], "issuer": comparison.api.issuer(agent), **_end(step)}
    comparison.send(step, "PUT", f"agents/{agent[1]}", expected, document=document)
    if expected in {200, 201}:
        comparison.model.agents[step.project, agent] = {step.role}
        comparison.add(step, "agent", agent[1], ends=bool(_end(step)))


def list_agents(comparison: Comparison, step: Step) -> None:
    """List the agents that a project allows."""
    comparison.list_all(step, "agent", "agents", by="name")


def delete_agent(comparison: Comparison, step: Step) -> None:
    """Allow an agent no more."""
    agent = APPLICATIONS[step.number % len(APPLICATIONS)]
    if comparison.delete(step, "agent", agent[1], f"agents/{agent[1]}"):
        del comparison.model.agents[step.project, agent]


def application_of(number: int) -> Caller:
    """The application that a step with this number is about."""
    return (*APPLICATIONS, *WORKLOADS)[number % 5]


def _end(step: Step) -> dict[str, str]:
    """When half of the registrations and permissions end by themselves."""
    return {"expires_at": END} if step.number & 2 else {}


def _can_be_granted(comparison: Comparison, step: Step) -> bool:
    """Nobody grants a role to anonymous callers where they cannot call, and never the admin's."""
    is_admin = step.role == "project:admin"
    return step.other != ANONYMOUS or (comparison.allows_anonymous and not is_admin)


def _binding(comparison: Comparison, step: Step) -> dict[str, str]:
    kind, subject = step.other
    if step.other == ANONYMOUS:
        return {"kind": kind, "role": step.role}
    kind = "application" if kind == "workload" else kind
    issuer = comparison.api.issuer(step.other)
    return {"kind": kind, "role": step.role, "subject": subject, "issuer": issuer}


def _bound(comparison: Comparison, binding: dict[str, Any]) -> Caller:
    """The caller that a listed binding names."""
    caller: Caller = (binding["kind"], binding["subject"] or "")
    workload: Caller = ("workload", caller[1])
    return workload if binding["issuer"] == comparison.api.issuer(workload) else caller


def _admins(comparison: Comparison, step: Step) -> int:
    return sum(
        project == step.project and "project:admin" in roles
        for (project, _), roles in comparison.model.roles.items()
    )
