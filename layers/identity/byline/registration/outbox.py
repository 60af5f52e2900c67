"""The outbox: which runs and revocations the authorization service does not know yet.

With registration on, RunsFunction writes an outbox entry into the row of every new run, into the
tombstone of every deleted run, and into the row of every revocation, in the same transaction as the
change. RegisterResourcesFunction clears the entry after the service has answered with success. So
no registration can be lost. A row without an entry is in neither the stream nor the index.
"""

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

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

REVOCATION = "revocation#"
"""The prefix of a revocation's project. The id of the service account follows."""

CLAIM = "registration#"
"""The prefix of a claim's project. The project of the claimed run or revocation follows."""

SETTLE_SECONDS = 900
"""A call that was sent takes effect within this time, or never. No gateway or load balancer holds a
request nearly as long, and no Lambda function runs longer."""


GRANT_OPERATION = "create"
"""The operation that is granted and revoked for a service account: it acts for the person."""


class Outbox(msgspec.Struct, frozen=True):
    """Makes outbox entries for the runs of `projects`; of all projects where it is empty."""

    projects: frozenset[str] = frozenset()

    def of_new_run(self, run: "Item", *, since: str) -> "Item":
        """The outbox entry of a new run, pending from `since`. Empty for another project."""
        is_on = not self.projects or run["project"]["S"] in self.projects
        return outbox_entry(run["id"]["S"], since=since) if is_on else {}

    def of_deleted_run(self, run: "Item", *, since: str) -> "Item":
        """The outbox entry of a tombstone.

        Also for another project, where the service knows the run, or may know it.
        """
        if run.keys().isdisjoint(("registered_at", "unregistered")):
            return self.of_new_run(run, since=since)
        return outbox_entry(run["id"]["S"], since=since)


def outbox_entry(run_id: str, *, since: str) -> "Item":
    """The outbox entry of a run whose registration is pending from `since`, RFC 3339."""
    shard, time = ENTRY_ATTRIBUTES
    return {shard: {"S": run_id[-1]}, time: {"S": since}}


def revocation_key(service_account: str, *, person: str) -> "Item":
    """The key of the row that revokes a person's grant of a service account.

    `person`: the principal as text. The row is pending while the grant has to be revoked.
    """
    digest = sha256(person.encode()).hexdigest().upper()  # its last character is one of SHARDS
    return {"project": {"S": f"{REVOCATION}{service_account}"}, "id": {"S": digest}}


def claim_key(row_key: "Item") -> "Item":
    """The key of the claim on the run or the revocation with `row_key`."""
    return {"project": {"S": f"{CLAIM}{row_key['project']['S']}"}, "id": row_key["id"]}
