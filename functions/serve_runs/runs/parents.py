"""For whom a run is that another run creates: a child keeps the person that its parent runs for.

Nothing of it is believed from the body but which run the parent is, and that only of its project.
Whoever acts for a person means that person, and people mean themselves. What is left are
applications that act for nobody. Such a one keeps the parent's person where it is the runner that
executes the parent, or created the parent and had the person from further up: but not where it
had the person by acting for them, because it no longer does.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from byline.identity.caller import Principal, principal_of
from byline.tables.items import Item
from serve_runs.access.context import Act, Person
from serve_runs.access.control import Access
from serve_runs.runs.store import RunStore
from serve_runs.web.problems import Problem

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class ParentRuns:
    """The runs of one table as parents, and who executes them."""

    def __init__(self, runs: RunStore, client: "DynamoDBClient", *, runners_table: str) -> None:
        self._runs = runs
        self._client = client
        self._runners_table = runners_table

    def child_act(self, parent_run: str, *, access: Access, act: Act) -> Act:
        """`act` on behalf of whom a child of `parent_run` is created.

        Raises `Problem` 422 where there is no such run, or none that the caller may see.
        """
        parent = self._runs.find(access.project, parent_run)
        if parent is None or not access.may("read_run"):
            raise Problem(422, "invalid_parent_run", "There is no such parent run in the project.")
        caller = principal_of(act.caller)
        if act.on_behalf_of is not None or caller.kind != "application":
            return act
        person = _person_of(parent)
        if person is None or not self._passes_on(parent, caller):
            return act
        return replace(act, on_behalf_of=person)

    def _passes_on(self, parent: Item, caller: Principal) -> bool:
        if "person_inherited" in parent and _creator_of(parent) == caller:
            return True
        return self._executor_of(parent) == caller

    def _executor_of(self, run: Item) -> Principal | None:
        if "runner" not in run:
            return None
        # Most creates have no parent, and go without these 4 ms of a cold start.
        from byline.refresh.runner_rows import read_runner, runner_key  # noqa: PLC0415

        answer = self._client.get_item(
            TableName=self._runners_table,
            Key=runner_key(run["project"]["S"], run["runner"]["S"]),
            ConsistentRead=True,
        )
        row = read_runner(answer["Item"]) if "Item" in answer else None
        if row is None or not (row.subject and row.subject_issuer):
            return None
        return Principal("application", row.subject_issuer, row.subject)


def _person_of(parent: Item) -> Person | None:
    """Whom a run is for: whom it is on behalf of, else its creator, where that is a person."""
    if "person" in parent:
        return Person(parent["person"]["S"], parent["on_behalf_of"]["S"], is_inherited=True)
    if "creator_user_id" in parent and "executed_by" in parent:
        creator = Principal("user", parent["creator_issuer"]["S"], parent["creator_user_id"]["S"])
        return Person(creator.text, parent["executed_by"]["S"], is_inherited=True)
    return None


def _creator_of(run: Item) -> Principal | None:
    if "creator_service_account_id" not in run:
        return None
    subject = run["creator_service_account_id"]["S"]
    return Principal("application", run["creator_issuer"]["S"], subject)
