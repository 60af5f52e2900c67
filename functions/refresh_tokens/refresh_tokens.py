"""RefreshTokensFunction: gives runners new tokens before the old ones die.

queue → unit of work → lease → due runners, earliest deadline first → mint, put, commit. A message
names a unit and nothing else; one that comes twice, late or beside another finds nothing to do.
"""

import os
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

import refresh_sight
from byline.aws import SECRETS_THREADS, dynamodb, secrets_manager, sqs
from byline.fetch import fetch, post
from byline.refresh_timing import SOON_SECONDS
from byline.refresh_units import Unit
from byline.runner_rows import RunnerRow
from byline.settings import required, whole_number
from client_states import ClientStates
from client_store import ClientStore
from mint import Mint
from refresh_unit import Report, UnitRefresher
from runner_table import RunnerTable
from token_writer import TokenWriter
from unit_lease import UnitLeases
from unit_mints import UnitMints
from write_limiter import WriteLimiter

RESERVE_SECONDS = 10
"""Kept back from the function's time limit: the batch under way with its slowest calls."""

SHORTEST_TURN_SECONDS = 5

logger = Logger(service="byline")
table = required(os.environ, "RUNNERS_TABLE")
queue_url = required(os.environ, "REFRESH_QUEUE_URL")
limiter = WriteLimiter(
    whole_number(os.environ, "WRITES_PER_SECOND", default=20, least=1),
    now=time.monotonic,
    sleep=time.sleep,
)
mint = Mint(
    post=post,
    fetch=fetch,
    now=time.time,
    default_lifetime=whole_number(os.environ, "DEFAULT_TOKEN_LIFETIME", default=300, least=60),
)
next_due: dict[Unit, int] = {}
threads = ThreadPoolExecutor(SECRETS_THREADS)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Refresh the units of a batch, in turns, until all are done or time is nearly over.

    What is not done by then goes back to the queue as a new message. Returns the messages whose
    units met an error, to be delivered again: one unit's trouble is no other's.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
    """
    logger.append_keys(request_id=context.aws_request_id)
    end = time.time() + context.get_remaining_time_in_millis() / 1000
    refresher = _refresher(owner=context.aws_request_id)
    waiting = deque((record["messageId"], _unit(record)) for record in event["Records"])
    failed: list[str] = []
    while waiting and time.time() < end - RESERVE_SECONDS:
        message_id, unit = waiting.popleft()
        if unit is None:
            continue
        share = (end - RESERVE_SECONDS - time.time()) / (len(waiting) + 1)
        until = time.time() + max(share, SHORTEST_TURN_SECONDS)
        try:
            outcome = refresher.refresh(unit, until=until, lease_until=end)
        except (ClientError, BotoCoreError):
            logger.exception("unit not refreshed", shard=unit.shard, project=unit.project)
            failed.append(message_id)
            continue
        if outcome == "unfinished":
            waiting.append((message_id, unit))
    for _, unit in waiting:
        if unit is not None:
            _send(unit, delay_seconds=0)
    _send_soon()
    refresh_sight.flush()
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _unit(record: dict[str, Any]) -> Unit | None:
    """The unit that a message names; None for what is no message of ours, which nobody can use."""
    try:
        return msgspec.json.decode(record["body"], type=Unit)
    except msgspec.MsgspecError:
        logger.error("message not understood", message_id=record["messageId"])
        refresh_sight.count("MessageNotUnderstood")
        return None


def _refresher(*, owner: str) -> UnitRefresher:
    clients = ClientStore(secrets_manager())
    states = ClientStates(dynamodb(), table)

    def new_mints() -> UnitMints:
        return UnitMints(
            mint=mint, clients=clients, states=states, now=time.time, random=random.random
        )

    return UnitRefresher(
        runners=RunnerTable(dynamodb(), table),
        writer=TokenWriter(secrets_manager(), limiter=limiter),
        mint=mint,
        clients=clients,
        new_mints=new_mints,
        leases=UnitLeases(dynamodb(), table, owner=owner),
        threads=threads,
        report=Report(
            runner_refreshed=_runner_refreshed,
            runner_postponed=_runner_postponed,
            mint_failed=_mint_failed,
        ),
        now=time.time,
        random=random.random,
    )


def _runner_refreshed(row: RunnerRow) -> None:
    refresh_sight.count("Refreshed")
    next_due[row.unit] = min(row.due_at or 0, next_due.get(row.unit, row.due_at or 0))


def _runner_postponed(row: RunnerRow, error_class: str) -> None:
    refresh_sight.count_postponed(error_class)
    logger.warning(
        "refresh postponed", project=row.project, runner=row.runner, error_class=error_class
    )


def _mint_failed(row: RunnerRow, error_class: str) -> None:
    refresh_sight.count_failed_mint(error_class)
    logger.error("mint failed", project=row.project, client=row.client, error_class=error_class)


def _send_soon() -> None:
    """Short-lived tokens do not wait for the minute's tick: their unit gets a message in time."""
    for unit, due_at in next_due.items():
        wait = due_at - int(time.time())
        if wait < SOON_SECONDS:
            _send(unit, delay_seconds=max(wait, 0))
    next_due.clear()


def _send(unit: Unit, *, delay_seconds: int) -> None:
    """Best effort: the rows are due, so the next tick sends the same."""
    try:
        sqs().send_message(
            QueueUrl=queue_url,
            MessageBody=msgspec.json.encode(unit).decode(),
            DelaySeconds=delay_seconds,
            MessageGroupId=unit.project,
        )
    except (ClientError, BotoCoreError) as error:
        logger.warning("message not sent", error=type(error).__name__)
