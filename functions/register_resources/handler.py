"""RegisterResourcesFunction: registers runs with the organisation's authorization service.

stream of RunsTable ─┐
every five minutes ──┴─ read the run's row → take its claim → POST → clear the outbox entry

The stream makes registration fast. The pass over the index makes it certain: it finds every pending
registration that a stream event did not settle.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import dynamodb, error_name
from byline.errors import Misconfigured
from byline.metrics import Metrics, failing_without_text
from byline.registration.answers import ErrorClass
from byline.registration.authorization_service import AuthorizationService, authorization_service
from byline.registration.counters import Operation
from byline.registration.outbox import SHARDS
from byline.registration.principals import PrincipalShape, shape_of
from byline.registration.settings import RegistrationSettings
from byline.settings import required
from byline.tables.rows import rfc3339
from register_resources.backlog import CONCURRENCY, Backlog, Ended
from register_resources.claims import RunClaims
from register_resources.pause import ServicePause
from register_resources.pending import IndexEntry, PendingRegistrations, RunKey
from register_resources.registrar import SKEW_SECONDS, TABLE_ERRORS, Registrar

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

RESERVE_SECONDS = 10
"""The part of the function's time that is left for the last writes to the table."""

BUSY_SECONDS = 1.0
"""The wait before a second look at a run that another worker was settling."""

type Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


def build(environ: Mapping[str, str]) -> Handler:
    """The function's handler, from its environment. Raises `Misconfigured`."""
    settings = RegistrationSettings.from_environment(environ)
    if not settings.url:
        raise Misconfigured("AUTHORIZATION_SERVICE_URL", "is not set")
    metrics = Metrics(required(environ, "POWERTOOLS_SERVICE_NAME"))
    return failing_without_text(
        RegisterResources(
            dynamodb(),
            required(environ, "RUNS_TABLE"),
            service=authorization_service(settings, metrics=metrics),
            shape=shape_of(settings),
            metrics=metrics,
        )
    )


class RegisterResources:
    """The function: settles the runs of a batch of the stream, or all pending ones."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        service: AuthorizationService,
        shape: PrincipalShape,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._table = table
        self._service = service
        self._metrics = metrics
        self._pending = PendingRegistrations(client, table, shape=shape)
        self._pause = ServicePause(client, table)
        self._threads = ThreadPoolExecutor(CONCURRENCY)
        self._logger = Logger(service="byline")

    def __call__(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Settle the runs that the event's `Records` name; without records, make a pass.

        A pass skips the registrations that the service has refused. `{"backfill": true}` makes a
        pass that tries those again too.
        https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
        """
        self._logger.append_keys(request_id=context.aws_request_id)
        end = time.time() + context.get_remaining_time_in_millis() / 1000
        try:
            with self._pause.kept_for(self._service, now=time.time):
                if "Records" in event:
                    return self._settle_batch(event["Records"], end=end)
                with_refused = event.get("backfill") is True
                return self._make_pass(lambda entry: with_refused or not entry.is_refused, end=end)
        finally:
            self._metrics.flush()

    def _settle_batch(self, records: list[dict[str, Any]], *, end: float) -> dict[str, Any]:
        """Settle each run that a record names; returns the records that Lambda is to deliver again.

        Those are the ones for which the table failed. After a failure of the service the
        registration is left to the next pass.
        """
        numbers: dict[RunKey, list[str]] = {}
        for record in records:
            change = record["dynamodb"]
            numbers.setdefault(RunKey.of(change["Keys"]), []).append(change["SequenceNumber"])
        settle = partial(self._settle, end=end)
        results = dict(zip(numbers, self._threads.map(settle, numbers), strict=True))
        if busy := [key for key, result in results.items() if result == "busy"]:
            # The other worker may have read the row before this record's change.
            time.sleep(BUSY_SECONDS)
            results |= zip(busy, self._threads.map(settle, busy), strict=True)
        failed = [
            number
            for key, result in results.items()
            if isinstance(result, Exception)
            for number in numbers[key]
        ]
        return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}

    def _make_pass(self, is_due: Callable[[IndexEntry], bool], *, end: float) -> dict[str, int]:
        """Settle all pending registrations that are due, and report how many are left.

        A shard of the index that cannot be read raises its error after the other shards are done.
        """
        self._metrics.count("RegistrationPasses")
        backlog = Backlog()
        unread: list[Exception] = []
        now = rfc3339(time.time())
        for shard in random.sample(SHARDS, len(SHARDS)):
            try:
                backlog.add(self._pending.list_shard(shard, now=now), is_due=is_due)
            except (ClientError, BotoCoreError) as error:
                self._logger.error("shard not read", shard=shard, error=error_name(error))
                unread.append(error)
        random.shuffle(backlog.due)
        # First the runs without an error: runs that always fail do not end a pass before them.
        backlog.due.sort(key=lambda entry: bool(entry.error))
        results = list(
            backlog.settle_due(
                settle=partial(self._settle, end=end),
                threads=self._threads,
                now=time.time,
                until=end - RESERVE_SECONDS,
            )
        )
        if unread:
            # The counts are incomplete, so they are not reported.
            raise unread[0]
        self._report_left(backlog)
        return {
            "registered": results.count("registered"),
            "deregistered": results.count("deregistered"),
            "revoked": results.count("revoked"),
            "pending": backlog.pending,
        }

    def _report_left(self, backlog: Backlog) -> None:
        oldest = backlog.oldest_left
        age = 0.0 if oldest is None else time.time() - datetime.fromisoformat(oldest).timestamp()
        self._metrics.report("PendingRegistrations", backlog.pending)
        self._metrics.report("PendingRevocations", backlog.revocations)
        self._metrics.report("RefusedRegistrations", backlog.refused)
        self._metrics.report("OldestPendingAge", int(age), MetricUnit.Seconds)

    def _settle(self, key: RunKey, *, end: float) -> Ended:
        # A new owner each time: a repeated invocation is not its dead predecessor.
        claims = RunClaims(self._client, self._table, owner=str(uuid4()))
        registrar = Registrar(
            self._pending, claims, self._service, failed=self._log_failure, now=time.time
        )
        try:
            return registrar.settle(
                key, until=end - RESERVE_SECONDS, claim_until=end + SKEW_SECONDS
            )
        except TABLE_ERRORS as error:
            self._logger.error(
                "run not settled", project=key.project, run=key.run, error=error_name(error)
            )
            return error

    def _log_failure(self, key: RunKey, operation: Operation, error_class: ErrorClass) -> None:
        self._logger.error(
            "registration failed",
            project=key.project,
            run=key.run,
            operation=operation,
            error_class=error_class,
        )


handler = build(os.environ)
