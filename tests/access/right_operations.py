"""Operations on rights: roles, whom an application acts for, and what is on record of them."""

from dataclasses import replace

from byline.identity.caller import Principal
from serve_runs.service_accounts.requests import id_of
from tests.access.function import InProcess
from tests.access.model import NOBODY, Who
from tests.access.play import ALL, APPLICATIONS, Play, Step


def account_id(api: InProcess, application: Who) -> str:
    """The id of a service account in paths."""
    return id_of(Principal("application", api.web.url, application[1]))


def grant_role(play: Play, step: Step) -> None:
    held = play.model.roles[step.project, step.other]
    expected = play.expected(step, "grant_role", "roles")
    expected = 201 if expected == 200 and step.role not in held else expected
    play.send(step, "PUT", "role-bindings", expected, document=_binding(step))
    if expected in {200, 201}:
        held.add(step.role)
        play.begun.add(step.project)


def revoke_role(play: Play, step: Step) -> None:
    """The last admin of a project stays."""
    there = sorted(
        (who, role)
        for (project, who), roles in play.model.roles.items()
        for role in roles
        if project == step.project
    )
    if there and step.number:
        other, role = there[(step.number - 1) % len(there)]
        step = replace(step, other=other, role=role)
    held = play.model.roles[step.project, step.other]
    expected = play.expected(step, "revoke_role", "roles")
    if expected == 200:
        is_last = step.role == "project:admin" and _admins(play, step) == 1
        expected = 404 if step.role not in held else 409 if is_last else 204
    play.send(step, "DELETE", "role-bindings", expected, query=_binding(step))
    if expected == 204:
        held.remove(step.role)


def list_roles(play: Play, step: Step) -> None:
    expected = play.expected(step, "read_roles", "roles")
    answer = play.send(step, "GET", "role-bindings", expected, query=ALL)
    if expected == 200:
        listed = [
            ((one["kind"], one["subject"] or ""), one["roles"])
            for one in answer.json["role_bindings"]
        ]
        assert sorted(listed) == sorted(
            (who, sorted(roles))
            for (project, who), roles in play.model.roles.items()
            if project == step.project and roles
        ), step


def read_audit(play: Play, step: Step) -> None:
    expected = play.expected(step, "read_audit", "audit")
    play.send(step, "GET", "audit", expected, query={"run": play.run(step)})


def show_caller(play: Play, step: Step) -> None:
    answer = play.send(step, "GET", "/v1/whoami", 401 if step.who == NOBODY else 200)
    if answer.status == 200:
        play.is_for(step, answer.json["on_behalf_of"])


def create_service_account(play: Play, step: Step) -> None:
    """Once, for one person in one project; for the same ones again it only changes."""
    application = _application(step)
    expected = play.expected(step, "create_service_account")
    link = play.model.acts_for.get(application)
    if expected == 200 and link is None:
        expected = 201
    elif expected == 200 and link is not None and link[:2] != (step.who, step.project):
        expected = 409
    [(_, bearer)] = play.api.credential(application).headers
    document = {"token": bearer.removeprefix("Bearer "), "role": step.role}
    play.send(step, "POST", "service-accounts", expected, document=document)
    if expected in {200, 201}:
        play.model.acts_for[application] = step.who, step.project, step.role
        play.make(step, "service_account", account_id(play.api, application), person=step.who)


def list_service_accounts(play: Play, step: Step) -> None:
    play.show_all(step, "service_account", "service-accounts", by="id")


def read_service_account(play: Play, step: Step) -> None:
    account = account_id(play.api, _application(step))
    expected = play.expected(step, "read_service_account", "service_account", account)
    play.send(step, "GET", f"service-accounts/{account}", expected)


def delete_service_account(play: Play, step: Step) -> None:
    application = _application(step)
    account = account_id(play.api, application)
    if play.delete(step, "service_account", account, f"service-accounts/{account}"):
        del play.model.acts_for[application]


def _application(step: Step) -> Who:
    return APPLICATIONS[step.number % len(APPLICATIONS)]


def _binding(step: Step) -> dict[str, str]:
    kind, subject = step.other
    return {"kind": kind, "role": step.role} | ({"subject": subject} if subject else {})


def _admins(play: Play, step: Step) -> int:
    return sum(
        project == step.project and "project:admin" in roles
        for (project, _), roles in play.model.roles.items()
    )
