"""RefreshTokensFunction: replaces tokens before they expire.

refresh queue → work unit → lease → due tokens, earliest deadline first → mint, write, commit. A
message names a work unit and which of its tokens are meant. A message that is delivered twice, late
or beside another one finds nothing to do.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import (
    dynamodb,
    error_name,
    error_places,
    secrets_manager,
    sqs,
)
from byline.fetch import fetch, post
from byline.metrics import Metrics, failing_without_text
from byline.refresh.hints import hint_of
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import MintKey, SecretNames, WorkUnit, message_body, read_batch
from byline.settings import required, secret_prefix, whole_number
from byline.tables.rows import rfc3339
from refresh_tokens.clients import ClientMints, ClientStates, ClientStore
from refresh_tokens.minting import Mint
from refresh_tokens.refresher import (
    UNITS_AT_ONCE,
    DueSoonUnits,
    Refresher,
    RefreshReport,
    SliceOutcome,
    run_time_slices,
)
from refresh_tokens.sweeper import Sweeper
from refresh_tokens.token_table import TokenTable, WorkUnitLeases
from refresh_tokens.token_writer import TokenWriter, WriteLimiter

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

RESERVE_SECONDS = 10
"""Kept back from the function's time limit: the batch in progress with its slowest calls."""

WRITES_AT_ONCE = 8
"""Threads that write. At 20 ms a write they are far above one worker's share of writes."""


def build(environ: Mapping[str, str]) -> Callable[[dict[str, Any], LambdaContext], dict[str, Any]]:
    """RefreshTokensFunction's handler, with its clients, stores, threads and settings.

    Raises `Misconfigured` where a variable is missing or wrong.
    """
    table = required(environ, "RUNNERS_TABLE")
    queue_url = required(environ, "REFRESH_QUEUE_URL")
    pace = whole_number(environ, "WRITES_PER_SECOND", default=20, least=1)
    lifetime = whole_number(environ, "DEFAULT_TOKEN_LIFETIME", default=300, least=60)
    names = SecretNames(secret_prefix(environ))
    service = required(environ, "POWERTOOLS_SERVICE_NAME")
    threads = ThreadPoolExecutor(WRITES_AT_ONCE)
    tokens = TokenTable(dynamodb(), table)
    states = ClientStates(dynamodb(), table)
    clients = ClientStore(secrets_manager(), names=names)
    limiter = WriteLimiter(pace, now=time.monotonic, sleep=time.sleep)
    writer = TokenWriter(
        secrets_manager(),
        names=names,
        limiter=limiter,
        kms_key=environ.get("SECRETS_KMS_KEY", ""),
    )
    logger = Logger(service="byline")

    def warn(key: MintKey, detail: str) -> None:
        logger.warning("unusual answer", project=key.project, client=key.client, detail=detail)

    mint = Mint(post=post, fetch=fetch, now=time.time, default_lifetime=lifetime, warn=warn)
    sweeper = Sweeper(
        tokens=tokens,
        writer=writer,
        clients=clients,
        mint=mint,
        threads=threads,
        now=time.time,
    )

    def new_refresher(owner: str, report: RefreshReport) -> Refresher:
        return Refresher(
            tokens=tokens,
            writer=writer,
            sweeper=sweeper,
            mints=ClientMints(
                mint=mint, clients=clients, states=states, now=time.time, random=random.random
            ),
            leases=WorkUnitLeases(dynamodb(), table, owner=owner),
            threads=threads,
            report=report,
            now=time.time,
            random=random.random,
        )

    worker = RefreshWorker(
        new_refresher=new_refresher,
        threads=ThreadPoolExecutor(UNITS_AT_ONCE),
        due_soon=DueSoonUnits(now=time.time),
        sqs=sqs(),
        queue_url=queue_url,
        metrics=Metrics(service),
        logger=logger,
    )
    return failing_without_text(worker.refresh_batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshWorker:
    """Handles invocations. `new_refresher`: makes the refresher of one lease owner."""

    new_refresher: Callable[[str, RefreshReport], Refresher]
    threads: Executor
    due_soon: DueSoonUnits
    sqs: "SQSClient"
    queue_url: str
    metrics: Metrics
    logger: Logger

    def refresh_batch(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Refresh the work units of a batch of messages until all are done or time is nearly over.

        What is not done by then is due at the next tick, with the earliest deadlines. A message
        that was sent back instead would cause another mint before others had their time.
        Returns the messages whose work units met an error, for delivery again.
        https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
        """
        self.logger.append_keys(request_id=context.aws_request_id)
        end = time.time() + context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
        batch = read_batch(event["Records"], unreadable=self._unreadable)
        refresher = self.new_refresher(context.aws_request_id, self._report())

        def refresh(work_unit: WorkUnit, until: float) -> SliceOutcome:
            selection = batch[work_unit]
            return refresher.refresh(
                work_unit,
                up_to=selection.up_to,
                due_by=selection.due_by,
                # The planner has limited this work already, so that earlier deadlines come first.
                until=until if selection.up_to is None else end,
            )

        failed = run_time_slices(
            batch,
            refresh=refresh,
            failed=self._work_unit_failed,
            threads=self.threads,
            now=time.time,
            end=end,
        )
        self._send_soon()
        self.metrics.flush()
        again = [message_id for work_unit in failed for message_id in batch[work_unit].message_ids]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}

    def _report(self) -> RefreshReport:
        return RefreshReport(
            token_refreshed=self._token_refreshed,
            token_failed=self._token_failed,
            mint_failed=self._mint_failed,
            unexpected_error=self._unexpected_error,
            sweep_failed=self._sweep_failed,
        )

    def _unreadable(self, message_id: str) -> None:
        self.logger.error("message not readable", message_id=message_id)
        self.metrics.count("MessageNotUnderstood")

    def _work_unit_failed(self, work_unit: WorkUnit, error: Exception) -> None:
        self.logger.error(
            "work unit failed",
            shard=work_unit.shard,
            project=work_unit.project,
            **_origin(error),
        )

    def _token_refreshed(self, row: TokenRow) -> None:
        self.metrics.count("Refreshed")
        self.due_soon.note(row)

    def _token_failed(self, row: TokenRow) -> None:
        self.metrics.count("Postponed")
        if row.last_error is not None and row.last_error.error_class == "store_throttled":
            self.metrics.count("StoreThrottled")
        self.logger.warning("refresh failed", **_token(row), **_failure(row))
        self.due_soon.note(row)

    def _mint_failed(self, row: TokenRow) -> None:
        failure = _failure(row)
        # The client is in the log only: as a dimension, each would be a metric that costs.
        self.metrics.count("MintFailed", error_class=failure["error_class"])
        self.logger.error("mint failed", **_token(row), **failure)

    def _unexpected_error(self, row: TokenRow, error: Exception) -> None:
        self.metrics.count("UnexpectedError")
        self.logger.error("unexpected error", **_token(row), **_origin(error))

    def _sweep_failed(self, row: TokenRow, error: Exception) -> None:
        self.metrics.count("SweepFailed")
        self.logger.error("sweep failed", **_token(row), **_origin(error))

    def _send_soon(self) -> None:
        """Send messages for the tokens that are due before the next tick may come.

        Best effort: the rows are due, so the next tick sends the same.
        """
        for soon in self.due_soon.take():
            try:
                self.sqs.send_message(
                    QueueUrl=self.queue_url,
                    MessageBody=message_body(soon.work_unit, deadline=soon.deadline),
                    DelaySeconds=max(soon.due_at - int(time.time()), 0),
                    MessageGroupId=soon.work_unit.project,
                )
            except (ClientError, BotoCoreError) as error:
                self.logger.warning("message not sent", error=error_name(error))


def _token(row: TokenRow) -> dict[str, Any]:
    """Which token a log line is about."""
    return {"project": row.project, "client": row.client, "token": row.id}


def _failure(row: TokenRow) -> dict[str, Any]:
    """Why the token was not refreshed, what to do, since when, and when it is tried again."""
    failure = row.last_error
    if failure is None:
        return {}
    return {
        "error_class": failure.error_class,
        "detail": failure.detail,
        "hint": hint_of(failure.error_class),
        "since": rfc3339(failure.since),
        "next_try_at": rfc3339(row.try_at or 0),
    }


def _origin(error: Exception) -> dict[str, Any]:
    """The name of an error, and the places in the code that it came through."""
    return {"error": error_name(error), "at": error_places(error)}


handler = build(os.environ)
