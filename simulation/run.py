"""One run: a scenario under one rule, from the first tick to the last."""

from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any, cast

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import TICK_SECONDS
from byline.refresh.work_units import Selection
from plan_refresh.planning import REPEAT_SECONDS, WRITES_A_TICK, planned_units, work_begins
from simulation.deployment import Deployment
from simulation.event_source import EventSource, NewEnvironment, Queue
from simulation.fleet import fleet
from simulation.issuer import Issuer
from simulation.measures import Measures
from simulation.outcome import Outcome, outcome_of
from simulation.real_worker import RealWorker
from simulation.rivals import RivalWorker, Rule, rival_row
from simulation.runner_index import Row, RunnerIndex
from simulation.scenario import Scenario
from simulation.timeline import Timeline
from simulation.world import World

OURS = "Byline"


def run_ours(scenario: Scenario, *, deployment: Deployment) -> Outcome:
    """The scenario with the real planner and the real worker."""
    random = Random(scenario.seed)
    rows: list[RunnerRow] = [*fleet(scenario.runners, lifetime=scenario.lifetime, random=random)]
    world = _world(scenario, deployment, rows, random)
    new_worker = partial(RealWorker, world)
    _run(world, new_worker, restart=_nothing, sent_twice=deployment.sent_twice)
    return outcome_of(world, rule=OURS)


def run_rival(rule: Rule, scenario: Scenario, *, deployment: Deployment) -> Outcome:
    """The same scenario by another system's rule."""
    random = Random(scenario.seed)
    rows = [
        rival_row(row, rule, random)
        for row in fleet(scenario.runners, lifetime=scenario.lifetime, random=random)
    ]
    world = _world(scenario, deployment, rows, random)

    def restart() -> None:
        for row in rows:
            row.due_at = int(world.timeline.now)
            world.index.put(row)

    _run(
        world,
        lambda sandbox, owner: RivalWorker(rule, world, sandbox),
        restart=_nothing if rule.remembers else restart,
    )
    return outcome_of(world, rule=rule.name)


def _world[R: Row](
    scenario: Scenario, deployment: Deployment, rows: list[R], random: Random
) -> World[R]:
    timeline = Timeline()
    return World(
        scenario=scenario,
        deployment=deployment,
        timeline=timeline,
        random=random,
        issuer=Issuer(scenario, timeline=timeline, random=random),
        index=RunnerIndex(rows),
        measures=Measures(scenario),
    )


def _run(
    world: World[Any],
    new_environment: NewEnvironment,
    *,
    restart: Callable[[], None],
    sent_twice: bool = False,
) -> None:
    timeline, scenario, deployment = world.timeline, world.scenario, world.deployment
    queue = Queue(world)
    source = EventSource(world, queue, new_environment=new_environment)

    def tick(scheduled: int | None) -> None:
        """PlanRefreshFunction."""
        now = int(timeline.now)
        begins = work_begins(scheduled=scheduled, now=now) if deployment.on_the_minute else now
        rows = cast(Iterable[RunnerRow], world.index.all_due(now=begins))
        writes = WRITES_A_TICK if deployment.bounded else scenario.runners
        for due in planned_units(rows, now=begins, writes=writes):
            queue.send(
                due.work_unit, Selection(due.up_to, None, (f"tick-{begins}",)), delay=begins - now
            )
            if due.repeat_up_to is not None and sent_twice:
                repeated = Selection(due.repeat_up_to, begins, (f"again-{begins}",))
                queue.send(due.work_unit, repeated, delay=begins - now + REPEAT_SECONDS)

    def ticks() -> None:
        minute = 0
        while True:
            # "A schedule at 1:00 invokes between 1:00:00 and 1:00:59."
            timeline.wait(minute * TICK_SECONDS + world.random.uniform(0, 59) - timeline.now)
            tick(minute * TICK_SECONDS)
            minute += 1

    def deploy() -> None:
        source.deploy()
        restart()
        tick(None)

    def outage_ended() -> None:
        world.measures.outage_ended(world.index.rows(), now=timeline.now)

    source.start()
    timeline.start(ticks)
    timeline.start(deploy, after=scenario.deploy)
    timeline.start(outage_ended, after=scenario.outage.end)
    timeline.run(scenario.seconds)
    world.measures.ended(world.index.rows(), now=timeline.now)


def _nothing() -> None:
    """Whoever has everything in a table starts where it stopped."""
