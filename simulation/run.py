"""Runs the two simulated days of a fleet under one refresh rule."""

from array import array
from collections.abc import Callable
from copy import replace
from functools import partial
from random import Random

from byline.refresh.timing import TICK_SECONDS
from byline.refresh.work_units import Selection
from plan_refresh.planning import REPEAT_SECONDS, planned_units, work_begins
from simulation.deployment import deployed
from simulation.event_source import EventSource, NewEnvironment, Queue
from simulation.fleet import Fleet, aged_row, fleet
from simulation.issuer import Issuer
from simulation.measures import Measures
from simulation.outcome import Outcome, outcome_of
from simulation.real_worker import RealWorker
from simulation.registrations import Registrations
from simulation.rival_rules import Rule, rule_named
from simulation.rivals import RivalWorker, rival_row
from simulation.scenario import Scenario
from simulation.timeline import Timeline
from simulation.token_index import TokenIndex
from simulation.world import Sandbox, World

OURS = "Byline"


def run(scenario: Scenario, rule: str) -> Outcome:
    """The outcome of a scenario under the rule of this name: Byline, or another system's rule.

    Raises `StopIteration` where no rule has the name.
    """
    random = Random(scenario.seed)
    asked = fleet(scenario, random)
    world = _world(scenario, asked, random)
    if rule == OURS:
        _run_ours(world, asked)
    else:
        _run_rival(rule_named(rule, lifetime=scenario.lifetime), world, asked)
    return outcome_of(world, rule=rule)


def _run_ours(world: World, asked: Fleet) -> None:
    """Run the deployed planner and worker."""
    _simulate(
        world, asked, partial(RealWorker, world), restart=lambda: None, has_second_messages=True
    )


def _run_rival(rule: Rule, world: World, asked: Fleet) -> None:
    """Run another system's rule, with the same fleet and faults."""
    for row in list(world.index.rows()):
        world.index.put(rival_row(row, rule, world.random))

    def restart() -> None:
        for row in () if rule.remembers else list(world.index.rows()):
            world.index.put(replace(row, due_at=int(world.timeline.now)))

    def new_worker(sandbox: Sandbox, owner: str) -> RivalWorker:
        return RivalWorker(rule, world, sandbox)

    _simulate(world, asked, new_worker, restart=restart, has_second_messages=False)


def _world(scenario: Scenario, asked: Fleet, random: Random) -> World:
    timeline = Timeline()
    runners = array("l", asked.runners)
    rows = [aged_row(key, scenario, random, number=number) for number, key in enumerate(asked.keys)]
    return World(
        scenario=scenario,
        deployment=deployed(),
        timeline=timeline,
        random=random,
        issuer=Issuer(scenario, timeline=timeline, random=random),
        index=TokenIndex(rows),
        measures=Measures(scenario, runners),
        runners=runners,
    )


def _simulate(
    world: World,
    asked: Fleet,
    new_environment: NewEnvironment,
    *,
    restart: Callable[[], None],
    has_second_messages: bool,
) -> None:
    timeline, scenario = world.timeline, world.scenario
    queue = Queue(world)
    source = EventSource(world, queue, new_environment=new_environment)

    def tick(scheduled: int | None) -> None:
        """Do what PlanRefreshFunction does."""
        now = int(timeline.now)
        begins = work_begins(scheduled=scheduled, now=now)
        due_rows = world.index.all_due(now=begins)
        tried = (row for row in due_rows if (row.try_at or 0) <= begins)
        for due in planned_units(tried, now=begins):
            queue.send(
                due.work_unit, Selection(due.up_to, None, (f"tick-{begins}",)), delay=begins - now
            )
            if due.repeat_up_to is not None and has_second_messages:
                second = Selection(due.repeat_up_to, begins, (f"again-{begins}",))
                queue.send(due.work_unit, second, delay=begins - now + REPEAT_SECONDS)

    def ticks() -> None:
        minute = 0
        while True:
            # EventBridge Scheduler invokes a schedule for 1:00 between 1:00:00 and 1:00:59.
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
    timeline.start(Registrations(world, queue, asked).replace_runners)
    timeline.start(deploy, after=scenario.deploy)
    timeline.start(outage_ended, after=scenario.outage.end)
    timeline.run(scenario.seconds)
    world.measures.ended(world.index.rows(), now=timeline.now)
