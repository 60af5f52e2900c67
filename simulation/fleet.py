"""Runners in projects of realistic sizes, each with a token of random age.

The largest project has 12 % of all runners; the n-th largest has an n-th of that. Half of the
projects have one runner or two. A project has one OAuth client. A project of a hundred runners or
more uses up to four audiences. The largest project uses one audience, which is the worst case: its
work unit cannot be divided between workers.
"""

from collections.abc import Iterator
from functools import cache
from random import Random

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import due_after, due_window, slots_for, spread_seed
from byline.refresh.work_units import MintKey, WorkUnit

LARGEST_SHARE = 0.12
AUDIENCES = 4
CLIENT = "main"
RUNNERS_AN_AUDIENCE = 50


class SimulatedRow(RunnerRow):
    """A row whose mint key and work unit are cached, to save the time of hashing them again."""

    __slots__ = ()

    @property
    def mint_key(self) -> MintKey:
        """The runner's mint key, cached."""
        return _mint_key(self.project, self.client, self.audience)

    @property
    def work_unit(self) -> WorkUnit:
        """The runner's work unit, cached."""
        return _unit(self.project, self.client, self.audience)


def project_sizes(runners: int) -> Iterator[int]:
    """The number of runners in each project, the largest first; their sum is `runners`."""
    largest, left, rank = LARGEST_SHARE * runners, runners, 1
    while left:
        size = min(left, max(1, round(largest / rank)))
        yield size
        left -= size
        rank += 1


def fleet(runners: int, *, lifetime: int, random: Random) -> list[SimulatedRow]:
    """The rows of all runners at time 0. `lifetime` in seconds; the tokens' ages are random."""
    rows: list[SimulatedRow] = []
    for number, size in enumerate(project_sizes(runners)):
        audiences = 1 if number == 0 else min(AUDIENCES, max(1, size // RUNNERS_AN_AUDIENCE))
        for place in range(size):
            audience = f"api-{place % audiences}"
            age = random.randrange(due_window(lifetime).first)
            rows.append(_row(f"project-{number}", len(rows), audience, lifetime, issued_at=-age))
    return rows


def _row(
    project: str, number: int, audience: str, lifetime: int, *, issued_at: int
) -> SimulatedRow:
    runner, generation = f"runner-{number}", 1_000_000
    seed = spread_seed(project=project, runner=runner, generation=generation)
    return SimulatedRow(
        project=project,
        runner=runner,
        client=CLIENT,
        audience=audience,
        revision="registered",
        generation=generation,
        shard=_unit(project, CLIENT, audience).shard,
        slots=slots_for(lifetime),
        slot=0,
        lifetime=lifetime,
        issued_at=issued_at,
        expires_at=issued_at + lifetime,
        deadline=issued_at + lifetime,
        refreshed_at=issued_at,
        due_at=issued_at + due_after(lifetime, seed=seed),
        created_at="",
        updated_at="",
    )


def unit_of_audience(project: str, audience: str) -> WorkUnit:
    """The work unit of a project's runners that use an audience."""
    return _unit(project, CLIENT, audience)


@cache
def _mint_key(project: str, client: str, audience: str | None) -> MintKey:
    return MintKey.of(project=project, client=client, audience=audience)


@cache
def _unit(project: str, client: str, audience: str | None) -> WorkUnit:
    return _mint_key(project, client, audience).work_unit
