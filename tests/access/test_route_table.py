"""Every route has its row in docs/security-model.md, and what the row says is what happens."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.access.function import InProcess
from tests.access.model import ROLES, Who
from tests.access.play import DEPLOYER, ROOT
from tests.access.right_operations import account_id
from tests.access.test_decisions import KINDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "security-model.md"
NO_DECISION = "–"
ADA: Who = ("user", "ada")
GRACE: Who = ("user", "grace")
GPU: Who = ("application", "gpu")
NIGHTLY: Who = ("application", "nightly")
RUNNER = {"client": "scheduler", "subject": "gpu"}
BINDING = {"role": "project:viewer", "subject": "linus"}
CREDENTIAL = {"provider": "github", "token": "hush-hush"}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `roles`: those that permit it."""

    method: str
    path: str
    action: str
    kind: str
    roles: frozenset[str]
    also: str


def read_table() -> list[Row]:
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


def told(row: Row) -> str:
    return f"{row.method} {row.path} {row.action}"


def test_routes_of_the_app_are_those_of_the_table(apis: dict[bool, InProcess]) -> None:
    """A route that nobody wrote down, and a row of what is not there, are both found."""
    answered = set()
    for route in apis[False].function.routes.load_all():
        answered.add((route.method, re.sub(r"<(\w+)>", r"{\1}", route.path)))
    assert answered == {(row.method, row.path) for row in TABLE}


def test_actions_of_the_policies_are_those_of_the_table() -> None:
    """Each action that a route asks for is in the policies, and each action there has a route."""
    assert {row.action for row in DECIDED} == KINDS.keys()
    assert all(row.kind in {KINDS[row.action], "Project"} for row in DECIDED)


@pytest.mark.parametrize("row", DECIDED, ids=told)
def test_row_names_the_roles_that_permit_it(row: Row) -> None:
    """As they were written down without the policies."""
    assert row.roles == {role for role, actions in ROLES.items() if row.action in actions}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("row", DECIDED, ids=told)
def test_route_answers_each_role_as_its_row_says(
    apis: dict[bool, InProcess], empty: Callable[[], None], row: Row, role: str
) -> None:
    """Asked by a person with this role alone: permitted, or 403 or 404."""
    empty()
    place = Place(apis[False])
    place.grant(ADA, role)
    answer = place.ask(ADA, row)
    if row.path == "/v1/runs":
        assert [run["id"] for run in answer.json["runs"]] == place.runs * (role in row.roles)
    else:
        assert (answer.status not in {401, 403, 404}) == (role in row.roles), answer.body


@pytest.mark.parametrize("row", [row for row in DECIDED if "the run" in row.also], ids=told)
def test_route_answers_the_runner_itself_without_a_role(
    apis: dict[bool, InProcess], empty: Callable[[], None], row: Row
) -> None:
    """And no other application."""
    empty()
    place = Place(apis[False])
    assert place.ask(NIGHTLY, row).status in {403, 404}
    assert place.ask(GPU, row).status in {200, 201, 503}


@pytest.mark.parametrize("row", [row for row in DECIDED if "whom it" in row.also], ids=told)
def test_route_answers_whom_a_service_account_acts_for_without_a_role(
    apis: dict[bool, InProcess], empty: Callable[[], None], row: Row
) -> None:
    """And no other person."""
    empty()
    place = Place(apis[False])
    assert place.ask(ADA, row).status == 404
    assert place.ask(GRACE, row).status in {200, 204}


class Place:
    """A project with one of everything, made by an admin, who granted nobody a role."""

    def __init__(self, api: InProcess) -> None:
        self.api = api
        created = self._send(ROOT, "POST", "runs", {"runner": "gpu"}, 201)
        self.run = created.json["id"]
        self._send(ROOT, "PUT", "runners/gpu", RUNNER, 201)
        self._send(ROOT, "PUT", "credentials/gpu", CREDENTIAL, 201)
        self.grant(GRACE, "project:editor")
        self._send(GRACE, "POST", "service-accounts", self._of(NIGHTLY), 201)
        binding = {"role": "project:editor", "subject": "grace"}
        api.send(ROOT, "DELETE", "/v1/projects/apollo/role-bindings", query=binding)
        self.started = self._send(ROOT, "POST", "runs", {}, 201).json["id"]
        self._send(ROOT, "POST", f"runs/{self.started}/start", None, 200)
        self._send(ROOT, "PUT", "role-bindings", BINDING, 201)

    @property
    def runs(self) -> list[str]:
        """The newest first."""
        return [self.started, self.run]

    def grant(self, who: Who, role: str) -> None:
        document = {"role": role, "subject": who[1], "kind": who[0]}
        self._send(ROOT, "PUT", "role-bindings", document, 201)

    def ask(self, who: Who, row: Row) -> Any:
        """A row's request that is right in all but perhaps the caller's right."""
        path = row.path.format(
            project="apollo",
            # What never ran cannot finish.
            run_id=self.started if row.action == "finish_run" else self.run,
            runner="gpu",
            credential="gpu",
            account_id=account_id(self.api, NIGHTLY),
        )
        documents: dict[str, Any] = {
            "create_run": {},
            "post_user_message": {"role": "user", "content": "hello"},
            "post_runner_message": {"role": "runner", "content": "hello"},
            "register_runner": RUNNER | {"client": "another"},
            "restart_runner": RUNNER,
            "create_service_account": self._of(DEPLOYER),
            "write_credential": CREDENTIAL,
            "grant_role": BINDING,
        }
        queries = {
            "revoke_role": BINDING,
            "read_audit": {"run": self.run},
            "read_run": {"created_by": ROOT[1]} if row.path == "/v1/runs" else {},
        }
        return self.api.send(
            who,
            row.method,
            path,
            document=documents.get(row.action),
            query=queries.get(row.action),
        )

    def _send(self, who: Who, method: str, of: str, document: Any, expected: int) -> Any:
        answer = self.api.send(who, method, f"/v1/projects/apollo/{of}", document=document)
        assert answer.status == expected, answer.body
        return answer

    def _of(self, application: Who) -> dict[str, str]:
        [(_, bearer)] = self.api.credential(application).headers
        return {"token": bearer.removeprefix("Bearer ")}
