"""Each metric that the functions write has an alarm and a place on the dashboard."""

import json
import re
from typing import Any, get_args

import pytest

from byline.errors import Rejected
from byline.metrics import METRICS, AgentexMetric, Metrics
from byline.registration.counters import count_in
from serve_runs.web.problems import Problems
from tests.template.stack import NO_VALUE, ROOT, properties, resources

ALARM = "AWS::CloudWatch::Alarm"

NAMESPACE = "Byline"
STACK_NAME = "byline-test"

COUNTED = sorted(frozenset.union(*METRICS.values()))
"""RunsFunction calls the authorization service too, so two functions write four of the metrics."""

OF_AGENTEX = frozenset(get_args(AgentexMetric))
"""The same events as Byline's own metrics, for dashboards that exist already."""

WITHOUT_ALARM = {
    *OF_AGENTEX,
    "DueUnits",
    "Postponed",
    "Refreshed",
    "PendingRegistrations",
    "PendingRevocations",
    "RegistrationAttempt",
    "RegistrationSuccess",
    "RegistrationRetry",
    "RegistrationFailure",
}
"""Amounts of work, which are neither good nor bad. A failed registration stays pending, and the
alarms are on old and on refused registrations."""

FOR_SILENCE = {"TicksMissingAlarm", "PassesMissingAlarm"}
"""The alarms on missing data."""

LONGEST_DESCRIPTION = 1024
"""Characters. https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html"""


@pytest.fixture
def emitted(capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, str]]]:
    """Every metric that the functions write: name → the dimensions with which it is written."""
    capsys.readouterr()
    metrics = Metrics(STACK_NAME)
    for name in COUNTED:
        metrics.count(name)
    Problems(metrics, public_origin="").answer(
        Rejected("expired", "The token has expired."), request_id="-"
    )
    count_in(metrics, names="byline")("failure", "register", "forbidden")
    count_in(metrics, names="byline")("attempt", "register", None)
    count_in(metrics, names="byline")("success", "register", None)
    count_in(metrics, names="byline")("retry", "register", "unavailable")
    metrics.count("TokenReadDenied", reason="forbidden")
    metrics.count("MintFailed", error_class="invalid_client")
    metrics.flush()
    found: dict[str, list[dict[str, str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        for written in document.get("_aws", {}).get("CloudWatchMetrics", []):
            assert written["Namespace"] == NAMESPACE
            for metric in written["Metrics"]:
                for names in written["Dimensions"]:
                    dimensions = {name: document[name] for name in names}
                    found.setdefault(metric["Name"], []).append(dimensions)
    return found


@pytest.mark.parametrize("metric", COUNTED)
def test_metric_is_written_by_some_function(metric: str) -> None:
    """Each metric name of the code is written somewhere."""
    sources = [*(ROOT / "functions").rglob("*.py"), *(ROOT / "layers").rglob("*.py")]
    written = [path for path in sources if path.name != "metrics.py"]
    assert any(f'"{metric}"' in path.read_text() for path in written)


@pytest.mark.parametrize("metric", sorted(set(COUNTED) - WITHOUT_ALARM))
def test_metric_raises_an_alarm(metric: str, emitted: dict[str, list[dict[str, str]]]) -> None:
    """Each metric has one alarm, on dimensions with which the functions write it."""
    [alarm] = [body for body in _alarms("Byline") if body["MetricName"] == metric]
    assert _dimensions(alarm) in emitted[metric]


@pytest.mark.parametrize("metric", sorted(set(COUNTED) - OF_AGENTEX))
def test_metric_is_on_the_dashboard(metric: str, emitted: dict[str, list[dict[str, str]]]) -> None:
    """The dashboard shows each metric, on dimensions with which the functions write it."""
    drawn = [
        dict(zip(line[2::2], line[3::2], strict=True))
        for line in _lines()
        if line[:2] == [NAMESPACE, metric]
    ]
    assert drawn
    assert all(dimensions in emitted[metric] for dimensions in drawn)


@pytest.mark.parametrize(
    ("metric", "dimension", "value"),
    [
        ("Rejected", "reason", "expired"),
        ("MintFailed", "error_class", "invalid_client"),
        ("RegistrationRetry", "operation,error_class", "register,unavailable"),
        ("RegistrationFailure", "operation,error_class", "register,forbidden"),
    ],
)
def test_dashboard_shows_failures_by_class(
    metric: str, dimension: str, value: str, emitted: dict[str, list[dict[str, str]]]
) -> None:
    """The search expressions name the dimensions with which the functions write failures."""
    searches = "".join(line[0]["expression"] for line in _lines() if isinstance(line[0], dict))
    form = rf"\{{Byline,([a-z_,]+)\}} MetricName=\"{metric}\" service=\"([\w-]+)\""
    [(names, service)] = re.findall(form, searches)
    kinds = dict(zip(dimension.split(","), value.split(","), strict=True))
    assert {"service": service, **kinds} in emitted[metric]
    assert set(names.split(",")) == {"service", *kinds}


def test_dashboard_shows_failed_mints_by_client() -> None:
    """The log query for failed mints filters by a message that the code logs."""
    [query] = [widget["properties"]["query"] for widget in _widgets() if widget["type"] == "log"]
    message = re.search(r"filter message = '([^']+)'", query)
    assert message
    source = (ROOT / "functions/refresh_tokens/handler.py").read_text()
    assert re.search(rf'logger\.\w+\("{message[1]}", \*\*_token\(row\), \*\*failure\)', source)
    assert all(f'"{name}": ' in source for name in ("project", "client", "error_class"))
    assert "by project, client, error_class" in query


def test_every_alarm_watches_a_metric_of_the_code() -> None:
    """No alarm names a metric that no function writes: it would never be raised."""
    assert {body["MetricName"] for body in _alarms("Byline")} == set(COUNTED) - WITHOUT_ALARM


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_is_watched(metric: str) -> None:
    """Errors and throttles of each function raise an alarm."""
    watched = [_dimensions(body) for body in _alarms("AWS/Lambda") if body["MetricName"] == metric]
    functions = resources("AWS::Lambda::Function")
    assert watched == [{"FunctionName": {"Ref": name}} for name in functions]


def test_only_runs_function_has_a_latency_alarm() -> None:
    """Callers wait only for RunsFunction. Other functions raise their errors alarm by a timeout."""
    watched = [
        _dimensions(body) for body in _alarms("AWS/Lambda") if body["MetricName"] == "Duration"
    ]
    assert watched == [{"FunctionName": {"Ref": "RunsFunction"}}]


@pytest.mark.parametrize(
    ("metric", "queue"),
    [
        ("ApproximateAgeOfOldestMessage", "RefreshQueue"),
        ("ApproximateNumberOfMessagesVisible", "RefreshDeadLetters"),
        ("ApproximateNumberOfMessagesVisible", "RegistrationDeadLetters"),
    ],
)
def test_queue_is_watched(metric: str, queue: str) -> None:
    """Old messages and dead letters raise an alarm."""
    watched = [_dimensions(body) for body in _alarms("AWS/SQS") if body["MetricName"] == metric]
    assert {"QueueName": {"Fn::GetAtt": [queue, "QueueName"]}} in watched


@pytest.mark.parametrize("metric", ["ReadThrottleEvents", "WriteThrottleEvents", "SystemErrors"])
def test_every_table_is_watched(metric: str) -> None:
    """Throttles of each table and its indexes raise an alarm, and so do system errors."""
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
def test_alarm_has_at_most_ten_metrics(alarm: str) -> None:
    """CloudWatch refuses an alarm with more, and the deployment with it.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-limits.html"""
    parts = properties(ALARM, alarm).get("Metrics", [])
    assert len([part for part in parts if "MetricStat" in part]) <= 10


@pytest.mark.parametrize("alarm", resources(ALARM))
def test_alarm_notifies_the_operators_topic(alarm: str) -> None:
    """Every alarm names its runbook entry and notifies the topic. Missing data raises only the
    alarms on missing data."""
    body = properties(ALARM, alarm)
    topic: Any = {"Fn::If": ["Notify", [{"Ref": "AlarmTopicArn"}], NO_VALUE]}
    if isinstance(body["AlarmActions"], list):  # a severe one
        topics = {"Notify": "AlarmTopicArn", "NotifySevere": "SevereAlarmTopicArn"}
        topic = [{"Fn::If": [name, {"Ref": arn}, NO_VALUE]} for name, arn in topics.items()]
    text = body["AlarmDescription"]
    text = text["Fn::Sub"] if isinstance(text, dict) else text
    assert text.endswith(f". See {alarm} in docs/runbook.md.")
    assert len(text) <= LONGEST_DESCRIPTION
    assert body["AlarmActions"] == topic
    assert body["OKActions"] == topic
    expected = "breaching" if alarm in FOR_SILENCE else "notBreaching"
    assert body["TreatMissingData"] == expected


def test_every_alarm_is_in_the_runbook_and_no_other() -> None:
    """Each alarm has one runbook entry: what it means, what to look at, what to do."""
    runbook = (ROOT / "docs/runbook.md").read_text()
    alarms = runbook.partition("\n## Alarms\n")[2].partition("\n## ")[0]
    entries = {
        name.strip(): text
        for name, _, text in (part.partition("\n") for part in alarms.split("\n### ")[1:])
    }
    assert entries.keys() == resources(ALARM).keys()
    for text in entries.values():
        assert re.findall(r"\*\*(\w+(?: at)?)\*\*", text) == ["Means", "Look at", "Do"]


def _alarms(namespace: str) -> list[dict[str, Any]]:
    bodies = [alarm["Properties"] for alarm in resources(ALARM).values()]
    return [body for body in bodies if body.get("Namespace") == namespace]


def _dimensions(body: dict[str, Any]) -> dict[str, Any]:
    values = {dimension["Name"]: dimension["Value"] for dimension in body["Dimensions"]}
    return {
        name: STACK_NAME if value == {"Ref": "AWS::StackName"} else value
        for name, value in values.items()
    }


def _lines() -> list[list[Any]]:
    """The metrics of all widgets of the dashboard."""
    return [line for widget in _widgets() for line in widget["properties"].get("metrics", [])]


def _widgets() -> list[dict[str, Any]]:
    body = properties("AWS::CloudWatch::Dashboard", "Dashboard")["DashboardBody"]["Fn::Sub"]
    document = json.loads(body.replace("${StackName}", STACK_NAME))
    widgets: list[dict[str, Any]] = document["widgets"]
    return widgets
