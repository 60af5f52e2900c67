"""The rows of tokens in RunnersTable, and the keys of the rows beside them.

A token is what one OAuth client gets for one (audience, resource, scopes) in one project. Its row
exists for as long as runners point to it, and is in the index `by-due` all that time. With its last
runner it becomes a retired row, in another partition, until its secrets are deleted. So the next
token for the same is a new one: with another id, other secrets, and its own generations.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from byline.refresh.work_units import MintKey, WorkUnit
from byline.tables.rows import Item, attributes, values_of

DUE_INDEX = "by-due"

RETIRED_LIFETIME_SECONDS = 2_592_000
"""How long a retired token's row is kept after its secrets are deleted: 30 days."""

_TOKENS = "tokens#"
_RETIRED = "retired#"


class UnreadableRow(Exception):
    """A row has another form than is written here. The message is its key, without values."""


class LastError(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last refresh failed, and since when all have failed. Times: seconds since the epoch.

    `detail` is one sentence in our own words, without text of an issuer or a secret. `at`: the last
    failure.
    """

    error_class: str = msgspec.field(name="class")
    detail: str = ""
    since: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token: what it is for, and the times of its newest generation, but never its text.

    Integers are seconds, and times are seconds since the epoch. `created_at` is RFC 3339.

    `id`: unique for each row ever made, so the names of its secrets are never used again.
    `runners`: how many runners point to it. Each transaction that moves a runner's pointer changes
    it, and nothing else does. `isolated_for`: its only runner, where it is not shared.
    `generation`: of the newest token, 0 before the first. It only grows, so a secret's version
    tokens never repeat.
    `shard` and `due_at`: set together, while there is work to do.
    `next_try_at`: where it is later than `due_at`, when a failed refresh is tried again. Rows whose
    token has expired are due before that, so that every tick counts them.
    `deadline`: when the newest generation expires; before the first, when the row was made.
    `slots`: the number of secrets that are written in turn. It never falls, so these are all
    secrets that were ever written. `slot`: the newest generation's.
    `window_started_at`, `window_writes`: writes to all its secrets in the current 24 hours.
    `asked_at`: when a caller last asked for a refresh at once. `asks_since`, `asks`: how often that
    replaced a live token in the current 24 hours. Only the API writes these.
    `retired_at`: when its last runner went.
    """

    project: str
    client: str
    id: str
    created_at: str
    deadline: int
    runners: int
    generation: int
    audience: str | None = None
    resource: str | None = None
    scope: str | None = None
    isolated_for: str | None = None
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
    window_started_at: int | None = None
    window_writes: int | None = None
    asked_at: int | None = None
    asks_since: int | None = None
    asks: int | None = None
    retired_at: int | None = None
    ttl: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether runners point to the token, so that it is kept fresh."""
        return self.retired_at is None

    @property
    def try_at(self) -> int | None:
        """When there is work to do for the token, None where there is none."""
        return self.due_at if self.next_try_at is None else self.next_try_at

    @property
    def mint_key(self) -> MintKey:
        """What the token is for."""
        return MintKey.of(
            project=self.project,
            client=self.client,
            audience=self.audience,
            resource=self.resource,
            scope=self.scope,
            isolated_for=self.isolated_for,
        )

    @property
    def work_unit(self) -> WorkUnit:
        """The work unit whose worker finds the row: by its shard, where it has one."""
        if self.shard is None:
            return self.mint_key.work_unit
        return WorkUnit(shard=self.shard, project=self.project)

    @property
    def key(self) -> Item:
        """The row's key. Retired tokens of a project have a partition of their own."""
        if self.is_live:
            return token_key(self.project, self.mint_key.token_key)
        return {"project": retired_of(self.project), "runner": {"S": self.id}}


def new_token(key: MintKey, *, token_id: str, created_at: str, now: int) -> TokenRow:
    """The row of a token for one runner, due at once. `created_at`: `now` in RFC 3339."""
    return TokenRow(
        project=key.project,
        client=key.client,
        id=token_id,
        created_at=created_at,
        deadline=now,
        runners=1,
        generation=0,
        audience=key.audience,
        resource=key.resource,
        scope=" ".join(key.scopes) or None,
        isolated_for=key.isolated_for,
        shard=key.work_unit.shard,
        due_at=now,
    )


def token_key(project: str, token: str) -> Item:
    """The key of a live token's row. `token`: its sort key, `MintKey.token_key`."""
    return {"project": tokens_of(project), "runner": {"S": token}}


def tokens_of(project: str) -> Any:
    """The partition of a project's live tokens, as an attribute value."""
    return {"S": _TOKENS + project}


def retired_of(project: str) -> Any:
    """The partition of a project's retired tokens, as an attribute value."""
    return {"S": _RETIRED + project}


def client_key(project: str, client: str) -> Item:
    """The key of an OAuth client's state: its breaker and its back-off."""
    return {"project": {"S": f"client#{project}"}, "runner": {"S": client}}


def lease_key(work_unit: WorkUnit) -> Item:
    """The key of a work unit's lease."""
    return {"project": {"S": f"lease#{work_unit.shard}"}, "runner": {"S": work_unit.project}}


def token_item(row: TokenRow) -> Item:
    """The row as an item of DynamoDB. Members that are None have no attribute."""
    values: dict[str, Any] = msgspec.to_builtins(row)
    return attributes(values) | row.key


def read_token_row(item: Item) -> TokenRow:
    """The token of an item, live or retired. Raises `UnreadableRow`."""
    try:
        values = values_of(item)
        prefix = _TOKENS if values["project"].startswith(_TOKENS) else _RETIRED
        values["project"] = values["project"].removeprefix(prefix)
        row = msgspec.convert(values, TokenRow)
        if row.key == {"project": item["project"], "runner": item["runner"]}:
            return row
    except (msgspec.ValidationError, KeyError, ValueError, TypeError, AttributeError):
        pass
    raise UnreadableRow(key_text(item))


def key_text(item: Item) -> str:
    """The key of an item, for logs and errors."""
    return f"{item.get('project', {}).get('S')}/{item.get('runner', {}).get('S')}"
