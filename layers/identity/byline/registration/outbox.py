"""The runs that the authorization service does not know yet, as both functions see them.

Where registration is on, RunsFunction writes this mark with the row itself: a run that was created,
and the tombstone of one that was deleted. It is what RegisterResourcesFunction goes by, so nothing
that was written can be forgotten. Rows without a mark are in no stream and in no index.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

UNREGISTERED_INDEX = "by-unregistered"

SHARDS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Partitions of that index, each good for 1,000 write units a second: a run's is the last
character of its id, which is random (https://github.com/ulid/spec)."""

MARK = ("unregistered", "unregistered_since")
"""The attributes of a mark, which are the keys of the index."""

DELETED = "deleted#"
"""Before the project of a tombstone."""


class Mark(Protocol):
    """The mark of a run's row, which the service does not know of `since`, RFC 3339."""

    def __call__(self, run_id: str, *, since: str) -> "dict[str, AttributeValueTypeDef]": ...


def no_mark(run_id: str, *, since: str) -> "dict[str, AttributeValueTypeDef]":
    """What a row carries where registration is off: nothing at all."""
    return {}


def unregistered_mark(run_id: str, *, since: str) -> "dict[str, AttributeValueTypeDef]":
    """What a row carries from `since`, RFC 3339, until the authorization service knows of it."""
    shard, time = MARK
    return {shard: {"S": run_id[-1]}, time: {"S": since}}
