"""The tables of docs/scale.md: what a run's life costs, and the walls that follow from it."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from local.aws import ROOT
from local.template import Template
from register_resources.backlog import CONCURRENCY
from tools.scale.capacity import READ_UNIT_BYTES
from tools.scale.lives import ACCESS, LIFE, PROJECT, RUNS, Life

PARTITION_UNITS = 1_000
"""Write units that one partition takes in a second.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"""

DYNAMODB_SECONDS = 0.006
SERVICE_SECONDS = 0.05
"""Assumed times of one call of DynamoDB and of the authorization service."""

REQUEST_SECONDS = 0.05
"""The assumed time of a request that does not wait."""

ROWS_PER_REQUEST = 500
"""A filtered list reads at most 5 pages of 100 rows."""

REGISTERED = ("claim", "clear", "give back")

OF_RUNS = (RUNS, "by-creator", "by-live", "by-accountable", "by-unregistered")
NAMES = (*OF_RUNS, ACCESS, "by-person", "by-project")
"""The tables and indexes that a run's life writes."""

type Table = Sequence[tuple[str, ...]]


def costs(life: Life) -> Table:
    """The write units of each step."""
    steps: dict[str, tuple[str, ...]] = {
        name: (name,) for name in life.steps if name not in REGISTERED
    }
    steps["register, beside the stream"] = REGISTERED
    return [
        ("step", *(f"`{name}`" for name in NAMES)),
        *(
            (title, *(_or_dash(life.units(*parts, index=name)) for name in NAMES))
            for title, parts in steps.items()
        ),
    ]


def walls(life: Life) -> Table:
    """What one partition takes in a second."""

    def in_project(*steps: str) -> int:
        return life.units(*steps, index=RUNS, partition=PROJECT)

    # A message's check of its run changes nothing, and costs as much as a change of that row.
    check = in_project("start")
    found: list[tuple[str, str, int]] = [
        ("creates in one project", "the project's partition", in_project("create")),
        ("run lives in one project", "the same", in_project(*LIFE)),
        ("the same with registration", "the same", in_project(*LIFE, *REGISTERED)),
        ("run lives of one creator", "`by-creator`", life.units(*LIFE, index="by-creator")),
        (
            "the same with registration",
            "the same",
            life.units(*LIFE, *REGISTERED, index="by-creator"),
        ),
        ("changes by one person", "`by-person`", life.units("create", index="by-person")),
        ("records of one project", "`by-project`", life.units("create", index="by-project")),
        (
            "run lives of one person",
            "`by-accountable`",
            life.units(*LIFE, index="by-accountable"),
        ),
        ("starts in one project", "`by-live`, pending", _pending(life)),
        ("messages in one project", "the project's partition", check),
        ("messages in one run", "the run's messages", life.units("post a message", index=RUNS)),
        (
            "registrations in one project",
            "the project's claims",
            life.units(*REGISTERED, index=RUNS, partition=f"registration#{PROJECT}"),
        ),
    ]
    head = ("wall", "where", "write units each", "a second")
    return [
        head,
        *(
            (name, where, str(units), f"{PARTITION_UNITS // units:,}")
            for name, where, units in found
        ),
    ]


def other_figures(life: Life) -> Table:
    """Figures of storage, lists, registration and concurrency."""
    stored = sum(life.stored_bytes.values())
    mapping = _stream()
    calls = life.registration_calls * DYNAMODB_SECONDS + SERVICE_SECONDS
    rounds = ceil(mapping["BatchSize"] / CONCURRENCY)
    of_batch = mapping["BatchSize"] / (rounds * calls)
    waiting = _template()["Parameters"]["WaitingRequests"]["Default"]
    million = 1_000_000
    return [
        ("figure", "value", "from"),
        ("row of a run that is over", f"{life.row_bytes:,} bytes", "measured"),
        (
            "storage of a run with its audit records and indexes",
            f"{stored:,} bytes",
            "measured, with 100 bytes of overhead for each row",
        ),
        (
            "runs of a page of 20, read",
            f"{ceil(20 * life.row_bytes / READ_UNIT_BYTES) / 2:.1f} read units",
            "the row's size, eventually consistent",
        ),
        (
            "a rare state among a million runs",
            f"{million // ROWS_PER_REQUEST:,} requests,"
            f" {round(million * life.row_bytes / READ_UNIT_BYTES / 2):,} read units",
            f"{ROWS_PER_REQUEST} rows a request",
        ),
        ("pending or running ones among them", "1 request", "`by-live`"),
        (
            "registrations of one shard of the stream",
            f"{of_batch * mapping['ParallelizationFactor']:,.0f} a second",
            f"{mapping['ParallelizationFactor']} batches at once, each {of_batch:,.0f} a second:"
            f" {life.registration_calls} calls of {DYNAMODB_SECONDS * 1000:.0f} ms and one of"
            f" {SERVICE_SECONDS * 1000:.0f} ms for a run, {CONCURRENCY} runs at a time",
        ),
        (
            "requests with ten concurrent executions",
            f"{10 / REQUEST_SECONDS:,.0f} a second",
            f"{REQUEST_SECONDS * 1000:.0f} ms a request, and no request that waits",
        ),
        ("executions that waiting requests take", f"{waiting} at most", "`WaitingRequests`"),
    ]


def text(life: Life) -> str:
    """The three tables in Markdown."""
    parts = [
        "The write units of the life of a run with a name, three labels and a long subject:",
        _markdown(costs(life)),
        f"What follows for one partition, which takes {PARTITION_UNITS:,} write units a second:",
        _markdown(walls(life)),
        "And beside writes:",
        _markdown(other_figures(life)),
    ]
    return "\n\n".join(parts) + "\n"


def _pending(life: Life) -> int:
    partition = f"{PROJECT}#pending"
    return life.units("create", "start", index="by-live", partition=partition)


def _or_dash(units: int) -> str:
    return str(units) if units else "–"


def _markdown(table: Table) -> str:
    head, *rows = table
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _stream() -> Any:
    template = Template.read(ROOT / "template.yaml")
    found = template.resources("AWS::Lambda::EventSourceMapping").values()
    [mapping] = [body["Properties"] for body in found if "ParallelizationFactor" in str(body)]
    return mapping


def _template() -> Any:
    return Template.read(ROOT / "template.yaml").translated
