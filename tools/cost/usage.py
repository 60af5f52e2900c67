"""What a stack uses in a month: counted in the templates and in the code, or assumed."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random
from typing import Any, get_args

from byline.heartbeats import SHARDS
from byline.metrics import BacklogMetric, PlannerMetric
from byline.refresh.timing import DAY_SECONDS, due_window, slots_for
from byline.refresh.work_units import shards
from local.template_yaml import read_template
from simulation.rival_rules import Rule
from stand_ins.secret_state import VERSIONS_KEPT
from tools.cost import prices
from tools.cost.prices import Price
from tools.scale.lives import measure

ROOT = Path(__file__).parents[2]
HOURS = 730
"""The hours of an average month, as AWS counts them."""
SECONDS = HOURS * 3600
MINUTES = HOURS * 60
POLLERS = 5
"""Lambda's long polls of an idle queue at the same time, each of 20 seconds.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What no template knows. Change one with `ARGS="name=value"`. Durations are billed time."""

    runs_per_user: int = field(
        default=220, metadata={"says": "runs of a user: 10 on each of 22 days"}
    )
    reads_per_user: int = field(
        default=440, metadata={"says": "reads and lists of a user: 20 a day"}
    )
    request_ms: int = field(default=40, metadata={"says": "RunsFunction, a request"})
    tick_ms: int = field(default=300, metadata={"says": "PlanRefreshFunction, a tick"})
    refresh_ms: int = field(
        default=75, metadata={"says": "RefreshTokensFunction, a refreshed token"}
    )
    cold_share: float = field(
        default=0.02, metadata={"says": "share of requests that start an environment"}
    )
    cold_ms: int = field(default=1_200, metadata={"says": "a cold start without SnapStart"})
    log_bytes: int = field(default=1_500, metadata={"says": "log lines of an invocation, bytes"})
    bytes_per_request: int = field(
        default=6_000, metadata={"says": "a request with its answer, bytes"}
    )
    token_lifetime: int = field(default=900, metadata={"says": "lifetime of a token, seconds"})
    runners_per_token: int = field(default=50, metadata={"says": "runners that share a token"})
    replaced_a_day: float = field(
        default=1.0, metadata={"says": "share of runners that are deleted and replaced in a day"}
    )
    runs_kept_months: int = field(default=12, metadata={"says": "months of runs in the table"})


CHANGES_OF_A_RUN = 3
"""Created, started, finished."""
READ_UNITS_OF_A_REQUEST = 2
SLICES_OF_A_REFRESH = 3
"""Time slices for a refreshed token: by both messages of its work unit, and where another one holds
the lease. So many in the simulation with 20,000 isolated tokens."""
WRITE_UNITS_OF_A_REFRESH = 4 + 2 * SLICES_OF_A_REFRESH
"""The row in a transaction, its place in the index, and each slice's lease: taken, given back."""
READ_UNITS_OF_A_REFRESH = 2 + 2 * SLICES_OF_A_REFRESH
"""The row, the client's state, and what is due before and after each slice."""
SECRET_CALLS_OF_A_REFRESH = 2
"""The put, and reading the client's secret, which a token alone in its work unit does not share."""
QUEUE_REQUESTS_OF_A_REFRESH = 2 * 3
"""Two messages, each sent, received and deleted. Work units with several due tokens need fewer."""
WRITE_UNITS_OF_A_REGISTRATION = 7
"""Runner, token and audit record in a transaction, and the record's place in an index. A deletion
takes as many."""
ROW_BYTES = 1_124
"""A row of at most a kilobyte, with what DynamoDB adds."""


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the bill."""

    name: str
    price: Price
    quantity: float

    @property
    def dollars(self) -> float:
        """A month, in dollars."""
        return self.price.of(self.quantity)


def idle(has: Assumptions, *, memory_mb: int) -> list[Item]:
    """A stack that nobody uses: ticks, empty queue polls, metrics."""
    gb = memory_mb / 1024
    return [
        Item("ticks", prices.TICK, MINUTES),
        Item("ticks", prices.INVOCATION, MINUTES),
        Item("ticks", prices.GB_SECOND, MINUTES * has.tick_ms / 1000 * gb),
        Item("ticks", prices.READ_UNIT, MINUTES * (len(shards()) + len(SHARDS) / 2)),
        Item("ticks", prices.TRACE, MINUTES),
        Item("ticks", prices.LOG_GB, MINUTES * has.log_bytes / 1e9),
        Item("empty polls of the queue", prices.QUEUE_REQUEST, POLLERS * SECONDS / 20),
        Item("metrics", prices.CUSTOM_METRIC, len(get_args(PlannerMetric))),
    ]


def snapshot(memory_mb: int) -> list[Item]:
    """One cached snapshot of RunsFunction. A restore is counted with the requests."""
    return [Item("cached snapshot", prices.SNAPSHOT_GB_SECOND, SECONDS * memory_mb / 1024)]


def load_balancer() -> list[Item]:
    """A load balancer of the stack's own, before any request."""
    return [Item("load balancer", prices.LOAD_BALANCER_HOUR, HOURS)]


def alarms(*, registration: bool = False) -> list[Item]:
    """The alarms, and the dashboard of observability.yaml."""
    return [
        Item("alarms", prices.ALARM_METRIC, alarm_metrics(registration=registration)),
        Item("dashboard", prices.DASHBOARD, 1),
    ]


def users(count: int, has: Assumptions, *, memory_mb: int, snap_start: bool) -> list[Item]:
    """The requests of `count` users, and the rows that they leave."""
    gb = memory_mb / 1024
    runs, life = count * has.runs_per_user, measure()
    changes = runs * CHANGES_OF_A_RUN
    requests = changes + count * has.reads_per_user
    cold = requests * has.cold_share
    stored_gb = runs * has.runs_kept_months * life.stored_bytes_without_registration / 1e9
    start = (
        Item("restores", prices.RESTORED_GB, cold * gb)
        if snap_start
        else Item("cold starts", prices.GB_SECOND, cold * has.cold_ms / 1000 * gb)
    )
    return [
        start,
        Item("requests", prices.INVOCATION, requests),
        Item("requests", prices.GB_SECOND, requests * has.request_ms / 1000 * gb),
        Item("requests", prices.WRITE_UNIT, runs * life.units_without_registration),
        Item("requests", prices.READ_UNIT, requests * READ_UNITS_OF_A_REQUEST),
        Item("requests", prices.LOG_GB, requests * has.log_bytes / 1e9),
        Item("requests", prices.TRACE, requests * 0.05),
        Item("rows", prices.STORED_GB, stored_gb),
        Item("rows", prices.BACKED_UP_GB, stored_gb),
        # A capacity unit is 0.4 GB an hour for Lambda targets.
        Item(
            "bytes through the load balancer",
            prices.CAPACITY_UNIT_HOUR,
            requests * has.bytes_per_request / 0.4e9,
        ),
    ]


def tokens(count: int, has: Assumptions, *, memory_mb: int) -> list[Item]:
    """`count` tokens that are kept fresh, however many runners point to them."""
    window = due_window(has.token_lifetime)
    refreshes = count * SECONDS / ((window.first + window.last) / 2)
    units = refreshes * WRITE_UNITS_OF_A_REFRESH
    requests = refreshes * QUEUE_REQUESTS_OF_A_REFRESH
    return [
        Item("secrets", prices.SECRET, count * slots_for(has.token_lifetime)),
        Item("refreshes", prices.SECRET_CALL, refreshes * SECRET_CALLS_OF_A_REFRESH),
        Item("refreshes", prices.GB_SECOND, refreshes * has.refresh_ms / 1000 * memory_mb / 1024),
        Item("refreshes", prices.WRITE_UNIT, units),
        Item("refreshes", prices.READ_UNIT, refreshes * READ_UNITS_OF_A_REFRESH),
        Item("refreshes", prices.QUEUE_REQUEST, requests),
    ]


def runners(count: int, has: Assumptions, *, memory_mb: int) -> list[Item]:
    """The rows of `count` runners, and their registrations and deletions."""
    requests = 2 * count * has.replaced_a_day * HOURS / 24
    stored_gb = count * ROW_BYTES / 1e9
    return [
        Item("registrations", prices.INVOCATION, requests),
        Item(
            "registrations", prices.GB_SECOND, requests * has.request_ms / 1000 * memory_mb / 1024
        ),
        Item("registrations", prices.WRITE_UNIT, requests * WRITE_UNITS_OF_A_REGISTRATION),
        Item("registrations", prices.READ_UNIT, requests * READ_UNITS_OF_A_REQUEST),
        Item("rows", prices.STORED_GB, stored_gb),
        Item("rows", prices.BACKED_UP_GB, stored_gb),
    ]


def isolated(count: int, has: Assumptions, *, memory_mb: int) -> list[Item]:
    """`count` runners, each with a token of its own."""
    return tokens(count, has, memory_mb=memory_mb) + runners(count, has, memory_mb=memory_mb)


def sharing(count: int, has: Assumptions, *, memory_mb: int) -> list[Item]:
    """`count` runners that share their tokens."""
    shared = -(-count // has.runners_per_token)
    return tokens(shared, has, memory_mb=memory_mb) + runners(count, has, memory_mb=memory_mb)


def rival(rule: Rule, has: Assumptions) -> list[Item]:
    """A runner whose token another system's rule keeps fresh, in a secret or more of its own.

    Only Secrets Manager is counted, and not what the system itself runs on.
    """
    writes = SECONDS / interval(rule, has)
    return [
        Item("secrets", prices.SECRET, secrets_of(rule, has)),
        Item("refreshes", prices.SECRET_CALL, writes),
    ]


def interval(rule: Rule, has: Assumptions) -> float:
    """Seconds between two refreshes of a token by a rule: the mean, and at least a minute."""
    random, lifetime = Random(1), has.token_lifetime  # noqa: S311 - a mean, the same in each run
    mean = sum(rule.next_due(1, lifetime, random) - 1 for _ in range(1_000)) / 1_000
    return max(60, mean)


def secrets_of(rule: Rule, has: Assumptions) -> int:
    """The secrets that a rule must write in turn, because each keeps a day's versions."""
    return -(-int(DAY_SECONDS / interval(rule, has)) // VERSIONS_KEPT)


def registration(has: Assumptions, *, memory_mb: int) -> list[Item]:
    """Registration that is on, before any run: passes every five minutes, metrics, alarms."""
    passes = MINUTES / 5
    return [
        Item("passes", prices.INVOCATION, passes),
        Item("passes", prices.GB_SECOND, passes * has.tick_ms / 1000 * memory_mb / 1024),
        Item("passes", prices.READ_UNIT, passes * 16),
        Item("metrics", prices.CUSTOM_METRIC, len(get_args(BacklogMetric))),
        Item(
            "alarms",
            prices.ALARM_METRIC,
            alarm_metrics(registration=True) - alarm_metrics(registration=False),
        ),
    ]


def alarm_metrics(*, registration: bool) -> int:
    """How many metrics the alarms read. AWS charges for each, also within one alarm."""
    return sum(
        _metrics_of(body["Properties"])
        for name in ("observability.yaml", "console.yaml")
        for body in _resources_of(name).values()
        if body["Type"] == "AWS::CloudWatch::Alarm"
        and (registration or body.get("Condition") != "Registration")
    )


def parameter(name: str) -> Any:
    """The default of a parameter of template.yaml."""
    return read_template(ROOT / "template.yaml")["Parameters"][name]["Default"]


def says(assumptions: Assumptions) -> list[tuple[str, object, str]]:
    """Name, value and meaning of each assumption."""
    return [
        (each.name, getattr(assumptions, each.name), each.metadata["says"])
        for each in fields(assumptions)
    ]


def dollars(items: list[Item]) -> float:
    """The sum of the items' prices."""
    return sum(item.dollars for item in items)


def _resources_of(template: str) -> dict[str, Any]:
    resources: dict[str, Any] = read_template(ROOT / template)["Resources"]
    return resources


def _metrics_of(alarm: dict[str, Any]) -> int:
    if "Metrics" not in alarm:
        return 1
    return sum("MetricStat" in metric for metric in alarm["Metrics"])
