"""The rows of RunnersTable: a runner, and the keys of the rows that belong to it.

A runner's row stays in the index `by-due` for as long as there is work to do for it. The row of a
deleted runner moves to another partition, so that a registration of the same name starts anew.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from byline.refresh.work_units import MintKey, WorkUnit
from byline.tables.rows import Item, attributes, values_of

DUE_INDEX = "by-due"

DELETED_LIFETIME_SECONDS = 2_592_000
"""How long a deleted runner's row is kept after its secrets are deleted: 30 days."""

_DELETED = "deleted#"


class UnreadableRow(Exception):
    """A row has another form than `runner_item` writes. The message is its key, without values."""


class LastError(msgspec.Struct, frozen=True, kw_only=True):
    """The class of the last refresh's error, and when it failed, in seconds since the epoch."""

    error_class: str = msgspec.field(name="class")
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRow:
    """A runner, and the times of its newest token, but never the token.

    Integers are seconds, and times are seconds since the epoch. `created_at` and `updated_at` are
    RFC 3339; `registered_by` and `deleted_by` are `executed_by` as JSON.

    `revision`: the request of the latest registration; a refresh that began before it is not
    committed.
    `generation`: of the newest token. It starts at the time of registration in milliseconds and
    only grows, across deletions too, so that a secret's version tokens never repeat.
    `shard` and `due_at`: set together. The row is in the index while the runner is live, and after
    its deletion until its secrets are deleted.
    `next_try_at`: where it is later than `due_at`, when a failed refresh is tried again. Rows whose
    token has expired are due before that, so that every tick counts them.
    `deadline`: when its token expires; without a token, when the runner was registered.
    `slots`: the number of secrets that its tokens are written to in turn. It never falls, so these
    are all secrets that were ever written. `slot`: the newest token's.
    `window_started_at`, `window_writes`: writes to all its secrets in the current 24 hours.
    """

    project: str
    runner: str
    client: str
    revision: str
    generation: int
    deadline: int
    created_at: str
    updated_at: str
    audience: str | None = None
    resource: str | None = None
    scope: str | None = None
    subject: str | None = None
    subject_issuer: str | None = None
    shard: str | None = None
    due_at: int | None = None
    next_try_at: int | None = None
    lifetime: int | None = None
    issued_at: int | None = None
    expires_at: int | None = None
    refreshed_at: int | None = None
    slots: int | None = None
    slot: int | None = None
    attempts: int = 0
    last_error: LastError | None = None
    registered_by: str | None = None
    last_request: str | None = None
    window_started_at: int | None = None
    window_writes: int | None = None
    deleted_by: str | None = None
    deleted_at: int | None = None
    ttl: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether the runner is registered and its token is kept fresh."""
        return self.shard is not None and self.deleted_at is None

    @property
    def try_at(self) -> int | None:
        """When there is work to do for the runner, None where there is none."""
        return self.due_at if self.next_try_at is None else self.next_try_at

    @property
    def mint_key(self) -> MintKey:
        """The contents of its token requests."""
        return MintKey.of(
            project=self.project,
            client=self.client,
            audience=self.audience,
            resource=self.resource,
            scope=self.scope,
        )

    @property
    def work_unit(self) -> WorkUnit:
        """The work unit that its registration belongs to."""
        return self.mint_key.work_unit

    @property
    def key(self) -> Item:
        """The row's key. Deleted runners of a project have a partition of their own."""
        if self.deleted_at is None:
            return runner_key(self.project, self.runner)
        return {
            "project": {"S": _DELETED + self.project},
            "runner": {"S": f"{self.runner}#{self.generation}"},
        }


def runner_key(project: str, runner: str) -> Item:
    """The key of a runner's row while it is registered."""
    return {"project": {"S": project}, "runner": {"S": runner}}


def client_key(project: str, client: str) -> Item:
    """The key of an OAuth client's state: its breaker and its back-off."""
    return {"project": {"S": f"client#{project}"}, "runner": {"S": client}}


def minimum_generation_key(project: str, runner: str) -> Item:
    """The key of a name's minimum generation, which is kept when the name's runner is deleted.

    The next runner of that name starts above it, whatever the clocks say.
    """
    return {"project": {"S": f"floor#{project}"}, "runner": {"S": runner}}


def lease_key(work_unit: WorkUnit) -> Item:
    """The key of a work unit's lease."""
    return {"project": {"S": f"lease#{work_unit.shard}"}, "runner": {"S": work_unit.project}}


def runner_item(row: RunnerRow) -> Item:
    """The row as an item of DynamoDB. Members that are None have no attribute."""
    values: dict[str, Any] = msgspec.to_builtins(row)
    return attributes(values) | row.key


def read_runner(item: Item) -> RunnerRow:
    """The runner of an item, registered or deleted. Raises `UnreadableRow`."""
    try:
        values = values_of(item)
        if values["project"].startswith(_DELETED):
            values["project"] = values["project"].removeprefix(_DELETED)
            values["runner"] = values["runner"].rpartition("#")[0]
        return msgspec.convert(values, RunnerRow)
    except (msgspec.ValidationError, KeyError, ValueError, TypeError, AttributeError):
        raise UnreadableRow(_name(item)) from None


def _name(item: Item) -> str:
    return f"{item.get('project', {}).get('S')}/{item.get('runner', {}).get('S')}"
