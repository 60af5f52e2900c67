"""Workers with AWS and its limits, an issuer, and a clock that the test moves."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from copy import replace
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import uuid4

from byline.aws import error_name
from byline.fetch import fetch
from byline.fetch import post as send
from byline.refresh.runner_rows import RunnerRow, read_runner, runner_item, runner_key
from byline.refresh.work_units import WorkUnit, version_token
from byline.secret_names import SecretNames
from refresh_tokens.clients import ClientStates, ClientStore
from refresh_tokens.minting import Mint
from refresh_tokens.refresher import Refresher, RefreshReport
from refresh_tokens.runner_table import RunnerTable, WorkUnitLeases
from refresh_tokens.shared_mints import SharedMints
from refresh_tokens.sweeper import Sweeper
from refresh_tokens.time_slices import SliceOutcome
from refresh_tokens.token_writer import TokenWriter, WriteLimiter
from stand_ins.aws_server import AwsServer, serve_aws
from stand_ins.clock import Clock
from stand_ins.secret_store import Behaviour
from tests.refresh.token_issuer import RegisteredClient, TokenIssuer, serve_issuer
from tests.runs.table_server import ACCESS_TABLE, table_definition

TABLE = "RunnersTable"
SECRETS = SecretNames("stage")
"""The names of secrets in the tests."""
CLIENT = RegisteredClient("scheduler", "client_secret_basic", "S3CRET-of-scheduler")
SLICE_SECONDS = 50
LEASE_SECONDS = 60
"""Longer than any lease: the lease of a worker that died has expired."""


class Crash(BaseException):
    """The worker's process ends."""


@dataclass
class Worker:
    """One worker, and what it reported."""

    refresher: Refresher
    clients: list[Any]
    now: Clock
    refreshed: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    failed_mints: list[str] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    unexpected: list[tuple[str, str]] = field(default_factory=list)
    failed_sweeps: list[tuple[str, str]] = field(default_factory=list)

    def refresh(
        self, unit: WorkUnit, *, up_to: int | None = None, due_by: int | None = None
    ) -> SliceOutcome:
        now = self.now()
        return self.refresher.refresh(unit, up_to=up_to, due_by=due_by, until=now + SLICE_SECONDS)

    def crash_at(self, step: int) -> "CallCounter":
        """End the worker before its call number `step` // 2, or for an odd step after it."""
        counter = CallCounter(step)
        for client in self.clients:
            client.meta.events.register("before-send", counter.before)
            client.meta.events.register("after-call", counter.after)
            client.meta.events.register("after-call-error", counter.after)
        return counter


class CallCounter:
    """Notes the begin and end of a worker's calls, and stops all calls from the fatal one on."""

    def __init__(self, fatal: int | None) -> None:
        self.edges: list[str] = []
        self.is_dead = False
        self._fatal = fatal

    def before(self, event_name: str, **_: Any) -> None:
        self._pass(event_name)

    def after(self, event_name: str, **_: Any) -> None:
        self._pass(event_name)

    def _pass(self, event_name: str) -> None:
        if len(self.edges) == self._fatal:
            self.is_dead = True
        if self.is_dead:
            raise Crash
        self.edges.append(event_name.rpartition(".")[2])


@dataclass
class World:
    """AWS, an issuer, and registered runners."""

    aws: AwsServer
    issuer: TokenIssuer
    clock: Clock
    threads: Executor
    names: SecretNames = SECRETS

    @cached_property
    def dynamodb(self) -> Any:
        """A client for the test itself: it meets no fault and is not counted."""
        return self.aws.observer("dynamodb")

    @cached_property
    def secrets_manager(self) -> Any:
        """The same for Secrets Manager."""
        return self.aws.observer("secretsmanager")

    def register(self, runner: str, *, project: str = "payments", **changes: Any) -> RunnerRow:
        """Register a runner, which is due now."""
        now = int(self.clock())
        values: dict[str, Any] = {"client": "scheduler", "revision": str(uuid4()), **changes}
        row = RunnerRow(
            project=project,
            runner=runner,
            generation=now * 1000,
            deadline=now,
            due_at=now,
            created_at="2026-11-22T16:20:11.123Z",
            updated_at="2026-11-22T16:20:11.123Z",
            **values,
        )
        row = replace(row, shard=row.work_unit.shard)
        self.put(row)
        return row

    def give_client(
        self,
        client: str = "scheduler",
        *,
        project: str = "payments",
        names: SecretNames | None = None,
        **changes: Any,
    ) -> None:
        """Write the secret of a client that the issuer knows, under the name `client`.

        `names`: those of another deployment of the world.
        """
        secret = {
            "token_endpoint": f"{self.issuer.url}/token",
            "client_id": CLIENT.client_id,
            "auth_method": CLIENT.auth_method,
            "client_secret": CLIENT.secret,
            **changes,
        }
        self.aws.secrets.seed((names or self.names).client(project, client), json.dumps(secret))

    def put(self, row: RunnerRow) -> None:
        self.dynamodb.put_item(TableName=TABLE, Item=runner_item(row))

    def row(self, runner: str, *, project: str = "payments") -> RunnerRow | None:
        answer = self.dynamodb.get_item(TableName=TABLE, Key=runner_key(project, runner))
        return read_runner(answer["Item"]) if "Item" in answer else None

    def delete(self, row: RunnerRow) -> RunnerRow:
        """Delete a runner as the route does: its row moves to the deleted ones, due for a sweep."""
        now = int(self.clock())
        deleted = replace(row, deleted_at=now, due_at=now, deleted_by="{}", revision="deletion")
        client = self.dynamodb
        client.delete_item(TableName=TABLE, Key=row.key)
        client.put_item(TableName=TABLE, Item=runner_item(deleted))
        return deleted

    def token(self, row: RunnerRow) -> dict[str, Any]:
        """The token of the row's slot and generation."""
        assert row.slot is not None
        name = self.names.token(row.project, row.runner, row.slot)
        answer = self.secrets_manager.get_secret_value(
            SecretId=name, VersionId=version_token(name, row.generation)
        )
        value: dict[str, Any] = json.loads(answer["SecretString"])
        return value

    def current(self, name: str) -> dict[str, Any]:
        answer = self.secrets_manager.get_secret_value(SecretId=name)
        value: dict[str, Any] = json.loads(answer["SecretString"])
        return value

    def rows(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.dynamodb.scan(TableName=TABLE)["Items"]
        return items

    def worker(
        self,
        *,
        pace: WriteLimiter | None = None,
        skew: float = 0,
        **config: Any,
    ) -> Worker:
        """A worker with its own clients and lease owner. `skew`: how far its clock is ahead.

        `pace`: its write limiter, by default a fast one. `config`: of its AWS clients, which by
        default wait long and do not retry.
        """
        dynamodb = self.aws.client("dynamodb", **config)
        secrets = self.aws.client("secretsmanager", max_pool_connections=8, **config)
        clients = ClientStore(secrets, names=self.names)
        states = ClientStates(dynamodb, TABLE)

        def now() -> float:
            return self.clock() + skew

        mint = Mint(
            post=lambda url, **request: send(url, timeout_seconds=5.0, **request),
            fetch=fetch,
            now=now,
            default_lifetime=300,
            warn=lambda key, detail: worker.warnings.append((key.client, detail)),
        )
        limiter = pace or WriteLimiter(1_000, now=time.monotonic, sleep=time.sleep)
        runners = RunnerTable(dynamodb, TABLE)
        writer = TokenWriter(secrets, names=self.names, limiter=limiter, kms_key="")
        refresher = Refresher(
            runners=runners,
            writer=writer,
            sweeper=Sweeper(
                runners=runners,
                writer=writer,
                clients=clients,
                mint=mint,
                threads=self.threads,
                now=now,
            ),
            mints=SharedMints(
                mint=mint, clients=clients, states=states, now=now, random=lambda: 0.5
            ),
            leases=WorkUnitLeases(dynamodb, TABLE, owner=str(uuid4())),
            threads=self.threads,
            report=RefreshReport(
                runner_refreshed=lambda row: worker.refreshed.append(row.runner),
                runner_failed=lambda row, error: worker.failed.append((row.runner, error)),
                mint_failed=lambda _, error: worker.failed_mints.append(error),
                unexpected_error=lambda row, error: worker.unexpected.append(
                    (row.runner, type(error).__name__)
                ),
                sweep_failed=lambda row, error: worker.failed_sweeps.append(
                    (row.runner, error_name(error))
                ),
            ),
            now=now,
            random=lambda: 0.5,
        )
        worker = Worker(refresher, [dynamodb, secrets], self.clock)
        return worker

    def catch_up(self) -> None:
        """Move the test's clock past the real one, so that what the functions wrote is due.

        It always moves by a second at least, because AWS's quotas are per second of this clock.
        """
        self.clock.advance(max(1.0, time.time() + 1 - self.clock()))

    def mints(self) -> int:
        return sum(request.path == "/token" for request in self.issuer.received)


@contextmanager
def new_world(
    *,
    lifetime: int = 900,
    behaviour: Behaviour | None = None,
    clock: Clock | None = None,
    names: SecretNames = SECRETS,
) -> Iterator[World]:
    """A world with its tables, and an issuer of opaque tokens."""
    clock = clock or Clock(float(int(time.time())))
    quiet = behaviour or Behaviour()
    with (
        serve_issuer(CLIENT) as issuer,
        serve_aws(clock=clock, behaviour=quiet) as aws,
        ThreadPoolExecutor(8) as threads,
    ):
        issuer.opaque = True
        issuer.lifetime = lifetime
        make_tables(aws)
        world = World(aws, issuer, clock, threads, names)
        world.give_client()
        yield world


def make_tables(aws: AwsServer) -> None:
    """Create RunnersTable and AccessTable as in the template."""
    for table in (TABLE, ACCESS_TABLE):
        aws.observer("dynamodb").create_table(**table_definition(table))
