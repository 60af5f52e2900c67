"""In-memory replacements for the AWS clients of the deployed worker, on simulated time.

Every call takes simulated time. A process that died makes no more calls, so its lease stays held.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import count

import msgspec
from botocore.exceptions import ClientError

from byline.fetch import Answer
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import MintedToken, is_meant
from byline.refresh.work_units import TokenSecret, WorkUnit
from byline.secret_names import SecretNames
from refresh_tokens.client_secrets import ClientSecret, read_client_secret
from refresh_tokens.clients import (
    ClientStates,
    ClientStore,
    VersionedClient,
)
from refresh_tokens.retries import ClientState, SecretVersion
from refresh_tokens.runner_table import RunnerTable, WorkUnitLeases
from refresh_tokens.token_writer import TokenWriter, WriteLimiter
from simulation.fleet import unit_of_audience
from simulation.timeline import Died
from simulation.world import Sandbox, World

DYNAMODB_SECONDS = 0.006
SECRET_READ_SECONDS = 0.010
SECRET_WRITE_SECONDS = 0.025
ROWS_A_READ = 100
SECRET_NAMES = SecretNames("simulation")


class SimulatedTable(RunnerTable):
    """`RunnersTable` in memory, with the commit condition of the deployed code."""

    def __init__(self, world: World, sandbox: Sandbox) -> None:
        self._world = world
        self._sandbox = sandbox

    def due(self, unit: WorkUnit, *, up_to: int | None, now: int) -> list[RunnerRow]:
        """The due rows of a work unit with deadlines `up_to`."""
        rows = [
            row
            for row in self._world.index.due(unit, now=now)
            if is_meant(row, up_to=up_to) and (row.try_at or 0) <= now
        ]
        # The query, the reads, and one call for the lease, before or after.
        self._sandbox.spend(DYNAMODB_SECONDS * (2 + 2 * -(-len(rows) // ROWS_A_READ)))
        return rows

    def commit(self, changes: Sequence[tuple[RunnerRow, RunnerRow]]) -> list[RunnerRow]:
        """Write the new rows, and return the old rows that are not current any more."""
        # The puts run side by side, so only the last put's latency adds time.
        self._sandbox.spend(SECRET_WRITE_SECONDS + 2 * DYNAMODB_SECONDS)
        return [before for before, after in changes if not self._commit_one(before, after)]

    def registered(self, row: RunnerRow) -> RunnerRow:
        """The current row of the same runner."""
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
    """Runner secrets in memory, without token text, under the limits of Secrets Manager."""

    def __init__(self, world: World, *, limiter: WriteLimiter) -> None:
        self._world = world
        self.names = SECRET_NAMES
        self._limiter = limiter

    def write(self, name: str, token: MintedToken, *, generation: int) -> TokenSecret:
        """Put a token. Raises `ClientError` where a quota of Secrets Manager refuses it."""
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
    """Client secrets in memory. A version id is the secret itself, so a new secret has a new id."""

    def __init__(self, world: World, sandbox: Sandbox) -> None:
        self._world = world
        self._sandbox = sandbox

    def get(self, project: str, client: str) -> VersionedClient:
        """The client secret that the project has stored at this time."""
        self._sandbox.spend(DYNAMODB_SECONDS + SECRET_READ_SECONDS)  # DynamoDB: the client state
        secret = self._world.issuer.secret_of(project)
        version = SecretVersion(secret, self._world.issuer.written_at(secret))
        return VersionedClient(version, _client_secret(project, secret))


class SimulatedStates(ClientStates):
    """Circuit breakers and back-offs of clients, in memory."""

    def __init__(self, world: World) -> None:
        self._states = world.client_states

    def get(self, project: str, client: str) -> ClientState | None:
        """The client's state, None where it has not failed."""
        return self._states.get((project, client))

    def put(
        self, project: str, client: str, state: ClientState, *, before: ClientState | None
    ) -> None:
        """Write the client's state if it is still `before`."""
        if self._states.get((project, client)) == before:
            self._states[project, client] = state


class SimulatedLeases(WorkUnitLeases):
    """The leases of one worker, in memory. A time slice that died never gives its lease back."""

    def __init__(self, world: World, sandbox: Sandbox, *, owner: str) -> None:
        self._leases = world.leases
        self._sandbox = sandbox
        self._worker = owner
        self._invocations = count()
        self._of_the_dead: set[WorkUnit] = set()
        self.begin()

    def begin(self) -> None:
        """Begin an invocation, which is a lease owner of its own."""
        self._owner = f"{self._worker}/{next(self._invocations)}"

    def take(self, unit: WorkUnit, *, now: float, until: float) -> bool:
        """Take or renew the lease of `unit`; False if another owner holds it at `now`."""
        owner, held_until = self._leases.get(unit, (self._owner, 0.0))
        if owner != self._owner and held_until > now:
            return False
        self._leases[unit] = (self._owner, int(until) + 1)
        return True

    def release(self, unit: WorkUnit) -> None:
        """Give the lease back, unless the time slice or the process died."""
        if unit in self._of_the_dead:
            self._of_the_dead.discard(unit)
            return
        if self._sandbox.is_dead:
            return
        if self._leases.get(unit, ("", 0))[0] == self._owner:
            del self._leases[unit]

    def keep_held(self, unit: WorkUnit) -> None:
        """Keep the lease of `unit`, because the time slice that took it dies."""
        self._of_the_dead.add(unit)


class CrashingPost:
    """Posts to the issuer, and lets the caller die after the scenario's share of its answers."""

    def __init__(self, world: World, sandbox: Sandbox, *, leases: SimulatedLeases) -> None:
        self._world = world
        self._sandbox = sandbox
        self._leases = leases

    def __call__(
        self, url: str, *, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The issuer's answer. Raises `TimedOut`, and `Died` where the caller dies."""
        answer = self._world.issuer.post(url, form=form, headers=headers)
        self._sandbox.spend(0)
        if answer.status == 200 and self._world.random.random() < self._world.scenario.crashes:
            project, audience = form["client_id"], form["audience"]
            self._world.issuer.lost((project, audience))
            self._leases.keep_held(unit_of_audience(project, audience))
            raise Died
        return answer


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
