"""Work units, the messages that name them, and the secrets that tokens are written to.

A work unit follows from what a token is for, so every process computes the same one at any time.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid5

import msgspec

SHARDS = 16
"""Partitions of the index `by-due`, each good for 1,000 write units a second."""

LAST_SECOND = 253_402_300_799
"""The end of the year 9999, which is the end of RFC 3339's range."""

_VERSIONS = UUID("b1e9a1de-6f0c-4d0b-9a5b-0d7b5c1e4f52")
"""The namespace of version tokens (RFC 9562, section 5.5). Another namespace would write, after a
crash, a second version of the same generation."""

type _Time = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)]


class WorkUnit(msgspec.Struct, frozen=True, order=True):
    """The work of one lease: the due tokens of one project in one shard."""

    shard: str
    project: str


class MintKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a token is for. Runners of one project with the same key share its token.

    `scopes` are sorted and unique: their order means nothing (RFC 6749, section 3.3).
    `isolated_for`: the only runner of a token that is not shared.
    """

    project: str
    client: str
    audience: str | None
    resource: str | None
    scopes: tuple[str, ...]
    isolated_for: str | None = None

    @classmethod
    def of(
        cls,
        *,
        project: str,
        client: str,
        audience: str | None = None,
        resource: str | None = None,
        scope: str | None = None,
        isolated_for: str | None = None,
    ) -> Self:
        """The key of a registration. `scope`: names with spaces between them, as registered."""
        return cls(
            project=project,
            client=client,
            audience=audience,
            resource=resource,
            scopes=tuple(sorted(set((scope or "").split()))),
            isolated_for=isolated_for,
        )

    @property
    def token_key(self) -> str:
        """The sort key of the token's row: the client, and a digest of what the token is for."""
        return f"{self.client}#{self._digest.hex()[:32]}"

    @property
    def work_unit(self) -> WorkUnit:
        """The work unit that refreshes the token."""
        shard = int.from_bytes(self._digest) % SHARDS
        return WorkUnit(shard=f"{shard:02d}", project=self.project)

    @property
    def _digest(self) -> bytes:
        return sha256(msgspec.json.encode(self)).digest()


def shards() -> tuple[str, ...]:
    """The names of all shards."""
    return tuple(f"{number:02d}" for number in range(SHARDS))


class UnreadableMessage(Exception):
    """A message of the refresh queue has another form. Nobody can use it, so it is not retried."""


class RefreshMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of the refresh queue: a work unit, and which of its due tokens are meant.

    Times are seconds since the epoch. `deadline`: the latest deadline that is meant; None for all.
    Tokens that were never minted are always meant. `due_by`: only tokens that were due then; None
    for all that are due when the message arrives. `format`: the version of this form, absent for 1.
    """

    shard: str
    project: Annotated[str, msgspec.Meta(min_length=1)]
    deadline: _Time | None = None
    due_by: _Time | None = None
    format: Literal[1] = 1

    @property
    def work_unit(self) -> WorkUnit:
        """The work unit that the message names."""
        return WorkUnit(shard=self.shard, project=self.project)


def message_body(
    work_unit: WorkUnit, *, deadline: int | None = None, due_by: int | None = None
) -> str:
    """The body of a message for `work_unit`, as JSON. `RefreshMessage` describes its members."""
    message = RefreshMessage(
        shard=work_unit.shard, project=work_unit.project, deadline=deadline, due_by=due_by
    )
    return msgspec.json.encode(message).decode()


def read_message(body: str) -> RefreshMessage:
    """The message of a body. Raises `UnreadableMessage`."""
    try:
        message = msgspec.json.decode(body, type=RefreshMessage)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise UnreadableMessage from None  # the error may quote the body
    if message.shard not in shards():
        raise UnreadableMessage
    return message


class Selection(msgspec.Struct, frozen=True):
    """Which of a work unit's tokens are meant, and the ids of the messages that say so.

    `up_to`: the latest deadline; None for all. `due_by`: when they were due; None for now. Both are
    seconds since the epoch.
    """

    up_to: int | None
    due_by: int | None
    message_ids: tuple[str, ...]

    def joined(self, other: "Selection") -> "Selection":
        """The tokens that either selection means, for one time slice under one lease."""
        return Selection(
            _later(self.up_to, other.up_to),
            _later(self.due_by, other.due_by),
            self.message_ids + other.message_ids,
        )


def read_batch(
    records: Iterable[dict[str, Any]], *, unreadable: Callable[[str], None]
) -> dict[WorkUnit, Selection]:
    """The work units that the records of an SQS event name, in their order.

    The id of each message that cannot be read goes to `unreadable`.
    """
    batch: dict[WorkUnit, Selection] = {}
    for record in records:
        message_id = record["messageId"]
        try:
            message = read_message(record["body"])
        except UnreadableMessage:
            unreadable(message_id)
            continue
        selection = Selection(message.deadline, message.due_by, (message_id,))
        known = batch.get(message.work_unit)
        batch[message.work_unit] = known.joined(selection) if known else selection
    return batch


class SecretNames(msgspec.Struct, frozen=True):
    """The names of a deployment's secrets. Two deployments in one account have two prefixes.

    A policy that allows `{prefix}/clients/*` matches the secrets of no other prefix: a prefix
    contains no `/`, so it is all of a name's first segment.
    """

    prefix: str

    def client(self, project: str, client: str) -> str:
        """The secret with the credentials of an OAuth client."""
        return f"{self.prefix}/clients/{project}/{client}"

    def token(self, project: str, client: str, token_id: str, slot: int) -> str:
        """The secret with the generations of a token in one of its slots.

        One IAM statement for `{prefix}/tokens/{project}/{client}/*` grants all tokens of a client.
        """
        return f"{self.prefix}/tokens/{project}/{client}/{token_id}/{slot}"

    def credential(self, project: str, credential: str) -> str:
        """The secret of a credential."""
        return f"{self.prefix}/credentials/{project}/{credential}"


class TokenSecret(msgspec.Struct, frozen=True):
    """The JSON of a token's secret. Times are UTC, whole seconds, in RFC 3339."""

    token: str
    token_type: str
    issued_at: datetime
    expires_at: datetime
    generation: int

    def __repr__(self) -> str:
        return f"<token of generation {self.generation}>"


class UnreadableSecret(Exception):
    """A version of a token's secret has another form than `TokenSecret`."""


def read_token_secret(text: str) -> TokenSecret:
    """The token of a secret's text. Raises `UnreadableSecret`."""
    try:
        return msgspec.json.decode(text, type=TokenSecret)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    raise UnreadableSecret  # outside the handler: the first error may carry the text


def slot_of(generation: int, *, slots: int) -> int:
    """The slot of a generation's token: each slot in turn."""
    return generation % slots


def version_token(secret_name: str, generation: int) -> str:
    """The `ClientRequestToken` under which a generation is written to a secret: 36 characters.

    Every process computes the same one. After a crash, or beside another worker, a second write
    finds the version of the first write instead of adding another.
    """
    return str(uuid5(_VERSIONS, f"{secret_name}#{generation}"))


def _later(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)
