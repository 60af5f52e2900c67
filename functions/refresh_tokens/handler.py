"""RefreshTokensFunction: gives runners new tokens before the old ones die.

queue → unit of work → lease → due runners, earliest deadline first → mint, put, commit. A message
names a unit and which of its runners are meant; one that comes twice, late or beside another
finds nothing to do.
"""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from traceback import extract_tb
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import dynamodb, error_name, secrets_manager, sqs
from byline.fetch import fetch, post
from byline.refresh.messages import message_body
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import Unit
from byline.settings import required, whole_number
from refresh_tokens import metrics as refresh_sight
from refresh_tokens.clients.states import ClientStates
from refresh_tokens.clients.store import ClientStore
from refresh_tokens.minting.mint import Mint
from refresh_tokens.runner_table import RunnerTable
from refresh_tokens.token_writer import TokenWriter
from refresh_tokens.work.batches import read_batch
from refresh_tokens.work.due_soon import DueSoon
from refresh_tokens.work.leases import UnitLeases
from refresh_tokens.work.mints import UnitMints
from refresh_tokens.work.refresher import Outcome, Report, UnitRefresher
from refresh_tokens.work.sweeper import Sweeper
from refresh_tokens.work.time_slices import UNITS_AT_ONCE, take_turns
from refresh_tokens.write_limiter import WriteLimiter

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
due_soon = DueSoon(now=time.time)
unit_threads = ThreadPoolExecutor(UNITS_AT_ONCE)
put_threads = ThreadPoolExecutor(PUTS_AT_ONCE)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Refresh the units of a batch, in turns, until all are done or time is nearly over.

    What is not done by then is due, and earliest, at the next tick: sent again it would be minted
    for again, before others had their turn. Returns the messages whose units met an error, to be
    delivered again: one unit's trouble is no other's.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
    """
    logger.append_keys(request_id=context.aws_request_id)
    end = time.time() + context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
    batch = read_batch(event["Records"], not_understood=_not_understood)
    refresher = _refresher(owner=context.aws_request_id)

    def refresh(unit: Unit, until: float) -> Outcome:
        wanted = batch[unit]
        return refresher.refresh(
            unit,
            up_to=wanted.up_to,
            due_by=wanted.due_by,
            # The planner has bounded such a turn already, so that earlier deadlines come first.
            until=until if wanted.up_to is None else end,
        )

    failed = take_turns(
        batch,
        refresh=refresh,
        failed=_unit_failed,
        threads=unit_threads,
        now=time.time,
        end=end,
    )
    _send_soon()
    refresh_sight.flush()
    again = [message_id for unit in failed for message_id in batch[unit].message_ids]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}


def _not_understood(message_id: str) -> None:
    logger.error("message not understood", message_id=message_id)
    refresh_sight.count("MessageNotUnderstood")


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
    due_soon.note(row)


def _runner_postponed(row: RunnerRow, error_class: str) -> None:
    refresh_sight.count_postponed(error_class)
    logger.warning(
        "refresh postponed", project=row.project, runner=row.runner, error_class=error_class
    )
    due_soon.note(row)


def _mint_failed(row: RunnerRow, error_class: str) -> None:
    refresh_sight.count_failed_mint(error_class)
    logger.error("mint failed", project=row.project, client=row.client, error_class=error_class)


def _send_soon() -> None:
    """Let what cannot wait for the tick have a message in time, for its own deadlines alone.

    Best effort: the rows are due, so the next tick sends the same.
    """
    for soon in due_soon.take():
        try:
            sqs().send_message(
                QueueUrl=queue_url,
                MessageBody=message_body(soon.unit, deadline=soon.deadline),
                DelaySeconds=max(soon.due_at - int(time.time()), 0),
                MessageGroupId=soon.unit.project,
            )
        except (ClientError, BotoCoreError) as error:
            logger.warning("message not sent", error=error_name(error))
