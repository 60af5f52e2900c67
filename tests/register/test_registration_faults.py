"""The service fails, hangs and answers garbage, and workers die: graph and table become equal.

`make property` runs two hundred orders of faults.
"""

import os
from random import Random

import pytest

from byline.registration.outbox import SETTLE_SECONDS
from tests.register.crowd import Crowd
from tests.register.world import LIFE_SECONDS, new_world

SEEDS = int(os.environ.get("REGISTRATION_SEEDS", "8"))
STEPS = 600
PASSES = 6


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_faults_and_deaths_leave_graph_and_table_equal(seed: int) -> None:
    """The service's graph matches the table after any order of crashes and duplicates."""
    random = Random(seed)  # noqa: S311 - a test must be repeatable
    with new_world() as world:
        crowd = Crowd(world, random)
        for _ in range(STEPS):
            _act(crowd, random)
        while crowd.is_busy:
            crowd.step()
        world.faults.clear()
        crowd.let_time_pass(LIFE_SECONDS)
        for _ in range(PASSES):
            for entry in world.pending():
                world.settle(entry.key)
            crowd.let_time_pass(SETTLE_SECONDS / 2)
        assert world.pending() == []
        assert world.graph.late == []
        assert world.graph.tasks == set(world.rows())
        for_persons = {run for run, row in world.rows().items() if "person" in row}
        assert {selector for _, (_, selector), _ in world.graph.grants} == for_persons
        assert len(world.graph.calls) > 10


def _act(crowd: Crowd, random: Random) -> None:
    chance = random.random()
    if chance < 0.02:
        crowd.enter(crowd.create)
    elif chance < 0.035 and crowd.alive:
        # Mostly a run that a worker is registering at this moment.
        likely = crowd.disputed if random.random() < 0.8 else []
        run = random.choice(likely or crowd.alive)
        crowd.alive.remove(run)
        crowd.enter(lambda: crowd.delete(run))
    elif chance < 0.12 and crowd.records:
        run = random.choice(crowd.records)
        if random.random() < 0.7:
            crowd.records.remove(run)  # otherwise it is delivered again
        if random.random() < 0.8:  # otherwise it is lost
            crowd.enter(lambda: crowd.settle(run))
    elif chance < 0.13:
        crowd.enter(crowd.make_pass)
    elif chance < 0.18:
        crowd.let_time_pass(random.choice([0.1, 1, 5, 5, 30, 30]))
    elif chance < 0.19:
        crowd.let_time_pass(random.choice([LIFE_SECONDS, SETTLE_SECONDS / 2]))
    else:
        crowd.step()
