"""Refresh of runner tokens: limits and failure destinations of schedule, queue and workers."""

import json
from datetime import datetime

from byline.refresh.timing import (
    MARGIN_SECONDS,
    READERS_SECONDS,
    SOON_SECONDS,
    TICK_SECONDS,
    WRITES_PER_DAY,
)
from plan_refresh.planning import WRITES_PER_SECOND, scheduled_time
from refresh_tokens.refresher import UNITS_AT_ONCE
from tests.template.deployment import Deployment
from tests.template.stack import Json, properties, resources, template
from tools.refresh_events import AT

FUNCTION = "AWS::Lambda::Function"
QUEUE = "AWS::SQS::Queue"
INVOKE_CONFIG = "AWS::Lambda::EventInvokeConfig"

ACCOUNTS_WRITES = 50
"""A second, shared by all writers of an account in a region, and not adjustable.
https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html"""

DEAD_LETTERS = {"Fn::GetAtt": ["RefreshDeadLetters", "Arn"]}


def test_workers_together_make_at_most_40_writes_per_second() -> None:
    """MaximumConcurrency times the maximum of WritesPerSecond is 40 of the account's 50."""
    workers = _units()["ScalingConfig"]["MaximumConcurrency"]
    parameter = template()["Parameters"]["WritesPerSecond"]
    assert workers * parameter["MaxValue"] <= WRITES_PER_SECOND < ACCOUNTS_WRITES
    assert workers * parameter["Default"] == WRITES_PER_SECOND, "what the planner counts on"


def test_refresh_functions_get_the_operators_settings() -> None:
    """Both functions get WritesPerSecond, and the worker gets DefaultTokenLifetime."""
    variables = properties(FUNCTION, "RefreshTokensFunction")["Environment"]["Variables"]
    planners = properties(FUNCTION, "PlanRefreshFunction")["Environment"]["Variables"]
    assert variables["WRITES_PER_SECOND"] == {"Ref": "WritesPerSecond"}
    assert planners["WRITES_PER_SECOND"] == {"Ref": "WritesPerSecond"}
    assert variables["DEFAULT_TOKEN_LIFETIME"] == {"Ref": "DefaultTokenLifetime"}


def test_functions_of_the_refresh_share_table_and_queue() -> None:
    """RunsFunction, the planner and the worker use the same RunnersTable and RefreshQueue."""
    for function in ("RunsFunction", "PlanRefreshFunction", "RefreshTokensFunction"):
        variables = properties(FUNCTION, function)["Environment"]["Variables"]
        assert variables["RUNNERS_TABLE"] == {"Ref": "RunnersTable"}
        assert variables["REFRESH_QUEUE_URL"] == {"Ref": "RefreshQueue"}


def test_refresh_functions_have_no_snapshot() -> None:
    """No caller waits for their cold start, and an idle snapshot costs money."""
    for function in ("PlanRefreshFunction", "RefreshTokensFunction"):
        assert "SnapStart" not in properties(FUNCTION, function)


def test_tick_runs_every_minute_and_ends_before_the_next() -> None:
    """The schedule has the shortest rate, and the planner's timeout is shorter than that."""
    assert TICK_SECONDS == 60
    assert _tick()["ScheduleExpression"] == "rate(1 minute)"
    assert properties(FUNCTION, "PlanRefreshFunction")["Timeout"] < TICK_SECONDS


def test_tick_carries_its_scheduled_time() -> None:
    """The planner reads that time, so work starts on the minute even after a late tick."""
    tick = json.loads(_tick()["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", AT))
    assert scheduled_time(tick) == datetime.fromisoformat(AT).timestamp()


def test_late_tick_is_dropped() -> None:
    """Neither the scheduler nor Lambda's own queue delivers a tick after the next one."""
    assert _tick()["Target"]["RetryPolicy"] == {
        "MaximumRetryAttempts": 1,
        "MaximumEventAgeInSeconds": 60,
    }
    invoke = properties(INVOKE_CONFIG, "PlanRefreshFunctionEventInvokeConfig")
    assert (invoke["MaximumRetryAttempts"], invoke["MaximumEventAgeInSeconds"]) == (0, 60)


def test_failed_tick_goes_to_the_dead_letters() -> None:
    """A tick that was not delivered, and one that failed, raise RefreshDeadLettersAlarm."""
    assert _tick()["Target"]["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
    invoke = properties(INVOKE_CONFIG, "PlanRefreshFunctionEventInvokeConfig")
    assert invoke["DestinationConfig"] == {"OnFailure": {"Destination": DEAD_LETTERS}}


def test_schedule_has_no_fixed_name() -> None:
    """CloudFormation chooses the name, so a second stack in the account can be deployed."""
    for schedule in resources("AWS::Scheduler::Schedule").values():
        assert "Name" not in schedule["Properties"]


def test_message_stays_invisible_while_a_worker_has_it() -> None:
    """The visibility timeout is at least six times the function's timeout, as AWS recommends.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    """
    timeout = properties(FUNCTION, "RefreshTokensFunction")["Timeout"]
    assert properties(QUEUE, "RefreshQueue")["VisibilityTimeout"] >= 6 * timeout


def test_failed_message_goes_to_the_dead_letters() -> None:
    """It reaches the dead letters before it expires, and stays there for 14 days."""
    queue = properties(QUEUE, "RefreshQueue")
    redrive = queue["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == DEAD_LETTERS
    assert redrive["maxReceiveCount"] * queue["VisibilityTimeout"] < queue["MessageRetentionPeriod"]
    assert properties(QUEUE, "RefreshDeadLetters")["MessageRetentionPeriod"] == 14 * 86_400


def test_queues_are_encrypted() -> None:
    """Encryption is explicit in the template, not a default."""
    deployment = Deployment({})
    for queue in ("RefreshQueue", "RefreshDeadLetters"):
        assert deployment.properties(queue)["SqsManagedSseEnabled"] is True


def test_failed_unit_is_redelivered_without_its_batch() -> None:
    """SQS redelivers only the failed messages of a batch."""
    mapping = _units()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_batch_allows_the_full_rate_and_waits_at_most_a_second() -> None:
    """A large batch hides the time of the first mints, and a first token is not delayed."""
    mapping = _units()
    assert mapping["BatchSize"] >= 4 * UNITS_AT_ONCE
    assert mapping["MaximumBatchingWindowInSeconds"] == 1


def test_due_age_alarm_is_raised_while_readers_have_time_left() -> None:
    """The alarm leaves the remaining life that readers and two retries need."""
    threshold = properties("AWS::CloudWatch::Alarm", "OldestDueAgeAlarm")["Threshold"]
    two_retries = 60
    assert 2 * TICK_SECONDS < threshold <= MARGIN_SECONDS - READERS_SECONDS - two_retries


def test_least_life_alarm_default_is_the_life_that_readers_need() -> None:
    """By default the alarm is raised at the remaining life that readers rely on."""
    assert template()["Parameters"]["LeastLifeAlarmSeconds"]["Default"] >= READERS_SECONDS
    alarm = properties("AWS::CloudWatch::Alarm", "LeastRemainingLifeAlarm")
    assert alarm["Threshold"] == {"Ref": "LeastLifeAlarmSeconds"}


def test_writes_alarm_is_raised_below_the_limit_of_secrets_manager() -> None:
    """The threshold is above the planned writes and below the limit of 100 versions."""
    alarm = properties("AWS::CloudWatch::Alarm", "MostWritesPerSecretAlarm")
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert alarm["Threshold"] == WRITES_PER_DAY < 100


def test_queue_age_alarm_allows_for_units_sent_early() -> None:
    """A unit that was sent before it is due does not raise the alarm."""
    threshold = properties("AWS::CloudWatch::Alarm", "RefreshQueueAgeAlarm")["Threshold"]
    assert threshold > SOON_SECONDS + 2 * TICK_SECONDS


def test_missing_ticks_raise_an_alarm_within_the_margin() -> None:
    """Missing data counts as breaching, and the alarm is raised before tokens expire."""
    alarm = properties("AWS::CloudWatch::Alarm", "TicksMissingAlarm")
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["DatapointsToAlarm"] * alarm["Period"] < MARGIN_SECONDS


def _tick() -> Json:
    return properties("AWS::Scheduler::Schedule", "PlanRefreshFunctionTick")


def _units() -> Json:
    mapping = properties("AWS::Lambda::EventSourceMapping", "RefreshTokensFunctionUnits")
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["RefreshQueue", "Arn"]}
    return mapping
