"""Whatever the functions count raises an alarm and is drawn, and nothing else is watched."""

import json
import re
from typing import Any, get_args

import pytest

from byline.metrics import MetricName, Metrics
from plan_refresh.handler import report_health
from plan_refresh.planning import TokenHealth
from register_resources import metrics as registration_sight
from serve_runs import metrics as sight
from tests.template.stack import NO_VALUE, ROOT, properties, resources, template

ALARM = "AWS::CloudWatch::Alarm"

NAMESPACE = "Byline"

COUNTED = sorted(get_args(MetricName))

OF_REFRESH: tuple[MetricName, ...] = (
    "Ticks",
    "UnreadableRunner",
    "Refreshed",
    "Postponed",
    "StoreThrottled",
    "MessageNotUnderstood",
)
"""What the planner and the refresher count one by one."""

WITHOUT_ALARM = {
    "DueUnits",
    "Postponed",
    "Refreshed",
    "PendingRegistrations",
    "RegistrationAttempt",
    "RegistrationSuccess",
    "RegistrationRetry",
    "RegistrationFailure",
}
"""How much there is to do and how much was done: drawn, and neither good nor bad. A registration
that failed is pending, and the alarms are on what is pending for long or for good."""

FOR_SILENCE = {"TicksMissingAlarm", "PassesMissingAlarm"}
"""The alarms that are there for what does not happen."""

HEALTH = TokenHealth(
    oldest_due_age=1,
    least_life=1,
    within_margin=1,
    expired=1,
    waiting_for_first=1,
    most_writes_per_secret=1,
    due_units=1,
)


@pytest.fixture
def emitted(capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, str]]]:
    """Every metric that the functions write: name → the dimensions with which it is written."""
    capsys.readouterr()
    sight.count_rejected("expired")
    for name in get_args(sight.MetricName):
        sight.count(name)
    sight.flush(failed_fetches=0)
    metrics = Metrics()
    for counted in OF_REFRESH:
        metrics.count(counted)
    metrics.count("MintFailed", error_class="invalid_client")
    report_health(metrics, HEALTH)
    metrics.flush()
    registration_sight.count("attempt", "register", None)
    registration_sight.count("success", "register", None)
    registration_sight.count("retry", "register", "unavailable")
    registration_sight.count("failure", "register", "forbidden")
    registration_sight.count_pass()
    registration_sight.report_left(pending=1, refused=1, oldest_age=1.0)
    registration_sight.flush()
    found: dict[str, list[dict[str, str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        for written in document["_aws"]["CloudWatchMetrics"]:
            assert written["Namespace"] == NAMESPACE
            for metric in written["Metrics"]:
                for names in written["Dimensions"]:
                    dimensions = {name: document[name] for name in names}
                    found.setdefault(metric["Name"], []).append(dimensions)
    return found


def test_names_of_metrics_are_all_written(emitted: dict[str, list[dict[str, str]]]) -> None:
    """Each name of the lists is written by the functions, and no name beside them."""
    assert emitted.keys() == set(COUNTED)


@pytest.mark.parametrize("metric", sorted(set(COUNTED) - WITHOUT_ALARM))
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
def test_failures_are_drawn_by_their_kind(
    metric: str, dimension: str, value: str, emitted: dict[str, list[dict[str, str]]]
) -> None:
    """The search for reasons and classes names the dimensions with which they are written."""
    searches = "".join(line[0]["expression"] for line in _lines() if isinstance(line[0], dict))
    form = rf"\{{Byline,([a-z_,]+)\}} MetricName=\"{metric}\" service=\"(\w+)\""
    [(names, service)] = re.findall(form, searches)
    kinds = dict(zip(dimension.split(","), value.split(","), strict=True))
    assert {"service": service, **kinds} in emitted[metric]
    assert set(names.split(",")) == {"service", *kinds}


def test_failed_mints_are_drawn_by_client() -> None:
    """Who cannot mint is looked up in the log, by a message that the code writes there."""
    [query] = [widget["properties"]["query"] for widget in _widgets() if widget["type"] == "log"]
    message = re.search(r"filter message = '([^']+)'", query)
    assert message
    source = (ROOT / "functions/refresh_tokens/handler.py").read_text()
    assert re.search(
        rf'logger\.\w+\(\s*"{message[1]}",[^)]*project=[^)]*client=[^)]*error_class=', source
    )
    assert "by project, client, error_class" in query


def test_alarms_watch_nothing_that_nobody_counts() -> None:
    """An alarm on a metric with a wrong name would be silent for ever."""
    assert {body["MetricName"] for body in _alarms("Byline")} == set(COUNTED) - WITHOUT_ALARM


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_is_watched(metric: str) -> None:
    """Errors and throttles of each function raise an alarm."""
    watched = [_dimensions(body) for body in _alarms("AWS/Lambda") if body["MetricName"] == metric]
    functions = resources("AWS::Serverless::Function")
    assert watched == [{"FunctionName": {"Ref": name}} for name in functions]


def test_function_that_somebody_waits_for_is_watched_for_its_latency() -> None:
    """Who runs in the background has a time limit, and running out of it is an error."""
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
    """Work that waits, and messages that were given up, raise an alarm."""
    watched = [_dimensions(body) for body in _alarms("AWS/SQS") if body["MetricName"] == metric]
    assert {"QueueName": {"Fn::GetAtt": [queue, "QueueName"]}} in watched


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
    """Every alarm says what it means, goes to the operator's topic, and is quiet without data,
    but for those that are there for the silence."""
    body = properties(ALARM, alarm)
    topic = {"Fn::If": ["Notify", [{"Ref": "AlarmTopicArn"}], NO_VALUE]}
    assert body["AlarmDescription"]
    assert body["AlarmActions"] == topic
    assert body["OKActions"] == topic
    expected = "breaching" if alarm in FOR_SILENCE else "notBreaching"
    assert body["TreatMissingData"] == expected


def test_every_alarm_is_in_the_runbook_and_no_other() -> None:
    """Whoever is called finds an entry: what it means, what to look at, what to do."""
    runbook = (ROOT / "docs/runbook.md").read_text()
    alarms = runbook.partition("\n## Alarms\n")[2].partition("\n## ")[0]
    entries = {
        name.strip(): text
        for name, _, text in (part.partition("\n") for part in alarms.split("\n### ")[1:])
    }
    assert entries.keys() == resources(ALARM).keys()
    for text in entries.values():
        assert re.findall(r"\*\*(\w+(?: at)?)\*\*", text) == ["Means", "Look at", "Do"]


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
    return [line for widget in _widgets() for line in widget["properties"].get("metrics", [])]


def _widgets() -> list[dict[str, Any]]:
    body = properties("AWS::CloudWatch::Dashboard", "Dashboard")["DashboardBody"]["Fn::Sub"]
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets
