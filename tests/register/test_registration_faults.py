"""The service fails, hangs and answers garbage while runs come and go and workers die: afterwards
its graph is the table, nothing lost and nothing brought back."""

import os
from random import Random

import pytest

from register_resources.claims import SETTLE_SECONDS
from tests.register.crowd import Crowd
from tests.register.world import LIFE_SECONDS, new_world

SEEDS = int(os.environ.get("REGISTRATION_SEEDS", "25"))
STEPS = 600
PASSES = 6


@pytest.mark.parametrize("seed", range(SEEDS))
def test_graph_becomes_the_table_whatever_happened_on_the_way(seed: int) -> None:
    """The service's graph matches the table after any order of crashes and duplicates."""
    random = Random(seed)  # noqa: S311 - to be the same again, not to be secret
    with new_world() as world:
        crowd = Crowd(world, random)
        for _ in range(STEPS):
            _something_happens(crowd, random)
        while crowd.is_busy:
            crowd.step()
        world.faults.clear()
        crowd.let_time_pass(LIFE_SECONDS)
        for _ in range(PASSES):
            for waiting in world.waiting():
                world.settle(waiting.key)
            crowd.let_time_pass(SETTLE_SECONDS / 2)
        assert world.waiting() == []
        assert world.graph.late == []
        assert world.graph.tasks == set(world.rows())
        assert len(world.graph.told) > 10


def _something_happens(crowd: Crowd, random: Random) -> None:
    chance = random.random()
    if chance < 0.02:
        crowd.enter(crowd.create)
    elif chance < 0.035 and crowd.alive:
        # What somebody is registering just now, more often than not.
        likely = crowd.disputed if random.random() < 0.8 else []
        run = random.choice(likely or crowd.alive)
        crowd.alive.remove(run)
        crowd.enter(lambda: crowd.delete(run))
    elif chance < 0.12 and crowd.records:
        run = random.choice(crowd.records)
        if random.random() < 0.7:
            crowd.records.remove(run)  # or it is handed over again
        if random.random() < 0.8:  # or it is lost
            crowd.enter(lambda: crowd.settle(run))
    elif chance < 0.13:
        crowd.enter(crowd.make_pass)
    elif chance < 0.18:
        crowd.let_time_pass(random.choice([0.1, 1, 5, 5, 30, 30]))
    elif chance < 0.19:
        crowd.let_time_pass(random.choice([LIFE_SECONDS, SETTLE_SECONDS / 2]))
    else:
        crowd.step()
