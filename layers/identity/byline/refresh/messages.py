"""What the refresh queue carries: whose turn it is. Names and a time, never a token."""

from typing import Annotated

import msgspec

from byline.refresh.work_units import Unit, shards

LAST_SECOND = 253_402_300_799
"""The end of the year 9999, and of what RFC 3339 can say."""


class MessageNotUnderstood(Exception):
    """A message is none of ours. Nobody can use it, so it is not to be delivered again."""


class UnitMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A turn for a unit of work.

    Times are seconds since the epoch. `deadline`: only the runners whose deadline is not later are
    meant, and whoever has no token yet. `due_by`: only those that were due by then. Without them
    all are that are due.
    """

    shard: str
    project: Annotated[str, msgspec.Meta(min_length=1)]
    deadline: Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)] | None = None
    due_by: Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)] | None = None

    @property
    def unit(self) -> Unit:
        return Unit(shard=self.shard, project=self.project)


def message_body(unit: Unit, *, deadline: int | None = None, due_by: int | None = None) -> str:
    """A message for `unit` as the queue carries it."""
    message = UnitMessage(shard=unit.shard, project=unit.project, deadline=deadline, due_by=due_by)
    return msgspec.json.encode(message).decode()


def read_message(body: str) -> UnitMessage:
    """The message of a body. Raises `MessageNotUnderstood`."""
    try:
        message = msgspec.json.decode(body, type=UnitMessage)
    except (msgspec.MsgspecError, UnicodeError):
        raise MessageNotUnderstood from None  # it may quote the body
    if message.shard not in shards():
        raise MessageNotUnderstood
    return message
