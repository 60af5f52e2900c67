"""A random request, as the API answers it and as the model of the rules would have it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.access.function import InProcess
from tests.access.model import NOBODY, Model, Who
from tests.runs.runs_api import Answer

ROOT: Who = ("user", "root")
DEPLOYER: Who = ("application", "deployer")
PEOPLE: tuple[Who, ...] = (("user", "ada"), ("user", "grace"), ROOT)
APPLICATIONS: tuple[Who, ...] = (("application", "gpu"), ("application", "ada"), DEPLOYER)
"""The last of each is among `PROJECT_ADMINS`; one application has a person's name."""

CALLERS = (*PEOPLE, *APPLICATIONS, NOBODY)
PROJECTS = ("apollo", "gemini")
NO_RUN = "01M6DMBE000000000000000000"
SECRET = "hush-hush"
"""A part of every credential's token here."""

SIGHT = {
    "project": "read_run",
    "run": "read_run",
    "runner": "read_runner",
    "service_account": "read_service_account",
    "credential": "read_credential",
    "roles": "read_roles",
    "audit": "read_audit",
}
"""What it takes to know of something of a kind."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request. What an operation does not need of it, it leaves aside."""

    operation: "Operation"
    who: Who
    project: str
    name: str
    number: int
    other: Who
    role: str

    def __repr__(self) -> str:
        told = f"{self.operation.__name__} by {'/'.join(self.who)} in {self.project}"
        return f"<{told}: {self.name} {self.number} {'/'.join(self.other)} {self.role}>"

    def _repr_pretty_(self, printer: Any, _: bool) -> None:  # noqa: FBT001 - as Hypothesis calls it
        printer.text(repr(self))


@dataclass
class Play:
    """Empty tables, and what the model makes of every step since then.

    `anyone`: whoever creates a project's first run administers it. `is_open`: nobody may call.
    """

    api: InProcess
    anyone: bool
    is_open: bool
    model: Model = field(default_factory=lambda: Model({ROOT, DEPLOYER}))
    begun: set[str] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def play(self, step: Step) -> None:
        """One step. Every other one is by somebody who has a role in its project."""
        holders = sorted(
            who
            for (project, who), roles in self.model.roles.items()
            if roles and project == step.project
        )
        if holders and step.number % 2:
            step = replace(step, who=holders[step.number // 2 % len(holders)])
        step.operation(self, step)

    def expected(
        self, step: Step, action: str, kind: str = "project", name: str = "", *, makes: bool = False
    ) -> int:
        """The status: 404 for a resource that the caller may not see, 403 for one that it may see.

        `makes`: the operation makes what is not there.
        """
        if step.who == NOBODY and not self.is_open:
            return 401
        thing = self.thing(step, kind, name)
        there = makes or not name or thing is not None
        if self.model.may(step.who, action, step.project, thing or {}):
            return 200 if there else 404
        knows = self.model.may(step.who, SIGHT[kind], step.project, thing or {})
        return 403 if there and knows else 404

    def send(self, step: Step, method: str, of: str, expected: int, **what: Any) -> Answer:
        """The answer, which must be the model's. `of`: of the project, or a path from its root."""
        path = of if of.startswith("/") else f"/v1/projects/{step.project}/{of}"
        answer = self.api.send(step.who, method, path, **what)
        self.answers[step.operation.__name__, answer.status] += 1
        assert answer.status == expected, f"{step}: {answer.status}, not {expected}: {answer.body}"
        if answer.status != 200 or not path.endswith("/token"):
            assert SECRET not in answer.body
        return answer

    def thing(self, step: Step, kind: str, name: str) -> dict[str, Any] | None:
        """What the model knows of something."""
        return self.model.things.get((step.project, kind, name))

    def make(self, step: Step, kind: str, name: str, **known: Any) -> None:
        """Let the model know of something that is there now."""
        self.model.things[step.project, kind, name] = known
        self.begun.add(step.project)

    def delete(self, step: Step, kind: str, name: str, of: str) -> bool:
        """Delete something; whether it was permitted."""
        expected = self.expected(step, f"delete_{kind}", kind, name)
        is_done = expected == 200
        self.send(step, "DELETE", of, 204 if is_done else expected)
        if is_done:
            del self.model.things[step.project, kind, name]
        return is_done

    def show_all(self, step: Step, kind: str, of: str, *, by: str) -> None:
        """List everything of a kind; `by` names each in the answer."""
        answer = self.send(step, "GET", of, self.expected(step, f"read_{kind}"), query=ALL)
        if answer.status == 200:
            [listed] = (value for value in answer.json.values() if isinstance(value, list))
            there = (key[2] for key in self.model.things if key[:2] == (step.project, kind))
            assert sorted(one[by] for one in listed) == sorted(there), step

    def run(self, step: Step) -> str:
        """The run that a step is about: one of its project, now and then another's or none."""
        own = [
            name
            for place, kind, name in self.model.things
            if (place, kind) == (step.project, "run")
        ]
        runs = own if own and step.number else [*self.runs, NO_RUN]
        return runs[step.number % len(runs)]

    def is_for(self, step: Step, on_behalf_of: dict[str, Any] | None) -> None:
        """Checks that the caller acts for the person that the model names."""
        link = self.model.acts_for.get(step.who)
        subject = None if on_behalf_of is None else on_behalf_of["user"]["id"]["subject"]
        assert subject == (None if link is None else link[0][1]), step


type Operation = Callable[[Play, Step], None]

ALL: Mapping[str, str] = {"limit": "100"}
