"""Whatever the function counts raises an alarm and is drawn, and nothing else is watched."""

import json
import re
from typing import Any, get_args

import pytest

import sight
from tests.template.stack import NO_VALUE, properties, resources, template

ALARM = "AWS::CloudWatch::Alarm"

COUNTED = get_args(sight.MetricName)


@pytest.fixture
def emitted(capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, str]]]:
    """Every metric that the function writes: name → the dimensions with which it is written."""
    capsys.readouterr()
    sight.count_rejected("expired")
    for name in COUNTED:
        sight.count(name)
    sight.flush(failed_fetches=0)
    found: dict[str, list[dict[str, str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        for metrics in document["_aws"]["CloudWatchMetrics"]:
            assert metrics["Namespace"] == sight.NAMESPACE
            for metric in metrics["Metrics"]:
                for names in metrics["Dimensions"]:
                    dimensions = {name: document[name] for name in names}
                    found.setdefault(metric["Name"], []).append(dimensions)
    return found


@pytest.mark.parametrize("metric", COUNTED)
def test_metric_raises_an_alarm(metric: str, emitted: dict[str, list[dict[str, str]]]) -> None:
    """Each metric of the code has an alarm, on dimensions with which it is really written."""
    [alarm] = [body for body in _alarms("Byline") if body["MetricName"] == metric]
    assert _dimensions(alarm) in emitted[metric]


@pytest.mark.parametrize("metric", COUNTED)
def test_metric_is_on_the_dashboard(metric: str, emitted: dict[str, list[dict[str, str]]]) -> None:
    """Each metric of the code is drawn, on dimensions with which it is really written."""
    drawn = [
        dict(zip(line[2::2], line[3::2], strict=True))
        for line in _lines()
        if line[:2] == [sight.NAMESPACE, metric]
    ]
    assert drawn
    assert all(dimensions in emitted[metric] for dimensions in drawn)


def test_rejections_are_drawn_by_reason(emitted: dict[str, list[dict[str, str]]]) -> None:
    """The search for reasons names the dimensions with which rejections are written."""
    [search] = [line[0]["expression"] for line in _lines() if "reason" in str(line[0])]
    match = re.search(r"\{Byline,([a-z,]+)\} MetricName=\"Rejected\" service=\"(\w+)\"", search)
    assert match
    names, service = match.groups()
    assert {"service": service, "reason": "expired"} in emitted["Rejected"]
    assert set(names.split(",")) == {"service", "reason"}


def test_alarms_watch_nothing_that_nobody_counts() -> None:
    """An alarm on a metric with a wrong name would be silent for ever."""
    assert {body["MetricName"] for body in _alarms("Byline")} == set(COUNTED)


@pytest.mark.parametrize("metric", ["Errors", "Throttles", "Duration"])
def test_every_function_is_watched(metric: str) -> None:
    """Errors, throttles and latency of each function raise an alarm."""
    watched = [_dimensions(body) for body in _alarms("AWS/Lambda") if body["MetricName"] == metric]
    functions = resources("AWS::Serverless::Function")
    assert watched == [{"FunctionName": {"Ref": name}} for name in functions]


@pytest.mark.parametrize("metric", ["ReadThrottleEvents", "WriteThrottleEvents", "SystemErrors"])
def test_every_table_is_watched(metric: str) -> None:
    """Throttles, of the table and of its index, and DynamoDB's own faults raise an alarm."""
    watched = [
        _dimensions(part["MetricStat"]["Metric"])
        for body in resources(ALARM).values()
        for part in body["Properties"].get("Metrics", [])
        if part.get("MetricStat", {}).get("Metric", {}).get("MetricName") == metric
    ]
    for name, table in resources("AWS::DynamoDB::Table").items():
        of_table = [
            dimensions for dimensions in watched if dimensions["TableName"] == {"Ref": name}
        ]
        if metric == "SystemErrors":
            assert {dimensions["Operation"] for dimensions in of_table} >= {"PutItem", "Query"}
            continue
        indexes = [index["IndexName"] for index in table["Properties"]["GlobalSecondaryIndexes"]]
        assert [dimensions.get("GlobalSecondaryIndexName") for dimensions in of_table] == [
            None,
            *indexes,
        ]


@pytest.mark.parametrize("alarm", resources(ALARM))
def test_alarm_tells_somebody(alarm: str) -> None:
    """Every alarm says what it means, goes to the operator's topic, and is quiet without data."""
    body = properties(ALARM, alarm)
    topic = {"Fn::If": ["Notify", [{"Ref": "AlarmTopicArn"}], NO_VALUE]}
    assert body["AlarmDescription"]
    assert body["AlarmActions"] == topic
    assert body["OKActions"] == topic
    assert body["TreatMissingData"] == "notBreaching"


def test_dashboard_refers_to_what_exists() -> None:
    """Everything that the dashboard names is in the template."""
    known = {*template()["Resources"], "AWS::Region"}
    body = properties("AWS::CloudWatch::Dashboard", "Dashboard")["DashboardBody"]["Fn::Sub"]
    names = {name.partition(".")[0] for name in re.findall(r"\$\{([^}]+)\}", body)}
    assert names <= known


def _alarms(namespace: str) -> list[dict[str, Any]]:
    bodies = [alarm["Properties"] for alarm in resources(ALARM).values()]
    return [body for body in bodies if body.get("Namespace") == namespace]


def _dimensions(body: dict[str, Any]) -> dict[str, Any]:
    return {dimension["Name"]: dimension["Value"] for dimension in body["Dimensions"]}


def _lines() -> list[list[Any]]:
    """Every line that the dashboard draws."""
    body = properties("AWS::CloudWatch::Dashboard", "Dashboard")["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(body)["widgets"]
    return [line for widget in widgets for line in widget["properties"]["metrics"]]
