"""The check that a caller executes the run for which it reads a token.

run → its runner's service account → policy → state. A caller that may not read the run cannot tell
it from a missing one.
"""

from dataclasses import dataclass

from byline.identity.caller import Principal, read_principal
from byline.tables.rows import Item, text_of
from serve_runs.calls import Call
from serve_runs.errors import RequestFailed
from serve_runs.runners.store import RunnerStore
from serve_runs.runners.tokens import own_principal
from serve_runs.runs.store import RunStore

NO_RUNNER = "-"
"""A placeholder that cannot name a runner. It is read where a run has no runner, so that the number
of reads does not depend on the run."""


@dataclass(frozen=True, slots=True)
class Executions:
    """The runs and their runners."""

    runs: RunStore
    runners: RunnerStore

    def executed_run(self, call: Call, run_id: str) -> Item:
        """The row of a running run that the caller executes.

        Raises `RequestFailed`: `run_not_executed`, `wrong_state` with the current state.
        """
        access, run = call.access, self.runs.find(call.project, run_id)
        executor = None
        if call.caller is not None and call.caller.kind == "application":
            name = (run and text_of(run, "runner")) or NO_RUNNER
            row = self.runners.find(call.project, name)
            executor = None if row is None else own_principal(row)
        resource = access.resource(
            "Run",
            run_id,
            executor=executor,
            creator=None if run is None else _creator(run),
            person=None if run is None else _person(run),
        )
        is_visible = access.may("read_run", resource)
        if run is None:
            missing = "The project has no run with the id in `run`." if is_visible else ""
            raise RequestFailed("run_not_executed", missing)
        if not access.may("execute_run", resource):
            raise RequestFailed("run_not_executed", _OF_OTHERS if is_visible else "")
        state = run["status"]["S"]
        if state != "running":
            raise RequestFailed(
                "wrong_state",
                f"A token is read for a running run, and this one is {state}.",
                members={"current_status": state},
            )
        return run


_OF_OTHERS = (
    "You can read the run in `run`, but you do not execute it. Its runner does, and whoever created"
    " it or is its person and may change it."
)


def _creator(run: Item) -> Principal | None:
    """The application that created a run; None where a person did."""
    subject, issuer = text_of(run, "creator_service_account_id"), text_of(run, "creator_issuer")
    return Principal("application", issuer, subject) if issuer and subject else None


def _person(run: Item) -> Principal | None:
    """The person whose right counts for a run: the represented one, else its creator.

    A person that a child run inherited has none. It is known who the run is for, but the person
    did not let its creator act.
    """
    if "person_inherited" in run:
        return None
    if "person" in run:
        return read_principal(run["person"]["S"])
    subject, issuer = text_of(run, "creator_user_id"), text_of(run, "creator_issuer")
    return Principal("user", issuer, subject) if issuer and subject else None
