"""The runbook has what an operator looks up: alarms, error classes, metrics, log lines."""

import ast
import inspect
import re

from byline.registration.counters import EXCEPTION_CLASSES
from tests.docs.documents import ROOT, names, section, table
from tests.docs.facts import METRICS, REGISTRATION_ERROR_CLASSES
from tests.docs.templates import alarms
from tools.smoke import __main__ as smoke

RUNBOOK = "docs/runbook.md"
METRIC_ROWS = {
    names(row["metric"])[0]: row for row in table(section(RUNBOOK, "## Metrics"), "metric")
}


def _entries() -> dict[str, str]:
    parts = section(RUNBOOK, "## Alarms").split("\n### ")[1:]
    return {name.strip(): text for name, _, text in (part.partition("\n") for part in parts)}


def _log_messages() -> set[str]:
    """Every constant message that a function or the layer logs."""
    found = set()
    for folder in ("functions", "layers/identity/byline"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(
                        func=ast.Attribute(attr="error" | "warning" | "exception" | "info"),
                        args=[ast.Constant(value=str(text)), *_],
                    ):
                        found.add(text)
    return found


def test_every_alarm_has_an_entry_and_no_other() -> None:
    """An operator who gets an alarm finds what it means, what to look at and what to do."""
    entries = _entries()
    assert entries.keys() == alarms().keys()
    for text in entries.values():
        assert re.findall(r"\*\*(\w+(?: at)?)\*\*", text) == ["Means", "Look at", "Do"]


def test_severe_alarms_are_those_that_notify_the_second_topic() -> None:
    """An operator who connects SevereAlarmTopicArn to a pager knows what calls."""
    rows = table(section(RUNBOOK, "## Severe alarms"), "alarm")
    listed = [name for row in rows for name in names(row["alarm"])]
    severe = [name for name, body in alarms().items() if "Severe" in str(body["AlarmActions"])]
    assert sorted(listed) == sorted(severe)


def test_every_class_of_registration_has_an_action_and_no_other() -> None:
    """An operator who reads a class in a row, a metric or a log finds what to do about it."""
    rows = table(_entries()["OldestPendingAgeAlarm"], "class")
    listed = [name for row in rows for name in names(row["class"])]
    assert sorted(listed) == sorted(REGISTRATION_ERROR_CLASSES)
    assert all(row["action"] for row in rows)


def test_every_metric_is_described_with_the_functions_that_write_it() -> None:
    """An operator who sees a metric finds its meaning and its origin."""
    written: dict[str, set[str]] = {}
    for function, metrics in METRICS.items():
        for metric in metrics:
            written.setdefault(metric, set()).add(function)
    listed = {name: set(row["written by"].split(", ")) for name, row in METRIC_ROWS.items()}
    assert listed == written
    assert all(row["value"] for row in METRIC_ROWS.values())


def test_metric_names_the_alarm_that_watches_it() -> None:
    """The alarm of a metric in the table is the one in the template; a dash means none."""
    watching = {
        body["MetricName"]: name
        for name, body in alarms().items()
        if body.get("Namespace") == "Byline"
    }
    listed = {name: names(row["alarm"]) for name, row in METRIC_ROWS.items()}
    assert listed == {
        name: [watching[name]] if name in watching else [] for name in METRIC_ROWS.keys() | watching
    }


def test_log_line_that_the_runbook_names_is_written_by_the_code() -> None:
    """An operator who searches the logs as the runbook says finds the lines."""
    text = " ".join((ROOT / RUNBOOK).read_text().split())
    named = re.findall(r"log lines `([^`]+)`(?:,? and `([^`]+)`)?", text)
    messages = {message for pair in named for message in pair if message}
    assert messages
    assert messages - _log_messages() == set()


def test_every_error_class_has_the_exception_that_agentex_raises() -> None:
    """An operator who filters by `exception_class` finds the classes behind it."""
    rows = table(section(RUNBOOK, "### agentex's counters"), "error class")
    listed = {
        error_class: names(row["exception class"])[0]
        for row in rows
        for error_class in names(row["error class"])
    }
    assert listed == EXCEPTION_CLASSES


def test_checks_of_a_deployment_are_those_of_the_program() -> None:
    """An operator finds each verdict's check, in the order in which `make smoke` prints them."""
    rows = table(section(RUNBOOK, "## Check a deployment"), "check")
    assert [names(row["check"])[0] for row in rows] == list(smoke.CHECKS)


def test_variables_of_the_checks_are_those_that_the_program_reads() -> None:
    """An operator finds each variable that `make smoke` reads, and its help has the same."""
    rows = table(section(RUNBOOK, "## Check a deployment"), "variable")
    read = set(re.findall(r'environ\.get\("(\w+)"', inspect.getsource(smoke)))
    assert {names(row["variable"])[0] for row in rows} == read
    assert smoke.__doc__ is not None
    assert all(name in smoke.__doc__ for name in read)
