"""Metrics are written once an invocation, in CloudWatch's embedded metric format."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aws_lambda_powertools.metrics import MetricUnit

from byline.metrics import NAMESPACE, Metrics

SERVICE = "stage"

type Written = list[tuple[str, int, str, dict[str, str]]]
"""Name, value, unit and dimensions of each metric."""


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Callable[[], Written]:
    """The metrics that were written since the last call, as CloudWatch reads them."""

    def read() -> Written:
        found: Written = []
        for line in capsys.readouterr().out.splitlines():
            document: dict[str, Any] = json.loads(line)
            for directive in document["_aws"]["CloudWatchMetrics"]:
                assert directive["Namespace"] == NAMESPACE
                [names] = directive["Dimensions"]
                dimensions = {name: document[name] for name in names}
                for metric in directive["Metrics"]:
                    [value] = document[metric["Name"]]
                    found.append((metric["Name"], value, metric["Unit"], dimensions))
        return found

    read()
    return read


def test_counts_add_up_to_one_total(written: Callable[[], Written]) -> None:
    """A metric without dimensions has the service's alone, and is written once."""
    metrics = Metrics(SERVICE)
    metrics.count("Refreshed", 2)
    metrics.count("Refreshed")
    metrics.flush()
    assert written() == [("Refreshed", 3, "Count", {"service": SERVICE})]


def test_dimensions_are_counted_beside_the_total(written: Callable[[], Written]) -> None:
    """The alarm reads the total; each error class has a metric of its own."""
    metrics = Metrics(SERVICE)
    for error_class in ("invalid_client", "timeout", "timeout"):
        metrics.count("MintFailed", error_class=error_class)
    metrics.flush()
    service = {"service": SERVICE}
    assert written() == [
        ("MintFailed", 3, "Count", service),
        ("MintFailed", 1, "Count", {**service, "error_class": "invalid_client"}),
        ("MintFailed", 2, "Count", {**service, "error_class": "timeout"}),
    ]


def test_reported_state_replaces_an_earlier_one(written: Callable[[], Written]) -> None:
    """The last value of an invocation counts, with its unit."""
    metrics = Metrics(SERVICE)
    metrics.report("OldestDueAge", 5, MetricUnit.Seconds)
    metrics.report("OldestDueAge", 3, MetricUnit.Seconds)
    metrics.report("Ticks", 0)
    metrics.flush()
    service = {"service": SERVICE}
    assert written() == [
        ("OldestDueAge", 3, "Seconds", service),
        ("Ticks", 0, "Count", service),
    ]


def test_second_flush_writes_nothing_again(written: Callable[[], Written]) -> None:
    """A value belongs to one invocation, and an invocation without values writes no line."""
    metrics = Metrics(SERVICE)
    metrics.flush()
    assert written() == []
    metrics.count("Rejected", reason="expired")
    metrics.flush()
    assert len(written()) == 2
    metrics.flush()
    assert written() == []
    metrics.count("Rejected")
    metrics.flush()
    assert written() == [("Rejected", 1, "Count", {"service": SERVICE})]


def test_counts_of_several_threads_all_add_up(written: Callable[[], Written]) -> None:
    """No count is lost where threads count the same metric at once."""
    metrics = Metrics(SERVICE)

    def work(_: int) -> None:
        for _ in range(500):
            metrics.count("Refreshed")
            metrics.count("MintFailed", error_class="timeout")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    metrics.flush()
    assert {value for _, value, _, _ in written()} == {4_000}
