"""Every route has a row in docs/security-model.md, and answers each role as the row says."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.access.access_operations import account_id
from tests.access.comparison import ROOT
from tests.access.in_process import InProcess
from tests.access.model import ROLES, Caller
from tests.access.test_decisions import KINDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "security-model.md"
NO_DECISION = "–"
REFUSED = frozenset({401, 403, 404})
ADA: Caller = ("user", "ada")
GRACE: Caller = ("user", "grace")
GPU: Caller = ("application", "gpu")
NIGHTLY: Caller = ("application", "nightly")
RUNNER = {"client": "scheduler", "subject": "gpu"}
BINDING = {"role": "project:viewer", "subject": "linus"}
PLANNER: Caller = ("application", "planner")
CREDENTIAL = {"provider": "github", "token": "hush-hush"}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table; `roles` are the roles that permit the action."""

    method: str
    path: str
    action: str
    kind: str
    roles: frozenset[str]
    also: str


def read_table() -> list[Row]:
    """The rows of the table of routes."""
    section = DOCUMENT.read_text().partition("### Every route")[2].partition("\n## ")[0]
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    roles = [name.strip("`") for name in head[3:-1]]
    rows = []
    for route, action, kind, *ticks, also in lines:
        method, path = route.strip("`").split(" ")
        permitting = {role for role, tick in zip(roles, ticks, strict=True) if tick}
        rows.append(Row(method, path, action.strip("`"), kind, frozenset(permitting), also))
    return rows


TABLE = read_table()
DECIDED = [row for row in TABLE if row.action != NO_DECISION]


def route_label(row: Row) -> str:
    """A route's method, path and action, as a test id."""
    return f"{row.method} {row.path} {row.action}"


def test_routes_of_the_function_equal_the_table(apis: dict[bool, InProcess]) -> None:
    """A route without a row and a row without a route are both found."""
    actual = set()
    for route in apis[False].function.routes.load_all():
        actual.add((route.method, re.sub(r"<(\w+)>", r"{\1}", route.path)))
    assert actual == {(row.method, row.path) for row in TABLE}


def test_actions_of_the_policies_equal_the_table() -> None:
    """Each action of a route is in the policies, and each action of the policies has a route."""
    assert {row.action for row in DECIDED} == KINDS.keys()
    assert all(row.kind in {KINDS[row.action], "Project"} for row in DECIDED)


@pytest.mark.parametrize("row", DECIDED, ids=route_label)
def test_row_names_the_roles_that_permit_its_action(row: Row) -> None:
    """The roles of a row are those that the model permits its action."""
    assert row.roles == {role for role, actions in ROLES.items() if row.action in actions}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("row", [row for row in DECIDED if row.method != "GET"], ids=route_label)
def test_route_answers_a_person_with_one_role_as_its_row_says(
    apis: dict[bool, InProcess], empty: Callable[[], None], row: Row, role: str
) -> None:
    """A person with one role is permitted, or answered 403 or 404, as the row says."""
    empty()
    sample = SampleProject(apis[False])
    sample.grant(ADA, role)
    answer = sample.ask(ADA, row)
    assert (answer.status not in REFUSED) == (role in row.roles), answer.body


@pytest.mark.parametrize("row", [row for row in DECIDED if row.method == "GET"], ids=route_label)
def test_reading_route_answers_each_role_as_its_row_says(
    apis: dict[bool, InProcess], empty: Callable[[], None], row: Row
) -> None:
    """Of people with one role each, those that the row names are permitted, and no other one."""
    empty()
    sample = SampleProject(apis[False])
    permitted = set()
    for role in ROLES:
        person: Caller = ("user", f"person-{role.replace(':', '-')}")
        sample.grant(person, role)
        answer = sample.ask(person, row)
        if row.path == "/v1/runs":
            listed = [run["id"] for run in answer.json["runs"]]
            assert listed in ([], sample.runs)
            is_permitted = listed == sample.runs
        else:
            is_permitted = answer.status not in REFUSED
        if is_permitted:
            permitted.add(role)
    assert permitted == row.roles


@pytest.mark.parametrize("row", [row for row in DECIDED if "the run" in row.also], ids=route_label)
def test_route_for_the_run_permits_its_runner_without_a_role(
    apis: dict[bool, InProcess], empty: Callable[[], None], row: Row
) -> None:
    """The runner of the run is permitted without a role, and no other application is."""
    empty()
    sample = SampleProject(apis[False])
    assert sample.ask(NIGHTLY, row).status in {403, 404}
    assert sample.ask(GPU, row).status in {200, 201, 202, 503}


@pytest.mark.parametrize("row", [row for row in DECIDED if "whom it" in row.also], ids=route_label)
def test_route_for_a_service_account_permits_its_person_without_a_role(
    apis: dict[bool, InProcess], empty: Callable[[], None], row: Row
) -> None:
    """Only the person that a service account acts for is permitted without a role."""
    empty()
    sample = SampleProject(apis[False])
    assert sample.ask(ADA, row).status == 404
    assert sample.ask(GRACE, row).status in {200, 204}


@pytest.mark.parametrize("row", [row for row in DECIDED if row.kind == "Person"], ids=route_label)
def test_route_about_a_person_permits_admins_of_the_deployment(
    apis: dict[bool, InProcess], empty: Callable[[], None], row: Row
) -> None:
    """A principal in `ProjectAdmins` is permitted, and an admin of a project is not."""
    empty()
    sample = SampleProject(apis[False])
    assert sample.ask(ROOT, row).status in {200, 202}
    sample.grant(ADA, "project:admin")
    assert sample.ask(ADA, row).status == 404
    assert (sample.ask(GRACE, row).status == 200) == ("themselves" in row.also)


class SampleProject:
    """A project with one resource of each kind, made by an admin; no other caller has a role."""

    def __init__(self, api: InProcess) -> None:
        self.api = api
        created = self._send(ROOT, "POST", "runs", {"runner": "gpu"}, 201)
        self.run = created.json["id"]
        self._send(ROOT, "PUT", "runners/gpu", RUNNER, 201)
        self._send(ROOT, "PUT", "credentials/gpu", CREDENTIAL, 201)
        self._send(ROOT, "PUT", "agents/gpu", self.agent, 201)
        members = {"add": [{"kind": "Runner", "key": "gpu"}]}
        self._send(ROOT, "POST", "apply-sets/team/members", members, 200)
        self.grant(GRACE, "project:editor")
        self._send(GRACE, "POST", "service-accounts", self._of(NIGHTLY), 201)
        binding = {"role": "project:editor", "subject": "grace"}
        api.send(ROOT, "DELETE", "/v1/projects/apollo/role-bindings", query=binding)
        watched = {"heartbeat_seconds": 60}
        self.started = self._send(ROOT, "POST", "runs", watched, 201).json["id"]
        self._send(ROOT, "POST", f"runs/{self.started}/start", None, 200)
        self.executed = self._send(ROOT, "POST", "runs", {"runner": "gpu"}, 201).json["id"]
        self._send(ROOT, "POST", f"runs/{self.executed}/start", None, 200)
        self._send(ROOT, "PUT", "role-bindings", BINDING, 201)

    @property
    def agent(self) -> dict[str, str]:
        """The document that allows an agent."""
        return {"subject": PLANNER[1], "issuer": self.api.issuer(PLANNER)}

    @property
    def runs(self) -> list[str]:
        """The ids of the project's runs, the newest first."""
        return [self.executed, self.started, self.run]

    def grant(self, caller: Caller, role: str) -> None:
        """Give a caller a role in the project."""
        document = {"role": role, "subject": caller[1], "kind": caller[0]}
        self._send(ROOT, "PUT", "role-bindings", document, 201)

    def ask(self, caller: Caller, row: Row) -> Any:
        """Send a row's request, valid in all but perhaps the caller's roles."""
        path = row.path.format(
            project="apollo",
            # A run that never started cannot finish, and has no heartbeats.
            run_id=self.started if row.action in {"finish_run", "send_heartbeat"} else self.run,
            runner="gpu",
            credential="gpu",
            agent="gpu",
            apply_set="team",
            account_id=account_id(self.api, NIGHTLY, "apollo"),
            principal="grace",
        )
        documents: dict[str, Any] = {
            "create_project": {"name": "gemini"},
            "create_run": {},
            "post_user_message": {"role": "user", "content": "hello"},
            "post_runner_message": {"role": "runner", "content": "hello"},
            "register_runner": RUNNER | {"client": "another"},
            "restart_runner": RUNNER,
            "create_service_account": self._of(GPU),
            "write_credential": CREDENTIAL,
            "bind_credential": {"readers": []},
            "grant_role": BINDING,
            "allow_agent": self.agent,
            "write_apply_set": {"add": [{"kind": "Runner", "key": "gpu"}]},
        }
        queries = {
            "execute_run": {"run": self.executed},
            "revoke_role": BINDING,
            "read_access": {"principal": f"user:{self.api.web.url}#linus"},
            "read_audit": {"run": self.run},
            "read_run": {"created_by": ROOT[1]} if row.path == "/v1/runs" else {},
        }
        return self.api.send(
            caller,
            row.method,
            path,
            document=documents.get(row.action),
            query=queries.get(row.action),
        )

    def _send(self, caller: Caller, method: str, of: str, document: Any, expected: int) -> Any:
        answer = self.api.send(caller, method, f"/v1/projects/apollo/{of}", document=document)
        assert answer.status == expected, answer.body
        return answer

    def _of(self, application: Caller) -> dict[str, str]:
        [(_, bearer)] = self.api.credential(application).headers
        return {"token": bearer.removeprefix("Bearer ")}
