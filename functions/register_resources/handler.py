"""RegisterResourcesFunction: tells the organisation's authorization service of runs and their end.

stream of the table ─┐
every five minutes ──┴─ row as it is now → claim → POST → mark off. The stream makes it quick, and
the index of marked rows makes it certain: what an event did not achieve, the next pass does.
"""

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import dynamodb, error_name
from byline.errors import Misconfigured
from byline.fetch import post_json
from byline.registration.authorization_service import AuthorizationService, ErrorClass, Operation
from byline.registration.outbox import SHARDS
from byline.settings import base_url, required
from register_resources import metrics as registration_sight
from register_resources.backlog import AT_ONCE, Backlog, Ended
from register_resources.claims import Claims
from register_resources.pending_rows import RunKey, UnregisteredRows, Waiting
from register_resources.registrar import Registrar

RESERVE_SECONDS = 10
"""Kept back from the function's time limit: for noting how the last calls ended."""

SKEW_SECONDS = 5
"""Other workers' clocks may be so far ahead: a claim outlasts its holder by it."""

BUSY_SECONDS = 1.0
"""After it another worker, which had a run before us, is likely done with it."""

logger = Logger(service="byline")
table = required(os.environ, "RUNS_TABLE")
url = base_url(os.environ, "AUTHORIZATION_SERVICE_URL")
if not url:
    raise Misconfigured("AUTHORIZATION_SERVICE_URL", "is not set")
threads = ThreadPoolExecutor(AT_ONCE)
service = AuthorizationService(
    url,
    post=post_json,
    now=time.time,
    sleep=time.sleep,
    random=random.random,
    count=registration_sight.count,
)
rows = UnregisteredRows(dynamodb(), table)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Settle the runs of a batch of the stream; or, without one, all that wait.

    `{"backfill": true}` asks again for those too that the service has refused.
    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
    """
    logger.append_keys(request_id=context.aws_request_id)
    end = time.time() + context.get_remaining_time_in_millis() / 1000
    try:
        if "Records" in event:
            return _deliver(event["Records"], end=end)
        return _make_pass(_is_anything if event.get("backfill") is True else _is_hopeful, end=end)
    finally:
        registration_sight.flush()


def _deliver(records: list[dict[str, Any]], *, end: float) -> dict[str, Any]:
    """Settle each run that is named; what the service does not take waits for the next pass.

    Only where the table itself fails are records delivered again.
    """
    numbers: dict[RunKey, list[str]] = {}
    for record in records:
        change = record["dynamodb"]
        numbers.setdefault(RunKey.of(change["Keys"]), []).append(change["SequenceNumber"])
    settle = partial(_settle, end=end)
    ended = dict(zip(numbers, threads.map(settle, numbers), strict=True))
    if busy := [key for key, result in ended.items() if result == "busy"]:
        # Another worker may have looked before the change that we are told of.
        time.sleep(BUSY_SECONDS)
        ended |= zip(busy, threads.map(settle, busy), strict=True)
    failed = [
        number
        for key, result in ended.items()
        if isinstance(result, Exception)
        for number in numbers[key]
    ]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


def _make_pass(is_due: Callable[[Waiting], bool], *, end: float) -> dict[str, int]:
    """Settle all that waits and is due, and tell what is left.

    Raises where a shard of the index could not be read, after the others.
    """
    registration_sight.count_pass()
    backlog = Backlog()
    unread: list[Exception] = []
    for shard in random.sample(SHARDS, len(SHARDS)):
        try:
            backlog.see(rows.waiting(shard), is_due=is_due)
        except (ClientError, BotoCoreError) as error:
            logger.error("shard not read", shard=shard, error=error_name(error))
            unread.append(error)
    random.shuffle(backlog.due)
    ends = list(
        backlog.work_off(
            settle=partial(_settle, end=end),
            threads=threads,
            now=time.time,
            until=end - RESERVE_SECONDS,
        )
    )
    if unread:
        # What was not read is not told as told.
        raise unread[0]
    registration_sight.report_left(
        pending=backlog.pending,
        refused=backlog.refused,
        oldest_age=0.0 if backlog.oldest_left is None else _age(backlog.oldest_left),
    )
    return {
        "registered": ends.count("registered"),
        "deregistered": ends.count("deregistered"),
        "pending": backlog.pending,
    }


def _settle(key: RunKey, *, end: float) -> Ended:
    try:
        return _registrar().settle(key, until=end - RESERVE_SECONDS, claim_until=end + SKEW_SECONDS)
    except (ClientError, BotoCoreError) as error:
        logger.error("run not settled", project=key.project, run=key.run, error=error_name(error))
        return error


def _registrar() -> Registrar:
    # An owner for each run: an invocation that Lambda repeats is not its dead predecessor.
    claims = Claims(dynamodb(), table, owner=str(uuid4()))
    return Registrar(rows, claims, service, failed=_failed, now=time.time)


def _failed(key: RunKey, operation: Operation, error_class: ErrorClass) -> None:
    logger.error(
        "registration failed",
        project=key.project,
        run=key.run,
        operation=operation,
        error_class=error_class,
    )


def _is_hopeful(row: Waiting) -> bool:
    return not row.is_refused


def _is_anything(_: Waiting) -> bool:
    return True


def _age(since: str) -> float:
    return time.time() - datetime.fromisoformat(since).timestamp()
