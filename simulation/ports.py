"""What the real worker is given instead of AWS: its ports, in memory, on simulated time.

Every call takes its time, and a dead process makes none: what it holds, a lease, stays as it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import cache, partial
from itertools import count
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from byline.fetch import Answer
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import MintedToken, is_meant
from byline.refresh.work_units import TokenSecret, WorkUnit
from refresh_tokens.clients import (
    ClientSecret,
    ClientState,
    ClientStates,
    ClientStore,
    VersionedClient,
    read_client_secret,
)
from refresh_tokens.runner_table import RunnerTable, WorkUnitLeases
from refresh_tokens.token_writer import TokenWriter, WriteLimiter
from simulation.fleet import unit_of_audience
from simulation.timeline import Died, Timeline, Turnstile
from simulation.world import Sandbox, World

DYNAMODB_SECONDS = 0.006
SECRET_READ_SECONDS = 0.010
SECRET_WRITE_SECONDS = 0.025
ROWS_A_READ = 100


class SimulatedTable(RunnerTable):
    """Due rows by the index; commits under the same condition as the real ones."""

    def __init__(self, world: World[RunnerRow], sandbox: Sandbox) -> None:
        self._world = world
        self._sandbox = sandbox

    def due(self, unit: WorkUnit, *, up_to: int | None, now: int) -> list[RunnerRow]:
        rows = [row for row in self._world.index.due(unit, now=now) if is_meant(row, up_to=up_to)]
        # The query, the reads, and the lease that was taken before or is given back after.
        self._sandbox.spend(DYNAMODB_SECONDS * (2 + 2 * -(-len(rows) // ROWS_A_READ)))
        return rows

    def commit(self, changes: Sequence[tuple[RunnerRow, RunnerRow]]) -> list[RunnerRow]:
        # The puts run side by side, so only the last one's latency is waited for.
        self._sandbox.spend(SECRET_WRITE_SECONDS + 2 * DYNAMODB_SECONDS)
        return [before for before, after in changes if not self._commit_one(before, after)]

    def registered(self, row: RunnerRow) -> RunnerRow:
        return self._world.index.get(row.runner)

    def _commit_one(self, before: RunnerRow, after: RunnerRow) -> bool:
        current = self._world.index.get(before.runner)
        if (current.generation, current.due_at) != (before.generation, before.due_at):
            return False
        if after.generation != before.generation:
            now = self._world.timeline.now
            self._world.measures.replaced(before, due_at=after.due_at or 0, now=now)
        self._world.index.put(after)
        return True


class SimulatedWriter(TokenWriter):
    """Secrets without a token's text, under Secrets Manager's limits."""

    def __init__(self, world: World[RunnerRow], *, limiter: WriteLimiter) -> None:
        self._world = world
        self._limiter = limiter

    def write(self, name: str, token: MintedToken, *, generation: int) -> TokenSecret:
        self._limiter.wait()
        now = self._world.timeline.now
        if not self._world.quota.admit(now):
            raise _refused("ThrottlingException")
        held = self._world.secrets.put(name, token, generation=generation, now=now)
        if held is None:
            raise _refused("LimitExceededException")
        return TokenSecret(
            token=token.text,
            token_type=token.token_type,
            issued_at=datetime.fromtimestamp(held.issued_at, UTC),
            expires_at=datetime.fromtimestamp(held.expires_at, UTC),
            generation=generation,
        )


class SimulatedClients(ClientStore):
    """Clients' secrets. The version is the secret: another one is another version."""

    def __init__(self, world: World[RunnerRow], sandbox: Sandbox) -> None:
        self._world = world
        self._sandbox = sandbox

    def get(self, project: str, client: str) -> VersionedClient:
        self._sandbox.spend(DYNAMODB_SECONDS + SECRET_READ_SECONDS)  # the state before it as well
        secret = self._world.issuer.secret_of(project)
        return VersionedClient(secret, _client_secret(project, secret))


class SimulatedStates(ClientStates):
    """Breakers and back-offs."""

    def __init__(self, world: World[RunnerRow]) -> None:
        self._states = world.client_states

    def get(self, project: str, client: str) -> ClientState | None:
        return self._states.get((project, client))

    def put(
        self, project: str, client: str, state: ClientState, *, before: ClientState | None
    ) -> None:
        if self._states.get((project, client)) == before:
            self._states[project, client] = state

    def clear(self, project: str, client: str, *, before: ClientState) -> None:
        if self._states.get((project, client)) == before:
            del self._states[project, client]


class SimulatedLeases(WorkUnitLeases):
    """Leases of one worker. Those of a turn that died are never given back."""

    def __init__(self, world: World[RunnerRow], sandbox: Sandbox, *, owner: str) -> None:
        self._leases = world.leases
        self._sandbox = sandbox
        self._worker = owner
        self._invocations = count()
        self._of_the_dead: set[WorkUnit] = set()
        self.begin()

    def begin(self) -> None:
        """An invocation begins, and each owns what it takes for itself."""
        self._owner = f"{self._worker}/{next(self._invocations)}"

    def take(self, unit: WorkUnit, *, now: float, until: float) -> bool:
        owner, held_until = self._leases.get(unit, (self._owner, 0.0))
        if owner != self._owner and held_until > now:
            return False
        self._leases[unit] = (self._owner, int(until) + 1)
        return True

    def release(self, unit: WorkUnit) -> None:
        if unit in self._of_the_dead:
            self._of_the_dead.discard(unit)
            return
        if self._sandbox.is_dead:
            return
        if self._leases.get(unit, ("", 0))[0] == self._owner:
            del self._leases[unit]

    def die_with(self, unit: WorkUnit) -> None:
        """The turn at `unit` dies."""
        self._of_the_dead.add(unit)


class MortalPost:
    """Asks the issuer. After some answers, the turn that asked is no more."""

    def __init__(
        self, world: World[RunnerRow], sandbox: Sandbox, *, leases: SimulatedLeases
    ) -> None:
        self._world = world
        self._sandbox = sandbox
        self._leases = leases

    def __call__(
        self, url: str, *, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer:
        answer = self._world.issuer.post(url, form=form, headers=headers)
        self._sandbox.spend(0)
        if answer.status == 200 and self._world.random.random() < self._world.scenario.crashes:
            project, audience = form["client_id"], form["audience"]
            self._world.issuer.lost((project, audience))
            self._leases.die_with(unit_of_audience(project, audience))
            raise Died
        return answer


class TurnThreads(Executor):
    """The threads that turns run on, so many at once."""

    def __init__(self, timeline: Timeline, *, at_once: int) -> None:
        self._timeline = timeline
        self._at_once = at_once

    def map[T](  # type: ignore[override]
        self, fn: Callable[..., T], *iterables: Iterable[Any]
    ) -> Iterable[T]:
        works = [partial(fn, *arguments) for arguments in zip(*iterables, strict=True)]
        self._timeline.gather(works[: self._at_once])
        return []


class PutThreads(Executor):
    """The threads that put: first come, first served, all of them waiting for the limiter."""

    def __init__(self, timeline: Timeline) -> None:
        self._turnstile = Turnstile(timeline)

    def map[T](  # type: ignore[override]
        self, fn: Callable[..., T], *iterables: Iterable[Any]
    ) -> Iterable[T]:
        with self._turnstile.passing():
            return [fn(*arguments) for arguments in zip(*iterables, strict=True)]


@cache
def _client_secret(project: str, secret: str) -> ClientSecret:
    document = {
        "token_endpoint": "https://issuer.example/token",
        "client_id": project,
        "client_secret": secret,
        "auth_method": "client_secret_post",
    }
    return read_client_secret(msgspec.json.encode(document).decode())


def _refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "PutSecretValue")
