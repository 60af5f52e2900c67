"""Sends random requests and compares each answer with the model of the access rules."""

from collections import Counter
from collections.abc import Callable, Mapping
from copy import replace
from dataclasses import dataclass, field
from typing import Any

from tests.access.in_process import InProcess
from tests.access.model import ANONYMOUS, Caller, Model, actor_of
from tests.runs.runs_api import Answer

ROOT: Caller = ("user", "root")
DEPLOYER: Caller = ("application", "deployer")
PEOPLE: tuple[Caller, ...] = (("user", "ada"), ("user", "grace"), ROOT)
APPLICATIONS: tuple[Caller, ...] = (("application", "gpu"), ("application", "ada"), DEPLOYER)
"""The last person and the last application are in `PROJECT_ADMINS`. One application and one person
have the same subject."""

WORKLOADS: tuple[Caller, ...] = (("workload", "gpu"), ("workload", "train"))
"""The first one has the subject of an application, at another issuer."""

DELEGATED: tuple[Caller, ...] = (
    ("delegated", "gpu for ada"),
    ("delegated", "gpu for grace"),
    ("delegated", "ada for ada"),
    ("delegated", "deployer for root"),
)
PRINCIPALS = (*PEOPLE, *APPLICATIONS, *WORKLOADS, ANONYMOUS)
"""The callers that a role can be bound to."""

CALLERS = (*PRINCIPALS, *DELEGATED)
PROJECTS = ("apollo", "gemini")
NO_RUN = "01M6DMBE000000000000000000"
SECRET = "hush-hush"
"""Every credential's token contains this text."""

VISIBILITY = {
    "project": "read_run",
    "run": "read_run",
    "runner": "read_runner",
    "service_account": "read_service_account",
    "credential": "read_credential",
    "agent": "read_agent",
    "roles": "read_roles",
    "audit": "read_audit",
}
"""The action that a caller must be allowed to know that a resource of a kind exists."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request; an operation ignores the fields that it does not need.

    `other`: the principal of a role binding. `number`: chooses among the resources.
    """

    operation: "Operation"
    caller: Caller
    project: str
    name: str
    number: int
    other: Caller
    role: str

    def __repr__(self) -> str:
        label = f"{self.operation.__name__} by {'/'.join(self.caller)} in {self.project}"
        return f"<{label}: {self.name} {self.number} {'/'.join(self.other)} {self.role}>"

    def _repr_pretty_(self, printer: Any, _: bool) -> None:  # noqa: FBT001 - as Hypothesis calls it
        printer.text(repr(self))


@dataclass
class Comparison:
    """Empty tables and a model, after the same requests.

    `anyone_creates`: the creator of a project's first run becomes its admin. `allows_anonymous`:
    anonymous callers may call.
    """

    api: InProcess
    anyone_creates: bool
    allows_anonymous: bool
    model: Model = field(default_factory=lambda: Model({ROOT, DEPLOYER}))
    existing_projects: set[str] = field(default_factory=set)
    refreshed: set[str] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def run(self, step: Step) -> None:
        """Send one request. Every other request is by a caller that has a role in the project."""
        callers_with_roles = sorted(
            caller
            for (project, caller), roles in self.model.roles.items()
            if roles and project == step.project
        )
        if callers_with_roles and step.number % 2:
            step = replace(
                step, caller=callers_with_roles[step.number // 2 % len(callers_with_roles)]
            )
        step.operation(self, step)

    def expected(
        self, step: Step, action: str, kind: str = "project", name: str = "", *, makes: bool = False
    ) -> int:
        """The expected status: 404 for a resource that the caller may not see, else 403 or 200.

        `makes`: the operation creates the resource where it does not exist.
        """
        if step.caller == ANONYMOUS and not self.allows_anonymous:
            return 401
        resource = self.resource(step, kind, name)
        existing = makes or not name or resource is not None
        if self.model.may(step.caller, action, step.project, resource or {}):
            return 200 if existing else 404
        is_visible = self.model.may(step.caller, VISIBILITY[kind], step.project, resource or {})
        return 403 if existing and is_visible else 404

    def send(self, step: Step, method: str, of: str, expected: int, **what: Any) -> Answer:
        """Send a request, and fail unless its status is `expected`.

        `of`: a path in the project, or a path from the API's root.
        """
        path = of if of.startswith("/") else f"/v1/projects/{step.project}/{of}"
        answer = self.api.send(step.caller, method, path, **what)
        self.answers[step.operation.__name__, answer.status] += 1
        assert answer.status == expected, f"{step}: {answer.status}, not {expected}: {answer.body}"
        if answer.status != 200 or not path.endswith("/token"):
            assert SECRET not in answer.body
        return answer

    def resource(self, step: Step, kind: str, name: str) -> dict[str, Any] | None:
        """The model's attributes of a resource, None where it does not exist."""
        return self.model.resources.get((step.project, kind, name))

    def add(self, step: Step, kind: str, name: str, **known: Any) -> None:
        """Add a resource to the model."""
        self.model.resources[step.project, kind, name] = known
        self.existing_projects.add(step.project)

    def delete(self, step: Step, kind: str, name: str, of: str) -> bool:
        """Delete a resource; returns whether the model allows it."""
        expected = self.expected(step, f"delete_{kind}", kind, name)
        is_allowed = expected == 200
        self.send(step, "DELETE", of, 204 if is_allowed else expected)
        if is_allowed:
            del self.model.resources[step.project, kind, name]
        return is_allowed

    def list_all(self, step: Step, kind: str, of: str, *, by: str) -> None:
        """List all resources of a kind, and compare them with the model.

        `by`: the member that identifies a resource.
        """
        answer = self.send(step, "GET", of, self.expected(step, f"read_{kind}"), query=ALL)
        if answer.status == 200:
            [listed] = (value for value in answer.json.values() if isinstance(value, list))
            existing = (key[2] for key in self.model.resources if key[:2] == (step.project, kind))
            assert sorted(one[by] for one in listed) == sorted(existing), step

    def choose_run(self, step: Step) -> str:
        """The id of the run that a step is about.

        A run of its project; sometimes one of another project, or a missing one.
        """
        own = [
            name
            for place, kind, name in self.model.resources
            if (place, kind) == (step.project, "run")
        ]
        runs = own if own and step.number else [*self.runs, NO_RUN]
        return runs[step.number % len(runs)]

    def check_on_behalf_of(self, step: Step, on_behalf_of: dict[str, Any] | None) -> None:
        """Check that an answer names the person that the model says the caller acts for."""
        person, _ = self.model.represented(step.caller, step.project)
        subject = None if on_behalf_of is None else on_behalf_of["user"]["id"]["subject"]
        assert subject == (None if person is None else person[1]), step

    def check_actor(self, step: Step, executed_by: dict[str, Any] | None) -> None:
        """Check that an answer names the agent of a delegated caller, and the caller of others."""
        kind, subject = actor_of(step.caller)
        kind = "application" if kind == "workload" else kind
        expected = {} if kind == "anonymous" else {kind: subject}
        found = executed_by or {}
        assert {name: one["id"]["subject"] for name, one in found.items()} == expected, step


type Operation = Callable[[Comparison, Step], None]

ALL: Mapping[str, str] = {"limit": "100"}
