"""Tokens in projects of realistic sizes, each of random age, and how many runners point to each.

The largest project has 12 % of all tokens; the n-th largest has an n-th of that. Half of the
projects have one token or two. A project has one OAuth client. Runners are numbers: no object is
kept for one.
"""

from array import array
from collections.abc import Iterator, Sequence
from copy import replace
from dataclasses import dataclass, fields
from functools import cache
from random import Random

from byline.refresh.timing import due_after, due_window, slots_for, spread_seed
from byline.refresh.token_rows import TokenRow, new_token
from byline.refresh.work_units import MintKey, WorkUnit
from simulation.scenario import Scenario

LARGEST_SHARE = 0.12
CLIENT = "main"


class SimulatedRow(TokenRow):
    """A row whose mint key and work unit are cached, to save the time of hashing them again."""

    __slots__ = ()

    @property
    def mint_key(self) -> MintKey:
        """What the token is for, cached."""
        return _mint_key(self.project, self.audience, self.isolated_for)

    @property
    def work_unit(self) -> WorkUnit:
        """The token's work unit, cached."""
        return _work_unit(self.project, self.audience, self.isolated_for)


class SimulatedUnit(WorkUnit, frozen=True, order=True, cache_hash=True):
    """A work unit that keeps its hash, which saves time."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runners ask for, and how many runners ask for each. Both lists have the same order."""

    keys: Sequence[MintKey]
    runners: "array[int]"


def project_sizes(tokens: int) -> Iterator[int]:
    """The number of tokens in each project, the largest first; their sum is `tokens`."""
    largest, left, rank = LARGEST_SHARE * tokens, tokens, 1
    while left:
        size = min(left, max(1, round(largest / rank)))
        yield size
        left -= size
        rank += 1


def fleet(scenario: Scenario, random: Random) -> Fleet:
    """The fleet of a scenario. Half of the shared tokens have one runner, and few have many."""
    keys: list[MintKey] = []
    for number, size in enumerate(project_sizes(scenario.tokens)):
        for place in range(size):
            if scenario.is_isolated:
                keys.append(_mint_key(f"project-{number}", "api", f"runner-{place}"))
            else:
                keys.append(_mint_key(f"project-{number}", f"api-{place}", None))
    return Fleet(keys, _runners_of_tokens(scenario, random))


def aged_row(key: MintKey, scenario: Scenario, random: Random, *, number: int) -> TokenRow:
    """The row of the token for the key of that number, at time 0: of random age, with secrets."""
    lifetime = scenario.lifetime
    issued_at = -random.randrange(due_window(lifetime).first)
    row, generation = first_row(key, token_id=f"{number}.0", now=0), 1_000_000
    seed = spread_seed(token_id=row.id, generation=generation)
    return replace(
        row,
        generation=generation,
        slots=slots_for(lifetime),
        slot=0,
        lifetime=lifetime,
        issued_at=issued_at,
        expires_at=issued_at + lifetime,
        deadline=issued_at + lifetime,
        refreshed_at=issued_at,
        due_at=issued_at + due_after(lifetime, seed=seed),
    )


def first_row(key: MintKey, *, token_id: str, now: int) -> TokenRow:
    """The row that a registration makes where no runner points to such a token."""
    row = new_token(key, token_id=token_id, created_at="", now=now)
    return SimulatedRow(**{field.name: getattr(row, field.name) for field in fields(row)})


def work_unit_of(key: MintKey) -> WorkUnit:
    """The work unit that refreshes the token for `key`, cached."""
    return _work_unit(key.project, key.audience, key.isolated_for)


def _runners_of_tokens(scenario: Scenario, random: Random) -> "array[int]":
    """The number of runners of each token: at least one, and in all those of the scenario."""
    runners = array("l", [1]) * scenario.tokens
    shared = random.sample(range(scenario.tokens), -(-scenario.tokens // 2))
    more = scenario.runners - scenario.tokens
    weights = sum(1 / rank for rank in range(1, len(shared) + 1))
    for rank, number in enumerate(shared, start=1):
        runners[number] += int(more / rank / weights)
    runners[shared[0]] += scenario.runners - sum(runners)
    return runners


@cache
def _mint_key(project: str, audience: str | None, isolated_for: str | None) -> MintKey:
    return MintKey.of(project=project, client=CLIENT, audience=audience, isolated_for=isolated_for)


@cache
def _work_unit(project: str, audience: str | None, isolated_for: str | None) -> WorkUnit:
    unit = _mint_key(project, audience, isolated_for).work_unit
    return _unit(unit.shard, unit.project)


@cache
def _unit(shard: str, project: str) -> WorkUnit:
    return SimulatedUnit(shard, project)
