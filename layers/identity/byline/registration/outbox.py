"""The outbox: which runs the authorization service does not know yet.

With registration on, RunsFunction writes an outbox entry into the row of every new run and into the
tombstone of every deleted run, in the same transaction as the row. RegisterResourcesFunction clears
the entry after the service has answered with success. So no registration can be lost. A row without
an entry is in neither the stream nor the index.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from byline.tables.rows import Item

PENDING_INDEX = "by-unregistered"
"""The index that holds exactly the rows with an outbox entry."""

SHARDS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""The partitions of that index, each good for 1,000 write units a second. A run's shard is the last
character of its id, which is random (https://github.com/ulid/spec)."""

ENTRY_ATTRIBUTES = ("unregistered", "unregistered_since")
"""The attributes of an outbox entry. They are the keys of the index."""

DELETED = "deleted#"
"""The prefix of a tombstone's project."""


class NewOutboxEntry(Protocol):
    """Makes the attributes of a new outbox entry, pending from `since`, RFC 3339."""

    def __call__(self, run_id: str, *, since: str) -> "Item": ...


def outbox_entry(run_id: str, *, since: str) -> "Item":
    """The outbox entry of a run whose registration is pending from `since`, RFC 3339."""
    shard, time = ENTRY_ATTRIBUTES
    return {shard: {"S": run_id[-1]}, time: {"S": since}}
