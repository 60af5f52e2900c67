"""The index of running runs that send heartbeats.

RunsFunction fills it, and PlanRefreshFunction finds in it the runs whose heartbeats have stopped.
A run is in it from its start until it ends or is lost, and only if it was created with
`heartbeat_seconds`. So an idle table has an empty index.
"""

HEARTBEAT_INDEX = "by-heartbeat"
"""Keyed by (shard, time at which the run is lost unless it sends a heartbeat). It has keys only."""

SHARDS = "0123"
"""The partitions of the index. Each takes 1,000 write units a second, and a heartbeat takes two."""

_ULID_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def shard_of(run_id: str) -> str:
    """The shard of a run, by the last character of its id, which is random."""
    return SHARDS[_ULID_CHARACTERS.index(run_id[-1]) % len(SHARDS)]
