"""One worker at a time tells the authorization service of a run, and the next one knows what the
last one left in doubt.

A claim is a row beside the run's, `registration#{project}`, because the run's own row moves when it
is deleted. It is written before anything is sent, so it also remembers what was sent by a worker
that did not live to say how it ended.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byline.tables.items import Item
from register_resources.pending_rows import RunKey, UnregisteredRow, taking_off

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

SETTLE_SECONDS = 900
"""After so long, what was sent to the service has been carried out or never will be. No gateway or
load balancer holds a request nearly as long, and it is the longest that a Lambda function runs."""

KEPT_SECONDS = 86_400
"""After it means nothing any more, DynamoDB may take its time to delete a row."""

FINISH_ATTEMPTS = 4
CONFLICT_SECONDS = 0.1


@dataclass(slots=True)
class Claim:
    """A run that is this worker's until `until`; all times are seconds since the epoch.

    `doubt_until`: until then a registration may still come into effect of which nobody knows how it
    ended. 0 where there is none.
    """

    key: RunKey
    until: float
    doubt_until: float
    is_held: bool = True

    def note_doubt(self, *, now: float) -> None:
        """A registration was sent by `now` that may be carried out later."""
        self.doubt_until = now + SETTLE_SECONDS


class Claims:
    """The claims of one `owner`. No two workers, and no two invocations, have the same."""

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

    def take(self, key: RunKey, *, now: float, until: float) -> Claim | None:
        """The claim, None while it is another's.

        `until` must be a time at which this worker is certainly dead or done. A claim that was
        never given back was its holder's who died: whatever it was about to send may have been
        sent until the claim's very end.
        """
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_keys(key),
                UpdateExpression=(
                    "SET claimed_by = :me, claimed_until = :until, expires_at = :expires"
                ),
                ConditionExpression="attribute_not_exists(claimed_by) OR claimed_until <= :now",
                ExpressionAttributeValues={
                    ":me": {"S": self._owner},
                    ":until": _number(until),
                    ":now": _number(now),
                    ":expires": _number(until + SETTLE_SECONDS + KEPT_SECONDS),
                },
                ReturnValues="ALL_OLD",
            )
        except (
            self._client.exceptions.ConditionalCheckFailedException,
            self._client.exceptions.TransactionConflictException,
        ):
            return None
        before: Item = answer.get("Attributes", {})
        doubts = [float(before["doubt_until"]["N"])] if "doubt_until" in before else []
        if "claimed_until" in before:
            doubts.append(float(before["claimed_until"]["N"]) + SETTLE_SECONDS)
        return Claim(key, until, max(doubts, default=0.0))

    def give_back(self, claim: Claim, *, now: float) -> None:
        """Let others have it, with the doubt that remains; nothing where it is another's by now."""
        if not claim.is_held:
            return
        of_mine: Any = {
            "TableName": self._table,
            "Key": _keys(claim.key),
            "ConditionExpression": "claimed_by = :me",
        }
        me = {":me": {"S": self._owner}}
        claim.is_held = False
        try:
            if claim.doubt_until <= now:
                self._client.delete_item(**of_mine, ExpressionAttributeValues=me)
                return
            self._client.update_item(
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
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def finish(self, claim: Claim, tombstone: UnregisteredRow, *, at: str) -> bool:
        """Take a tombstone's mark off and give the claim back, if it is this worker's still.

        Both or none: a worker that was overtaken does not know what was sent since, so it must not
        say that all is done.
        """
        me = {":me": {"S": self._owner}}
        for attempt in range(FINISH_ATTEMPTS):
            if attempt:
                self._sleep(CONFLICT_SECONDS)
            try:
                self._client.transact_write_items(
                    TransactItems=[
                        {"Update": taking_off(self._table, tombstone, at=at)},
                        {
                            "Delete": {
                                "TableName": self._table,
                                "Key": _keys(claim.key),
                                "ConditionExpression": "claimed_by = :me",
                                "ExpressionAttributeValues": me,
                            }
                        },
                    ]
                )
            except self._client.exceptions.TransactionCanceledException as error:
                codes = {reason.get("Code") for reason in error.response["CancellationReasons"]}
                if "ConditionalCheckFailed" in codes:
                    return False
                # Somebody asks for the claim at this moment.
                if attempt + 1 == FINISH_ATTEMPTS or "TransactionConflict" not in codes:
                    raise
            else:
                claim.is_held = False
                return True
        return False


def _keys(key: RunKey) -> Item:
    return {"project": {"S": f"registration#{key.project}"}, "id": {"S": key.run}}


def _number(at: float) -> Any:
    """A time in whole seconds, rounded up."""
    return {"N": str(int(-(-at // 1)))}
