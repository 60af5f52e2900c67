"""Runners in projects of realistic sizes, each with a token that is some way through its life.

The n-th largest project is an n-th of the largest, which has 12 % of all runners: a few are large,
most have one runner or two. A project has one OAuth client. From a hundred runners on they want
tokens for up to four audiences; only the largest project's are all behind one mint key, because
that is the worst: such a unit can never be shared between workers.
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
    """A row that remembers its mint key and its unit: hashing them anew is no part of any rule."""

    __slots__ = ()

    @property
    def mint_key(self) -> MintKey:
        return _mint_key(self.project, self.client, self.audience)

    @property
    def work_unit(self) -> WorkUnit:
        return _unit(self.project, self.client, self.audience)


def project_sizes(runners: int) -> Iterator[int]:
    """How many runners each project has, the largest first, `runners` in all."""
    largest, left, rank = LARGEST_SHARE * runners, runners, 1
    while left:
        size = min(left, max(1, round(largest / rank)))
        yield size
        left -= size
        rank += 1


def fleet(runners: int, *, lifetime: int, random: Random) -> list[SimulatedRow]:
    """All rows, with tokens as old as a steady state makes them at the time 0."""
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
    """The unit of a project's runners that want tokens for an audience."""
    return _unit(project, CLIENT, audience)


@cache
def _mint_key(project: str, client: str, audience: str | None) -> MintKey:
    return MintKey.of(project=project, client=client, audience=audience)


@cache
def _unit(project: str, client: str, audience: str | None) -> WorkUnit:
    return _mint_key(project, client, audience).work_unit
