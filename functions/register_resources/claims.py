"""Claims: one worker at a time registers or deregisters a run.

A claim is a row of its own, `registration#{project}`, because the run's row moves when the run is
deleted. It is written before the first call of the service. So the claim of a worker that died says
until when the worker may have sent a registration.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byline.registration.outbox import SETTLE_SECONDS, claim_key
from byline.tables.rows import ConditionFailed, Item, write_row, write_together
from register_resources.pending import PendingRevocation, PendingRow, RunKey, clearing

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

KEPT_SECONDS = 86_400
"""A claim's row expires this long after its last doubt has ended."""


@dataclass(slots=True)
class RunClaim:
    """A worker's claim on a run, held until `until`. All times are seconds since the epoch.

    `doubt_until`: until then, a registration whose end is unknown may still take effect. 0 if there
    is none.
    """

    key: RunKey
    until: float
    doubt_until: float
    is_held: bool = True

    def note_doubt(self, *, now: float) -> None:
        """Note that a registration was sent by `now` and may still take effect."""
        self.doubt_until = now + SETTLE_SECONDS


class RunClaims:
    """Takes and gives back claims as `owner`. Each settling of a run needs an owner of its own."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        owner: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._owner = owner
        self._sleep = sleep

    def take(self, key: RunKey, *, now: float, until: float) -> RunClaim | None:
        """The claim on a run; None while another worker has it.

        By `until` this worker must have ended. A claim that was never given back belonged to a
        worker that died: it may have sent a registration until the end of its claim.
        """
        try:
            answer = write_row(
                self._client,
                lambda: self._client.update_item(
                    TableName=self._table,
                    Key=_keys(key),
                    UpdateExpression=(
                        "SET claimed_by = :me, claimed_until = :until, expires_at = :expires"
                    ),
                    ConditionExpression=(
                        "attribute_not_exists(claimed_by) OR claimed_until <= :now"
                        " OR claimed_by = :me"
                    ),
                    ExpressionAttributeValues={
                        ":me": {"S": self._owner},
                        ":until": _number(until),
                        ":now": _number(now),
                        ":expires": _number(until + SETTLE_SECONDS + KEPT_SECONDS),
                    },
                    ReturnValues="ALL_OLD",
                ),
                sleep=self._sleep,
            )
        except ConditionFailed:
            return None
        before: Item = answer.get("Attributes", {})
        doubts = [float(before["doubt_until"]["N"])] if "doubt_until" in before else []
        if "claimed_until" in before:
            # The claim of a dead worker, or our own if the answer to the first call was lost. Any
            # claim that the first call replaced had ended by now.
            ended = min(float(before["claimed_until"]["N"]), now)
            doubts.append(ended + SETTLE_SECONDS)
        return RunClaim(key, until, max(doubts, default=0.0))

    def give_back(self, claim: RunClaim, *, now: float) -> None:
        """Give a claim back, and keep its doubt for the next worker.

        Does nothing where another worker holds the claim by now.
        """
        if not claim.is_held:
            return
        of_mine: Any = {
            "TableName": self._table,
            "Key": _keys(claim.key),
            "ConditionExpression": "claimed_by = :me",
        }
        me = {":me": {"S": self._owner}}

        def write() -> object:
            if claim.doubt_until <= now:
                return self._client.delete_item(**of_mine, ExpressionAttributeValues=me)
            return self._client.update_item(
                **of_mine,
                UpdateExpression=(
                    "SET doubt_until = :doubt, expires_at = :expires"
                    " REMOVE claimed_by, claimed_until"
                ),
                ExpressionAttributeValues={
                    **me,
                    ":doubt": _number(claim.doubt_until),
                    ":expires": _number(claim.doubt_until + KEPT_SECONDS),
                },
            )

        claim.is_held = False
        with suppress(ConditionFailed):
            write_row(self._client, write, sleep=self._sleep)

    def finish(self, claim: RunClaim, row: PendingRow | PendingRevocation, *, at: str) -> bool:
        """Clear the outbox entry of a tombstone or a revocation and give the claim back.

        Both or neither. False if this worker does not hold the claim any more: another worker may
        have sent a call since, so the deregistration must be repeated.
        """
        refused = write_together(
            self._client,
            {
                "clear outbox entry": {"Update": clearing(self._table, row, at=at)},
                "give claim back": {
                    "Delete": {
                        "TableName": self._table,
                        "Key": _keys(claim.key),
                        "ConditionExpression": "claimed_by = :me",
                        "ExpressionAttributeValues": {":me": {"S": self._owner}},
                    }
                },
            },
            sleep=self._sleep,
        )
        if refused:
            return False
        claim.is_held = False
        return True


def _keys(key: RunKey) -> Item:
    return claim_key({"project": {"S": key.project}, "id": {"S": key.run}})


def _number(at: float) -> Any:
    """A time as a number attribute, in whole seconds, rounded up."""
    return {"N": str(int(-(-at // 1)))}
