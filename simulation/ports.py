"""In-memory replacements for the AWS clients of the deployed worker, on simulated time.

Every call takes simulated time. A process that died makes no more calls, so its lease stays held.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count

import msgspec
from botocore.exceptions import ClientError

from byline.fetch import Answer
from byline.refresh.timing import KnownToken, MintedToken, is_meant
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import MintKey, SecretNames, TokenSecret, WorkUnit
from refresh_tokens.client_secrets import ClientSecret, read_client_secret
from refresh_tokens.clients import (
    ClientStates,
    ClientStore,
    VersionedClient,
)
from refresh_tokens.minting import Mint
from refresh_tokens.retries import ClientState, SecretVersion
from refresh_tokens.token_table import Change, Found, TokenTable, WorkUnitLeases
from refresh_tokens.token_writer import Held, TokenWriter, WriteLimiter, token_secret
from simulation.fleet import work_unit_of
from simulation.timeline import Died
from simulation.world import Sandbox, World

DYNAMODB_SECONDS = 0.006
SECRET_READ_SECONDS = 0.010
SECRET_WRITE_SECONDS = 0.025
READS_SECONDS = DYNAMODB_SECONDS + SECRET_READ_SECONDS
"""The time before a mint in which the client's state and secret are read."""
ROWS_A_READ = 100
WRITES_AT_ONCE = 8
"""As in `refresh_tokens.handler`, which cannot be imported without its settings."""
SECRET_NAMES = SecretNames("simulation")


class SimulatedTable(TokenTable):
    """`RunnersTable` in memory, with the commit condition of the deployed code."""

    def __init__(self, world: World, sandbox: Sandbox) -> None:
        self._world = world
        self._sandbox = sandbox

    def due(self, unit: WorkUnit, *, up_to: int | None, now: int) -> list[TokenRow]:
        """The due rows of a work unit with deadlines `up_to`."""
        rows = [
            row
            for row in self._world.index.due(unit, now=now)
            if is_meant(row, up_to=up_to) and (row.try_at or 0) <= now
        ]
        self._world.doomed.pop(unit, None)
        if rows:
            if self._world.random.random() < self._world.scenario.crashes:
                self._world.doomed[unit] = self._world.random.randrange(len(rows))
            # The query, the reads, and one call for the lease. Nothing depends on the time that
            # an empty answer takes.
            self._sandbox.spend(DYNAMODB_SECONDS * (2 + 2 * -(-len(rows) // ROWS_A_READ)))
        return rows

    def commit(self, changes: Sequence[Change]) -> list[TokenRow]:
        """Write the new rows, and return the old rows that are not current any more."""
        # The puts run side by side, so only the last put's latency adds time.
        self._sandbox.spend(SECRET_WRITE_SECONDS + 2 * DYNAMODB_SECONDS)
        return [before for before, after in changes if not self._commit_one(before, after)]

    def live(self, row: TokenRow) -> Found:
        """The row itself while runners point to it. Each later token has another key here."""
        current = self._world.index.get(row.id)
        return current if current is not None and current.is_live else "absent"

    def _commit_one(self, before: TokenRow, after: TokenRow) -> bool:
        world, current = self._world, self._world.index.get(before.id)
        if after.generation != before.generation:
            unit = before.work_unit
            world.issuer.minted(before.id, messages=world.messages[unit])
        if current is None or current.is_live != before.is_live:
            return False
        if (current.generation, current.due_at) != (before.generation, before.due_at):
            return False
        if after.generation != before.generation:
            now = world.timeline.now
            world.measures.replaced(before, due_at=after.due_at or 0, now=now)
        if after.shard is None:
            world.measures.swept(after, now=world.timeline.now)
            world.index.remove(after)
        else:
            world.index.put(after)
        return True


class SimulatedWriter(TokenWriter):
    """Tokens' secrets in memory, without token text, under the limits of Secrets Manager."""

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
        return token_secret(held, generation=generation)

    def write_first(self, name: str, token: MintedToken, *, generation: int) -> TokenSecret:
        """Create a secret with a first token, which counts as a put."""
        return self.write(name, token, generation=generation)

    def held(self, name: str, *, stage: str = "AWSCURRENT") -> Held:
        """The content of a secret; earlier versions are absent, since nothing is revoked here."""
        held = self._world.secrets.newest(name) if stage == "AWSCURRENT" else None
        return "absent" if held is None else token_secret(held, generation=0)

    def delete(self, name: str) -> None:
        """Delete a secret at once."""
        self._world.secrets.delete(name)


class SimulatedClients(ClientStore):
    """Client secrets in memory. A version id is the secret itself, so a new secret has a new id."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get(self, project: str, client: str) -> VersionedClient:
        """The client secret that the project has stored at this time.

        The time that it takes is part of the mint's.
        """
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


class DyingMint(Mint):
    """Mints tokens at the simulated issuer. A doomed time slice dies after one of its mints."""

    def __init__(self, world: World, sandbox: Sandbox, *, leases: "SimulatedLeases") -> None:
        super().__init__(
            post=self._ask,
            fetch=_no_fetch,
            now=world.timeline.clock,
            default_lifetime=world.scenario.lifetime,
            warn=lambda _key, _detail: None,
        )
        self._world = world
        self._sandbox = sandbox
        self._leases = leases

    def mint(
        self, key: MintKey, client: ClientSecret, *, known: KnownToken | None = None
    ) -> MintedToken:
        """A new token for `key`. Raises `RefreshFailed`, and `Died` where the time slice dies."""
        token = super().mint(key, client, known=known)
        unit = work_unit_of(key)
        if (left := self._world.doomed.get(unit)) is not None:
            self._world.doomed[unit] = left - 1
            if left == 0:
                del self._world.doomed[unit]
                self._leases.keep_held(unit)
                raise Died
        return token

    def _ask(
        self, url: str, *, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The issuer's answer. Raises `TimedOut`, and `Died` where the process died meanwhile."""
        answer, _ = self._world.issuer.ask(secret=form["client_secret"], after=READS_SECONDS)
        self._sandbox.spend(0)
        return answer


def _no_fetch(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """Raise: no client needs discovery, because each names its token endpoint."""
    raise AssertionError(url)


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
