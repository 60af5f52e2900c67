"""RefreshTokensFunction: gives runners new tokens before the old ones die.

queue → unit of work → lease → due runners, earliest deadline first → mint, put, commit. A message
names a unit and nothing else; one that comes twice, late or beside another finds nothing to do.
"""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from traceback import extract_tb
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

import refresh_sight
from byline.aws import dynamodb, error_name, secrets_manager, sqs
from byline.fetch import fetch, post
from byline.refresh_timing import SOON_SECONDS
from byline.refresh_units import Unit, shards
from byline.runner_rows import RunnerRow
from byline.settings import required, whole_number
from client_states import ClientStates
from client_store import ClientStore
from mint import Mint
from refresh_unit import Report, UnitRefresher
from runner_sweep import Sweeper
from runner_table import RunnerTable
from token_writer import TokenWriter
from unit_lease import UnitLeases
from unit_mints import UnitMints
from unit_turns import UNITS_AT_ONCE, take_turns
from write_limiter import WriteLimiter

RESERVE_SECONDS = 10
"""Kept back from the function's time limit: the batch under way with its slowest calls."""

PUTS_AT_ONCE = 8
"""At 20 ms a put far above one worker's share of the account's writes."""

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
next_due_lock = Lock()
unit_threads = ThreadPoolExecutor(UNITS_AT_ONCE)
put_threads = ThreadPoolExecutor(PUTS_AT_ONCE)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Refresh the units of a batch, in turns, until all are done or time is nearly over.

    What is not done by then goes back to the queue as a new message. Returns the messages whose
    units met an error, to be delivered again: one unit's trouble is no other's.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
    """
    logger.append_keys(request_id=context.aws_request_id)
    end = time.time() + context.get_remaining_time_in_millis() / 1000
    messages = _messages(event["Records"])
    refresher = _refresher(owner=context.aws_request_id)
    turns = take_turns(
        messages,
        refresh=lambda unit, until: refresher.refresh(unit, until=until, lease_until=end),
        failed=_unit_failed,
        threads=unit_threads,
        now=time.time,
        end=end - RESERVE_SECONDS,
    )
    for unit in turns.waiting:
        _send(unit, delay_seconds=0)
    _send_soon()
    refresh_sight.flush()
    failed = [message_id for unit in turns.failed for message_id in messages[unit]]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _messages(records: list[dict[str, Any]]) -> dict[Unit, list[str]]:
    """The units that are named, each with its messages: one that comes twice is worked on once.

    What is no message of ours is passed over, and so not delivered again: nobody can use it.
    """
    messages: dict[Unit, list[str]] = {}
    for record in records:
        try:
            unit = msgspec.json.decode(record["body"], type=Unit)
        except (msgspec.MsgspecError, UnicodeError):
            unit = None
        if unit is None or unit.shard not in shards() or not unit.project:
            logger.error("message not understood", message_id=record["messageId"])
            refresh_sight.count("MessageNotUnderstood")
            continue
        messages.setdefault(unit, []).append(record["messageId"])
    return messages


def _unit_failed(unit: Unit, error: Exception) -> None:
    logger.error(
        "unit not refreshed",
        shard=unit.shard,
        project=unit.project,
        error=error_name(error),
        # In place of a traceback, which ends with the message: that may quote what was worked on.
        at=[f"{Path(at.filename).name}:{at.lineno}" for at in extract_tb(error.__traceback__)],
    )


def _refresher(*, owner: str) -> UnitRefresher:
    clients = ClientStore(secrets_manager())
    runners = RunnerTable(dynamodb(), table)
    writer = TokenWriter(secrets_manager(), limiter=limiter)
    return UnitRefresher(
        runners=runners,
        writer=writer,
        sweeper=Sweeper(
            runners=runners,
            writer=writer,
            clients=clients,
            mint=mint,
            threads=put_threads,
            now=time.time,
        ),
        mints=UnitMints(
            mint=mint,
            clients=clients,
            states=ClientStates(dynamodb(), table),
            now=time.time,
            random=random.random,
        ),
        leases=UnitLeases(dynamodb(), table, owner=owner),
        threads=put_threads,
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
    _note_next_due(row)


def _runner_postponed(row: RunnerRow, error_class: str) -> None:
    refresh_sight.count_postponed(error_class)
    logger.warning(
        "refresh postponed", project=row.project, runner=row.runner, error_class=error_class
    )
    _note_next_due(row)


def _mint_failed(row: RunnerRow, error_class: str) -> None:
    refresh_sight.count_failed_mint(error_class)
    logger.error("mint failed", project=row.project, client=row.client, error_class=error_class)


def _note_next_due(row: RunnerRow) -> None:
    if row.shard is not None and row.due_at is not None:
        unit = Unit(shard=row.shard, project=row.project)
        with next_due_lock:
            next_due[unit] = min(row.due_at, next_due.get(unit, row.due_at))


def _send_soon() -> None:
    """Short-lived tokens and quick retries do not wait for the tick: their units get a message."""
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
        logger.warning("message not sent", error=error_name(error))
