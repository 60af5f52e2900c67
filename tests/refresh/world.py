"""Workers with AWS and its limits, an issuer, and a clock that the test moves."""

import json
import time
from collections.abc import Iterable, Iterator
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
from byline.refresh.token_rows import TokenRow, read_token_row, token_item
from byline.refresh.work_units import MintKey, SecretNames, WorkUnit, version_token
from byline.tables.rows import Item
from refresh_tokens.clients import ClientMints, ClientStates, ClientStore
from refresh_tokens.minting import Mint
from refresh_tokens.refresher import Refresher, RefreshReport, SliceOutcome
from refresh_tokens.sweeper import Sweeper
from refresh_tokens.token_table import TokenTable, WorkUnitLeases
from refresh_tokens.token_writer import TokenWriter, WriteLimiter
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration
from serve_runs.runners.store import RunnerStore
from stand_ins.aws_server import AwsServer, serve_aws
from stand_ins.clock import Clock
from stand_ins.in_process import answer_in_process
from stand_ins.secret_store import Behaviour
from tests.refresh.token_issuer import RegisteredClient, TokenIssuer, serve_issuer
from tests.runs.table_server import ACCESS_TABLE, table_definition
from tests.runs.table_server import TABLE as RUNS_TABLE

TABLE = "RunnersTable"
SECRETS = SecretNames("stage")
"""The names of secrets in the tests."""
CLIENT = RegisteredClient("scheduler", "client_secret_basic", "S3CRET-of-scheduler")
SLICE_SECONDS = 50
LEASE_SECONDS = 60
"""Longer than any lease: the lease of a worker that died has expired."""


class Crash(BaseException):
    """The worker's process ends."""


def name_of(row: TokenRow) -> str:
    """A short name of a token: its only runner, or its audience, or its client."""
    return row.isolated_for or row.audience or row.client


def error_of(row: TokenRow) -> str:
    """The class of the last error."""
    return row.last_error.error_class if row.last_error else ""


def registration(project: str, runner: str, **wanted: Any) -> RunnerRegistration:
    """A request to register a runner."""
    body = RegisterRunner(**{"client": "scheduler", **wanted})
    action = ActionContext(None, str(uuid4()))
    return RunnerRegistration(project=project, runner=runner, body=body, action=action)


@dataclass
class Worker:
    """One worker, and what it reported, by the tokens' names."""

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
    """AWS, an issuer, registered runners and their tokens."""

    aws: AwsServer
    issuer: TokenIssuer
    clock: Clock
    threads: Executor
    names: SecretNames = SECRETS

    def client(self, service: str, **config: Any) -> Any:
        """A client of a worker. Its calls use a connection only while they can meet a fault."""
        client = self.aws.client(service, **config)
        answer_in_process(client, self.aws.answer)
        return client

    @cached_property
    def dynamodb(self) -> Any:
        """A client for the test itself: it meets no fault and is not counted."""
        return self.aws.observer("dynamodb")

    @cached_property
    def secrets_manager(self) -> Any:
        """The same for Secrets Manager."""
        return self.aws.observer("secretsmanager")

    @cached_property
    def store(self) -> RunnerStore:
        """The API's store of runners."""
        return self.store_of(self.dynamodb)

    def store_of(self, client: Any) -> RunnerStore:
        """The same with another client."""
        audit = AuditTrail(client, ACCESS_TABLE, now=self.clock)
        return RunnerStore(client, TABLE, audit=audit, now=self.clock)

    def register(self, runner: str, *, project: str = "payments", **wanted: Any) -> TokenRow:
        """Register a runner, by default for the token of `scheduler`; returns its token's row.

        The row of a new token moves to the project's only work unit, for one call of a worker.
        """
        self.store.register(registration(project, runner, **wanted), permit=lambda *_: None)
        row = self.row(runner, project=project)
        assert row is not None
        unit = MintKey.of(project=project, client="").work_unit
        if row.shard == unit.shard:
            return row
        self.dynamodb.update_item(
            TableName=TABLE,
            Key=row.key,
            UpdateExpression="SET #shard = :shard",
            ExpressionAttributeNames={"#shard": "shard"},
            ExpressionAttributeValues={":shard": {"S": unit.shard}},
        )
        return replace(row, shard=unit.shard)

    def register_all(self, names: Iterable[str], **wanted: Any) -> list[TokenRow]:
        """Register runners with a token each."""
        return [self.register(name, isolated=True, **wanted) for name in names]

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

    def put(self, row: TokenRow) -> None:
        """Write the row as it is, as no function does."""
        self.dynamodb.put_item(TableName=TABLE, Item=token_item(row))

    def row(self, runner: str, *, project: str = "payments") -> TokenRow | None:
        """The token that the runner points to."""
        registered = self.store.find(project, runner)
        return None if registered is None else self.live(registered.token_key)

    def live(self, key: Item) -> TokenRow | None:
        """The live token with this key."""
        answer = self.dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True)
        return read_token_row(answer["Item"]) if "Item" in answer else None

    def delete(self, runner: str, *, project: str = "payments") -> None:
        """Delete a runner. The last one takes its token with it."""
        self.store.delete(project, runner, action=ActionContext(None, str(uuid4())))

    def ask_for_refresh(self, runner: str, *, project: str = "payments") -> None:
        """Make the runner's token due now, as `POST …/refresh` does."""
        action = registration(project, runner).action
        self.store.refresh(project, runner, action=action)

    def retired(self, project: str = "payments") -> list[dict[str, Any]]:
        """The items of the project's retired tokens."""
        return [item for item in self.rows() if item["project"]["S"] == f"retired#{project}"]

    def secret(self, row: TokenRow, slot: int) -> str:
        """The name of the token's secret."""
        return self.names.token(row.project, row.client, row.id, slot)

    def is_deleted(self, row: TokenRow, slot: int) -> bool:
        """Whether the token's secret does not exist or is being deleted."""
        secret = self.aws.secrets.find(self.secret(row, slot))
        return secret is None or secret.deletion is not None

    def token(self, row: TokenRow) -> dict[str, Any]:
        """The token of the row's slot and generation."""
        assert row.slot is not None
        name = self.secret(row, row.slot)
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
        dynamodb = self.client("dynamodb", **config)
        secrets = self.client("secretsmanager", max_pool_connections=8, **config)
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
        tokens = TokenTable(dynamodb, TABLE)
        writer = TokenWriter(secrets, names=self.names, limiter=limiter, kms_key="")
        refresher = Refresher(
            tokens=tokens,
            writer=writer,
            sweeper=Sweeper(
                tokens=tokens,
                writer=writer,
                clients=clients,
                mint=mint,
                threads=self.threads,
                now=now,
            ),
            mints=ClientMints(
                mint=mint, clients=clients, states=states, now=now, random=lambda: 0.5
            ),
            leases=WorkUnitLeases(dynamodb, TABLE, owner=str(uuid4())),
            threads=self.threads,
            report=RefreshReport(
                token_refreshed=lambda row: worker.refreshed.append(name_of(row)),
                token_failed=lambda row: worker.failed.append((name_of(row), error_of(row))),
                mint_failed=lambda row: worker.failed_mints.append(error_of(row)),
                unexpected_error=lambda row, error: worker.unexpected.append(
                    (name_of(row), type(error).__name__)
                ),
                sweep_failed=lambda row, error: worker.failed_sweeps.append(
                    (name_of(row), error_name(error))
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
    """Create the tables as in the template."""
    for table in (TABLE, ACCESS_TABLE, RUNS_TABLE):
        aws.observer("dynamodb").create_table(**table_definition(table))
