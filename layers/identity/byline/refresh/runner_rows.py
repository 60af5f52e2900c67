"""The rows of runners in RunnersTable: a registration, and which token the runner points to."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from byline.refresh.token_rows import UnreadableRow, key_text, token_key
from byline.refresh.work_units import MintKey
from byline.tables.rows import Item, attributes, values_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRow:
    """A registered runner. `created_at` and `updated_at` are RFC 3339.

    `revision`: the request of the registration that the row is of.
    `token`: the sort key of the token's row that the runner points to.
    `isolated`: 1 for a runner with a token of its own.
    `registered_by`: `executed_by` as JSON. Rows of earlier versions lack its issuer.
    """

    project: str
    runner: str
    client: str
    token: str
    revision: str
    created_at: str
    updated_at: str
    audience: str | None = None
    resource: str | None = None
    scope: str | None = None
    isolated: Literal[1] | None = None
    subject: str | None = None
    subject_issuer: str | None = None
    registered_by: str | None = None
    registered_by_issuer: str | None = None

    @property
    def mint_key(self) -> MintKey:
        """What the runner's token is for."""
        return MintKey.of(
            project=self.project,
            client=self.client,
            audience=self.audience,
            resource=self.resource,
            scope=self.scope,
            isolated_for=self.runner if self.isolated else None,
        )

    @property
    def key(self) -> Item:
        """The row's key."""
        return runner_key(self.project, self.runner)

    @property
    def token_key(self) -> Item:
        """The key of the token's row."""
        return token_key(self.project, self.token)


def runner_key(project: str, runner: str) -> Item:
    """The key of a runner's row."""
    return {"project": {"S": project}, "runner": {"S": runner}}


def runner_item(row: RunnerRow) -> Item:
    """The row as an item of DynamoDB. Members that are None have no attribute."""
    values: dict[str, Any] = msgspec.to_builtins(row)
    return attributes(values)


def read_runner(item: Item) -> RunnerRow:
    """The runner of an item. Raises `UnreadableRow`."""
    try:
        return msgspec.convert(values_of(item), RunnerRow)
    except (msgspec.ValidationError, ValueError, TypeError, AttributeError):
        raise UnreadableRow(key_text(item)) from None
