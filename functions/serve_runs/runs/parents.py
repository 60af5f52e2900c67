"""The person that a child run is for, which it may inherit from its parent run.

The body names only the parent, a run of the same project. A caller that acts for a person creates
runs for that person, and a person creates its own runs. An application that acts for no person
passes on the person of a parent that is not over, in three cases, each by a stored row and never by
what it says:
- it is registered as the runner that the parent names, and so executes it now;
- the parent names no runner, and the application started it by its own right;
- it created the parent, which inherited its person too.

An inherited person is known, but it has no right by it, and the authorization service grants none.

It does not pass on a person that it acted for itself when it created the parent, because it no
longer acts for that person.
"""

from copy import replace
from typing import TYPE_CHECKING

from byline.identity.caller import Principal, principal_of
from byline.tables.rows import Item, text_of
from serve_runs.access.control import Access
from serve_runs.audit.trail import ActionContext, RepresentedPerson
from serve_runs.errors import RequestFailed
from serve_runs.runs.store import RunStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class ParentRuns:
    """The runs of one table as parents, and the runners that execute them."""

    def __init__(self, runs: RunStore, client: "DynamoDBClient", *, runners_table: str) -> None:
        self._runs = runs
        self._client = client
        self._runners_table = runners_table

    def child_action(
        self, parent_run: str, *, access: Access, action: ActionContext
    ) -> ActionContext:
        """`action`, on behalf of the person that a child of `parent_run` is for.

        Raises `RequestFailed` (`invalid_parent_run`) where the run does not exist, or the caller
        may not read it.
        """
        parent = self._runs.find(access.project, parent_run)
        if parent is None or not access.may("read_run"):
            raise RequestFailed("invalid_parent_run")
        caller = principal_of(action.caller)
        if not action.is_own_of_application:
            return action
        person = _person_of(parent)
        if person is None or not self._passes_on(parent, caller):
            return action
        return replace(action, on_behalf_of=person)

    def _passes_on(self, parent: Item, caller: Principal) -> bool:
        if text_of(parent, "status") not in ("pending", "running"):
            # Another application may be registered as its runner since.
            return False
        is_creator = _creator_of(parent) == caller
        if is_creator and "person_inherited" in parent:
            return True
        if "runner" in parent:
            return self._runner_of(parent) == caller
        is_executor = text_of(parent, "executor") == caller.text
        return is_executor and not is_creator and text_of(parent, "status") == "running"

    def _runner_of(self, run: Item) -> Principal | None:
        # Imported here, because most runs have no parent: that saves 4 ms of a cold start.
        from byline.refresh.runner_rows import read_runner, runner_key  # noqa: PLC0415
        from serve_runs.runners.tokens import own_principal  # noqa: PLC0415

        answer = self._client.get_item(
            TableName=self._runners_table,
            Key=runner_key(run["project"]["S"], run["runner"]["S"]),
            ConsistentRead=True,
        )
        return own_principal(read_runner(answer["Item"])) if "Item" in answer else None


def _person_of(parent: Item) -> RepresentedPerson | None:
    """The person that a run is for: its `on_behalf_of`, else its creator if that is a person."""
    if "person" in parent:
        person, identity = parent["person"]["S"], parent["on_behalf_of"]["S"]
        return RepresentedPerson(person, identity, is_inherited=True)
    if "creator_user_id" in parent and "executed_by" in parent:
        creator = Principal("user", parent["creator_issuer"]["S"], parent["creator_user_id"]["S"])
        return RepresentedPerson(creator.text, parent["executed_by"]["S"], is_inherited=True)
    return None


def _creator_of(run: Item) -> Principal | None:
    if "creator_service_account_id" not in run:
        return None
    subject = run["creator_service_account_id"]["S"]
    return Principal("application", run["creator_issuer"]["S"], subject)
