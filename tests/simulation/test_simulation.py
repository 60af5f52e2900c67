"""A small fleet's days: Byline reaches every goal, and each rival misses the one it is known for.

The same code and the same goals as `make simulate`, with fewer runners and fewer hours.
"""

import gc
from collections.abc import Iterator
from copy import replace
from functools import cache

import pytest

from byline.refresh.timing import WRITES_PER_DAY
from simulation.goals import missed
from simulation.outcome import Outcome
from simulation.rival_rules import RULES, rules_and_forms
from simulation.run import OURS, run
from simulation.scenario import HOUR, Scenario, Span

SHORT_TOKENS = Scenario(
    tokens=60,
    runners=60,
    lifetime=900,
    seconds=26 * HOUR,
    outage=Span(start=3 * HOUR, end=3 * HOUR + 1_200),
    deploy=6 * HOUR + 17,
    wrong_secret=Span(start=8 * HOUR, end=10 * HOUR),
)
SHARED_TOKENS = replace(SHORT_TOKENS, runners=3_000, seconds=12 * HOUR)
LONG_TOKENS = replace(SHORT_TOKENS, lifetime=1_800, seconds=12 * HOUR)


@pytest.fixture(autouse=True)
def without_pauses() -> Iterator[None]:
    """Garbage collection is off: a run makes no cycles, and the collector takes a third of it."""
    gc.disable()
    yield
    gc.enable()


def outcome(rule: str, scenario: Scenario = SHORT_TOKENS) -> Outcome:
    return _outcome(rule, scenario)


@cache
def _outcome(rule: str, scenario: Scenario) -> Outcome:
    return run(scenario, rule)


@pytest.mark.parametrize(
    "scenario", [SHORT_TOKENS, SHARED_TOKENS, LONG_TOKENS], ids=lambda scenario: scenario.name
)
def test_two_days_of_byline_reach_every_goal(scenario: Scenario) -> None:
    """No token expires unexplained, no quota is reached, no mint is doubled, the backlog drains."""
    assert missed(outcome(OURS, scenario)) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(2, 11))
@pytest.mark.parametrize(
    "scenario", [SHORT_TOKENS, SHARED_TOKENS, LONG_TOKENS], ids=lambda scenario: scenario.name
)
def test_other_seeds_reach_every_goal_too(scenario: Scenario, seed: int) -> None:
    """The goals are no luck of the first seed, which decides who fails, crashes and starts when."""
    assert missed(run(replace(scenario, seed=seed), OURS)) == []


def test_every_fault_reaches_the_fleet() -> None:
    """The goals are reached despite an outage, a wrong secret and crashes, not without them."""
    ours = outcome(OURS)
    assert ours.drain.backlog == pytest.approx(SHORT_TOKENS.tokens, abs=2)
    assert ours.expired.in_outage >= SHORT_TOKENS.tokens - 2
    assert 0.02 < 1 - ours.refreshed / ours.mints.granted < 0.08
    shared = outcome(OURS, SHARED_TOKENS)
    assert shared.expired.by_wrong_secret > 0
    assert shared.mints.refused >= 4, "a breaker opens after four refusals"


def test_runners_are_replaced_while_tokens_are_refreshed() -> None:
    """A runner that shares costs no token, and one that is alone gets and leaves one."""
    alone, shared = outcome(OURS), outcome(OURS, SHARED_TOKENS)
    assert alone.registered > 0.7 * SHORT_TOKENS.runners
    assert 0 < alone.longest_wait < 240
    assert alone.longest_sweep > 300, "retired tokens are swept twice"
    assert shared.registered > 0.3 * SHARED_TOKENS.runners
    assert shared.mints.granted < 1.2 * SHARED_TOKENS.tokens * SHARED_TOKENS.seconds / 500


def test_the_same_seed_gives_the_same_outcome() -> None:
    """A run can be repeated to look into what it found."""
    scenario = replace(LONG_TOKENS, seconds=5 * HOUR)
    assert run(scenario, OURS) == run(scenario, OURS)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(rule.name, marks=[] if rule is RULES[0] else pytest.mark.exhaustive)
        for rule in RULES
    ],
)
def test_one_secret_for_short_tokens_exhausts_the_version_quota(rule: str) -> None:
    """With one secret for 900-second tokens, each rule reaches the hundredth version in a day."""
    rival = outcome(rule)
    assert rival.writes_a_secret > WRITES_PER_DAY
    assert rival.limit_exceeded > 0
    assert rival.expired.unexplained > 0
    assert outcome(OURS).limit_exceeded == 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("rule", ["Vault Agent, 2/3", "SPIRE, 1/2 ± 10 %"])
def test_a_rule_with_our_slots_keeps_short_tokens_alive(rule: str) -> None:
    """The version quota alone makes these rules' tokens expire: with two secrets none does."""
    rival = outcome(f"{rule} + slots")
    assert rival.limit_exceeded == 0
    assert rival.expired.unexplained == 0


@pytest.mark.exhaustive
def test_slots_do_not_save_a_rule_that_writes_too_often() -> None:
    """Every 4 minutes are 180 writes a day to each of two secrets: the quota is reached anyway."""
    rival = outcome("4-minute loop + slots")
    assert rival.limit_exceeded > 0
    assert rival.expired.unexplained > 0


def test_a_lifetime_that_needs_one_secret_has_no_form_with_slots() -> None:
    """A row with our slots appears only where Byline itself would use more than one secret."""
    assert [rule.name for rule in rules_and_forms(LONG_TOKENS.lifetime)] == [
        rule.name for rule in RULES
    ]


@pytest.mark.exhaustive
def test_an_hour_until_the_first_retry_outlasts_the_outage() -> None:
    """cert-manager's rule waits for an hour after an outage of 20 minutes."""
    rival, ours = outcome("cert-manager, 2/3", LONG_TOKENS), outcome(OURS, LONG_TOKENS)
    assert rival.expired.unexplained > 0
    assert rival.drain.seconds > 2_000
    assert ours.drain.seconds < 300


@pytest.mark.exhaustive
def test_a_constant_before_the_end_refreshes_without_pause() -> None:
    """botocore's 15 minutes are the whole life of a 900-second token."""
    asked = outcome("botocore, 15 min before").mints.asked
    assert asked > 3 * outcome("kubelet, 80 %").mints.asked


@pytest.mark.exhaustive
def test_half_of_life_writes_more_tokens_than_two_thirds() -> None:
    """SPIRE's rule writes more tokens than Vault Agent's, and Byline's fewest of the three."""
    assert (
        outcome(OURS, LONG_TOKENS).refreshed
        < outcome("Vault Agent, 2/3", LONG_TOKENS).refreshed
        < outcome("SPIRE, 1/2 ± 10 %", LONG_TOKENS).refreshed
    )


@pytest.mark.exhaustive
def test_a_restart_without_memory_rewrites_every_token() -> None:
    """After a deploy Byline leaves fresh tokens alone; a system without memory refreshes all."""
    scenario = replace(LONG_TOKENS, seconds=7 * HOUR, wrong_secret=Span(start=0, end=0))
    minute = int(scenario.deploy // 60)
    rewritten = run(scenario, "kubelet, 80 %").writes_by_minute[minute : minute + 2]
    ours = run(scenario, OURS).writes_by_minute[minute : minute + 2]
    assert sum(rewritten) * 60 >= 0.9 * scenario.tokens
    assert sum(ours) * 60 < 0.3 * scenario.tokens
