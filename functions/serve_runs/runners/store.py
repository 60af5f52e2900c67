"""Reading and registering runners. Every write is conditional, and running it twice is harmless.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from byline.caching import Clock
from byline.identity.caller import Principal
from byline.refresh.runner_rows import RunnerRow, read_runner, runner_key
from byline.refresh.token_rows import TokenRow, read_token_row, token_key
from byline.tables.rows import Contended, Item, read_rows, text_of, write_together
from serve_runs.access.projects import keep_project_row
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.errors import contended, not_found
from serve_runs.runners.changes import Runner, asked, left, new_runner, registered, token_after
from serve_runs.runners.client_waits import ClientFailure, ClientWaits
from serve_runs.runners.requests import RunnerRegistration
from serve_runs.runners.tokens import own_principal
from serve_runs.runners.transactions import delete_runner, leave_token, put_runner, write_token

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 5
"""How often rows are read for a change, because they may change before the write."""

type Outcome = Literal["created", "changed", "unchanged"]
type Actions = "dict[str, TransactWriteItemTypeDef]"
type Permit = Callable[[RunnerRow | None, RunnerRow | None], None]


class Registered(NamedTuple):
    """A registered runner. `retired`: the token that it left as its last runner, or None.

    `is_new_token`: whether no other runner had the token. `client_failure`: why the client of the
    new token waited, None where it did not.
    """

    runner: Runner
    outcome: Outcome
    retired: TokenRow | None
    is_new_token: bool
    client_failure: ClientFailure | None


class RunnerStore:
    """The runners of one table. Every change is written together with its record in `audit`."""

    def __init__(
        self, client: "DynamoDBClient", table: str, *, audit: AuditTrail, now: Clock
    ) -> None:
        self._client = client
        self._table = table
        self._audit = audit
        self._now = now
        self._waits = ClientWaits(client, table, now)

    def register(self, registration: RunnerRegistration, *, permit: Permit) -> Registered:
        """Register a runner, or change its registration.

        `permit` is called before each write, with the rows before and after it. It raises where the
        caller may not make the change. So only a permitted change is written, even if other
        requests change the runner at the same time.
        """
        resource = AuditedResource(registration.project, "runner", registration.runner)
        record = self._audit.record(registration.action, "register_runner", resource)
        failure = None
        for _ in range(ATTEMPTS):
            now = self._now()
            wanted = new_runner(registration, now=now)
            before, token = self._read_both(wanted)
            after = wanted if before is None else registered(before, registration, now=now)
            permit(before, None if before is None else after)
            pointed = token_after(token, before=before, after=after, now=now)
            if token is None:
                failure = self._waits.end(pointed) or failure
            elif token.last_error is not None:
                self._waits.shorten(pointed)
            actions: Actions = {}
            retired = None
            if before is not None and before.token != after.token:
                actions, retired = self._leave(before.project, before.token, now=now)
            if after != before or token is None:
                actions["runner"] = put_runner(self._table, after, before=before)
            if pointed != token:
                actions["token"] = write_token(self._table, pointed, before=token)
            if after != before:
                # A restart, which only makes the token due sooner, has no audit record.
                actions["record"] = record
            if not actions or self._write(actions):
                return Registered(
                    Runner(after, pointed),
                    _outcome(before, after),
                    retired,
                    is_new_token=token is None,
                    client_failure=failure,
                )
        raise contended("runner")

    def find(self, project: str, runner: str) -> RunnerRow | None:
        """A runner's registration, None where it does not exist. Raises `UnreadableRow`."""
        item = self._read(runner_key(project, runner))
        return None if item is None else read_runner(item)

    def own_principals(self, project: str, runners: Iterable[str]) -> dict[str, Principal]:
        """The service accounts of these runners by name, without those that have none."""
        keys = [runner_key(project, runner) for runner in runners]
        rows = map(read_runner, read_rows(self._client, self._table, keys).complete())
        owners = {row.runner: own_principal(row) for row in rows}
        return {runner: owner for runner, owner in owners.items() if owner is not None}

    def get(self, project: str, runner: str) -> Runner:
        """A runner and its token. Raises `RequestFailed` (`not_found`), and `UnreadableRow`."""
        for _ in range(ATTEMPTS):
            row = self.find(project, runner)
            if row is None:
                raise not_found()
            token = self._find_token(project, row.token)
            if token is not None:
                return Runner(row, token)
        raise contended("runner")  # it moved to another token between the two reads

    def token_of(self, row: RunnerRow) -> TokenRow:
        """The token of a runner. Raises as `get` where the runner is deleted meanwhile."""
        token = self._find_token(row.project, row.token)
        return token or self.get(row.project, row.runner).token

    def refresh(self, project: str, runner: str, *, action: ActionContext) -> Runner:
        """Make a runner's token due now, and end the wait of its client.

        Raises `RequestFailed`: `not_found`, and `too_many_refreshes`.
        """
        resource = AuditedResource(project, "runner", runner)
        record = self._audit.record(action, "refresh_runner", resource)
        for _ in range(ATTEMPTS):
            row, token = self.get(project, runner)
            after = asked(token, now=self._now())
            self._waits.end(after)
            update = write_token(self._table, after, before=token)
            if self._write({"token": update, "record": record}):
                return Runner(row, after)
        raise contended("runner")

    def delete(self, project: str, runner: str, *, action: ActionContext) -> TokenRow | None:
        """Delete a runner, even if its row is unreadable. Returns its token, if that is retired.

        Raises `RequestFailed` (`not_found`), and `UnreadableRow` for a token's row.
        """
        resource = AuditedResource(project, "runner", runner)
        record = self._audit.record(action, "delete_runner", resource)
        for _ in range(ATTEMPTS):
            item = self._read(runner_key(project, runner))
            if item is None:
                raise not_found()
            actions, retired = self._leave(project, text_of(item, "token"), now=self._now())
            actions |= {
                "runner": delete_runner(self._table, item),
                "project": keep_project_row(self._audit.table, project),
                "record": record,
            }
            if self._write(actions):
                return retired
        raise contended("runner")

    def _leave(
        self, project: str, token: str | None, *, now: float
    ) -> tuple[Actions, TokenRow | None]:
        """The actions by which a runner leaves the token with this sort key, and the retired row.

        None where the token has no row: then the runner has moved, so the condition on its own row
        fails, or somebody deleted the token's row by hand.
        """
        row = None if token is None else self._find_token(project, token)
        if row is None:
            return {}, None
        after = left(row, now=now)
        return leave_token(self._table, after, before=row), None if after.is_live else after

    def _write(self, actions: Actions) -> bool:
        """Carry out all `actions`; False, with none carried out, where the rows have changed."""
        try:
            return not write_together(self._client, actions)
        except Contended:
            return False  # many runners enter and leave one token at once: read again

    def _read_both(self, wanted: RunnerRow) -> tuple[RunnerRow | None, TokenRow | None]:
        """The runner's row, and the token that it is to point to; None for each that is absent."""
        read = read_rows(self._client, self._table, [wanted.key, wanted.token_key])
        row = token = None
        for item in read.complete():
            if item["project"] == wanted.key["project"]:
                row = read_runner(item)
            else:
                token = read_token_row(item)
        return row, token

    def _find_token(self, project: str, token: str) -> TokenRow | None:
        item = self._read(token_key(project, token))
        return None if item is None else read_token_row(item)

    def _read(self, key: Item) -> Item | None:
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return answer.get("Item")


def _outcome(before: RunnerRow | None, after: RunnerRow) -> Outcome:
    if before is None:
        return "created"
    return "unchanged" if after == before else "changed"
