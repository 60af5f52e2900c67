"""A small fleet's days: ours reaches every goal, and each rival misses the one it is known for.

The same code and the same goals as `make simulate`, which takes minutes.
"""

import gc
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from byline.refresh.timing import WRITES_PER_DAY
from simulation.deployment import deployed
from simulation.goals import missed
from simulation.outcome import Outcome
from simulation.rivals import RIVALS
from simulation.run import OURS, run_ours, run_rival
from simulation.scenario import HOUR, Scenario, Span

SHORT_TOKENS = Scenario(
    name="short",
    runners=120,
    lifetime=900,
    seconds=26 * HOUR,
    outage=Span(start=3 * HOUR, end=3 * HOUR + 1_200),
    deploy=6 * HOUR + 17,
    wrong_secret=Span(start=8 * HOUR, end=10 * HOUR),
)
LONG_TOKENS = replace(SHORT_TOKENS, name="long", lifetime=1_800, seconds=12 * HOUR)


@pytest.fixture(autouse=True)
def without_pauses() -> Iterator[None]:
    """The simulation makes no cycles, and searching for them takes a third of its time."""
    gc.disable()
    yield
    gc.enable()


def outcome(rule: str, scenario: Scenario = SHORT_TOKENS) -> Outcome:
    return _outcome(rule, scenario)


@cache
def _outcome(rule: str, scenario: Scenario) -> Outcome:
    if rule == OURS:
        return run_ours(scenario, deployment=deployed())
    rival = next(rival for rival in RIVALS if rival.name == rule)
    return run_rival(rival, scenario, deployment=deployed())


@pytest.mark.parametrize(
    "scenario", [SHORT_TOKENS, LONG_TOKENS], ids=lambda scenario: scenario.name
)
def test_every_goal_is_reached(scenario: Scenario) -> None:
    """No token dies in use, no quota is met, nothing is minted twice, the backlog drains."""
    assert missed(outcome(OURS, scenario)) == []


def test_everything_befell_the_fleet() -> None:
    """The goals are reached in spite of an outage, a wrong secret and crashes, not without them."""
    ours = outcome(OURS)
    assert ours.drain.backlog == ours.expired.in_outage == SHORT_TOKENS.runners
    assert ours.expired.by_wrong_secret > 0
    assert 0.03 < ours.mints.lost / ours.mints.granted < 0.07
    assert 1 <= ours.mints.refused <= 5, "a breaker opens once, and is tried once an hour"


def test_a_seed_gives_the_same_days_again() -> None:
    """What a run found can be looked into."""
    scenario = replace(LONG_TOKENS, seconds=5 * HOUR)
    again = [run_ours(scenario, deployment=deployed()) for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize(
    "rule",
    [
        "4-minute loop",
        "External Secrets, every 10 min",
        "Vault Agent, 2/3",
        "SPIRE, 1/2 ± 10 %",
        "cert-manager, 2/3",
        "kubelet, 80 %",
        "botocore, 15 min before",
    ],
)
def test_rivals_run_into_the_version_quota(rule: str) -> None:
    """With one secret for 900-second tokens, each of them meets the hundredth version."""
    rival = outcome(rule)
    assert rival.writes_a_secret > WRITES_PER_DAY
    assert rival.limit_exceeded > 0
    assert rival.expired.unexplained > 0
    assert outcome(OURS).limit_exceeded == 0


def test_an_hour_until_the_first_retry_outlasts_the_outage() -> None:
    """cert-manager's runners wait for an hour after an outage of 20 minutes."""
    rival, ours = outcome("cert-manager, 2/3", LONG_TOKENS), outcome(OURS, LONG_TOKENS)
    assert rival.expired.unexplained > 0
    assert rival.drain.seconds > 2_000
    assert ours.drain.seconds < 300


def test_a_constant_before_the_end_refreshes_for_ever() -> None:
    """botocore's 15 minutes are a 15-minute token's whole life."""
    asked = outcome("botocore, 15 min before").mints.asked
    assert asked > 3 * outcome("kubelet, 80 %").mints.asked


def test_half_of_life_writes_more() -> None:
    """SPIRE's rule spends more writes than 2/3 of life, and ours fewer than any on a secret."""
    assert (
        outcome(OURS, LONG_TOKENS).refreshed
        < outcome("Vault Agent, 2/3", LONG_TOKENS).refreshed
        < outcome("SPIRE, 1/2 ± 10 %", LONG_TOKENS).refreshed
    )


def test_without_single_flight_everybody_mints() -> None:
    """kubelet's runners mint each for itself; ours share."""
    assert outcome("kubelet, 80 %", LONG_TOKENS).mints.most_a_message > 1
    assert outcome(OURS, LONG_TOKENS).mints.most_a_message == 1


def test_without_memory_a_restart_rewrites_everything() -> None:
    """What is fresh stays as it is at our restart; a loop begins anew with everything."""
    scenario = replace(LONG_TOKENS, seconds=7 * HOUR, wrong_secret=Span(start=0, end=0))
    minute = int(scenario.deploy // 60)
    rule = next(rival for rival in RIVALS if rival.name == "kubelet, 80 %")
    rewritten = run_rival(rule, scenario, deployment=deployed()).writes_by_minute[
        minute : minute + 2
    ]
    ours = run_ours(scenario, deployment=deployed()).writes_by_minute[minute : minute + 2]
    assert sum(rewritten) * 60 >= 0.9 * scenario.runners
    assert sum(ours) * 60 < 0.3 * scenario.runners
