"""The rows of `RunnersTable`: what a runner is, and under which keys it and its state are kept.

A runner's row stays in the index `by-due` for as long as there is something to do for it. One that
was deleted moves to a partition of its own, so that a registration of the same name starts anew.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from byline.refresh.work_units import MintKey, Unit
from byline.tables.items import Item, attributes, values_of

DUE_INDEX = "by-due"

DELETED_LIFETIME_SECONDS = 2_592_000
"""For how long a deleted runner's row stays: 30 days."""

_DELETED = "deleted#"


class UnreadableRow(Exception):
    """A row is not of the shape that is written here. The message names its key, no value."""


class LastError(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last refresh failed, and when, in seconds since the epoch."""

    error_class: str = msgspec.field(name="class")
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRow:
    """A runner, with its newest token's times and never the token.

    Integers are seconds, times among them since the epoch. `created_at` and `updated_at` are
    RFC 3339; `registered_by` and `deleted_by` are `executed_by` as JSON.

    `revision`: the request that registered it last; a refresh begun before that does not count.
    `generation`: of the newest token; starts at the time of registration in milliseconds and only
    grows, across deletions too, so that no version token of a secret ever comes twice.
    `shard` and `due_at`: together there, and in the index, while the runner is live; or, once it is
    deleted, while its secrets are still to be swept.
    `deadline`: when its token's time is over; for a first token, when it was registered.
    `slots`: how many secrets it is written to in turn; never fewer than before, so that they are
    all that were ever written. `slot`: the newest one.
    `window_started_at`, `window_writes`: writes to all its secrets within the current 24 hours.
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
        """Whether the runner is registered and its token to be kept fresh."""
        return self.shard is not None and self.deleted_at is None

    @property
    def mint_key(self) -> MintKey:
        return MintKey.of(
            project=self.project,
            client=self.client,
            audience=self.audience,
            resource=self.resource,
            scope=self.scope,
        )

    @property
    def unit(self) -> Unit:
        return self.mint_key.unit

    @property
    def key(self) -> Item:
        """Where the row is: of a deleted runner, in its project's partition of deleted ones."""
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
    """The key of what is known of an OAuth client: its breaker and its back-off."""
    return {"project": {"S": f"client#{project}"}, "runner": {"S": client}}


def floor_key(project: str, runner: str) -> Item:
    """The key of what is left of a name's deleted runners: the last one's generation.

    The next runner of that name starts above it, whatever the clocks say.
    """
    return {"project": {"S": f"floor#{project}"}, "runner": {"S": runner}}


def lease_key(unit: Unit) -> Item:
    """The key of the lease of a unit of work."""
    return {"project": {"S": f"lease#{unit.shard}"}, "runner": {"S": unit.project}}


def unit_of(item: Item) -> Unit:
    """The unit of a row of the index, by its keys alone; a deleted runner's is its project's."""
    return Unit(shard=item["shard"]["S"], project=item["project"]["S"].removeprefix(_DELETED))


def runner_item(row: RunnerRow) -> Item:
    """The row as DynamoDB keeps it. What is not known is not there."""
    values: dict[str, Any] = msgspec.to_builtins(row)
    return attributes(values) | row.key


def read_runner(item: Item) -> RunnerRow:
    """The runner of a row, registered or deleted. Raises `UnreadableRow`."""
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
