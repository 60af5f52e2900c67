"""The way of a refresh: schedule, planner, queue, workers, with their limits and their failures."""

import json
from datetime import datetime
from typing import Any

from byline.refresh.timing import (
    MARGIN_SECONDS,
    READERS_SECONDS,
    SOON_SECONDS,
    TICK_SECONDS,
    WRITES_PER_DAY,
)
from plan_refresh.planning import WRITES_PER_SECOND, scheduled_time
from refresh_tokens.refresher import UNITS_AT_ONCE
from tests.template.stack import Json, properties, template, translate
from tools.refresh_events import AT

FUNCTION = "AWS::Serverless::Function"
QUEUE = "AWS::SQS::Queue"

ACCOUNTS_WRITES = 50
"""A second, shared by all writers of an account in a region, and not adjustable.
https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html"""

DEAD_LETTERS = {"Fn::GetAtt": ["RefreshDeadLetters", "Arn"]}


def test_workers_together_take_no_more_writes_than_planned() -> None:
    """Workers at once, times the most that an operator may give each: 40 of the account's 50."""
    workers = _units()["ScalingConfig"]["MaximumConcurrency"]
    parameter = template()["Parameters"]["WritesPerSecond"]
    assert workers * parameter["MaxValue"] <= WRITES_PER_SECOND < ACCOUNTS_WRITES
    assert workers * parameter["Default"] == WRITES_PER_SECOND, "what the planner counts on"


def test_workers_are_told_what_an_operator_sets() -> None:
    """Their pace, and the lifetime of tokens that tell none."""
    variables = properties(FUNCTION, "RefreshTokensFunction")["Environment"]["Variables"]
    planners = properties(FUNCTION, "PlanRefreshFunction")["Environment"]["Variables"]
    assert variables["WRITES_PER_SECOND"] == {"Ref": "WritesPerSecond"}
    assert planners["WRITES_PER_SECOND"] == {"Ref": "WritesPerSecond"}
    assert variables["DEFAULT_TOKEN_LIFETIME"] == {"Ref": "DefaultTokenLifetime"}


def test_functions_of_the_refresh_share_table_and_queue() -> None:
    """Who registers, who plans and who refreshes speak of the same runners and units."""
    for function in ("RunsFunction", "PlanRefreshFunction", "RefreshTokensFunction"):
        variables = properties(FUNCTION, function)["Environment"]["Variables"]
        assert variables["RUNNERS_TABLE"] == {"Ref": "RunnersTable"}
        assert variables["REFRESH_QUEUE_URL"] == {"Ref": "RefreshQueue"}


def test_functions_in_the_background_keep_no_snapshot() -> None:
    """Nobody waits for their cold start, and a snapshot is paid for while nothing happens."""
    for function in ("PlanRefreshFunction", "RefreshTokensFunction"):
        assert "SnapStart" not in properties(FUNCTION, function)


def test_tick_comes_every_minute_and_is_over_before_the_next() -> None:
    """The shortest rate that the scheduler has, and a function that does not overlap itself."""
    assert TICK_SECONDS == 60
    assert _tick()["ScheduleExpression"] == "rate(1 minute)"
    assert properties(FUNCTION, "PlanRefreshFunction")["Timeout"] < TICK_SECONDS


def test_tick_says_when_it_was_scheduled() -> None:
    """The planner reads it, so that work begins on the minute however late the tick is."""
    tick = json.loads(_tick()["Input"].replace("<aws.scheduler.scheduled-time>", AT))
    assert scheduled_time(tick) == datetime.fromisoformat(AT).timestamp()


def test_late_tick_is_given_up() -> None:
    """Neither the scheduler nor Lambda's own queue delivers a tick after the next one."""
    assert _tick()["RetryPolicy"] == {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 60}
    invoke = properties(FUNCTION, "PlanRefreshFunction")["EventInvokeConfig"]
    assert (invoke["MaximumRetryAttempts"], invoke["MaximumEventAgeInSeconds"]) == (0, 60)


def test_lost_tick_is_kept_for_people_to_see() -> None:
    """A tick that did not arrive, and one that failed, end where an alarm looks."""
    assert _tick()["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
    invoke = properties(FUNCTION, "PlanRefreshFunction")["EventInvokeConfig"]
    on_failure = invoke["DestinationConfig"]["OnFailure"]
    assert on_failure == {"Type": "SQS", "Destination": DEAD_LETTERS}


def test_schedule_may_be_there_twice_in_an_account() -> None:
    """A second stack in the account finds no schedule of its name: CloudFormation chooses it."""
    for schedule in _translated("AWS::Scheduler::Schedule"):
        assert "Name" not in schedule


def test_message_stays_hidden_while_it_may_be_worked_on() -> None:
    """Six times the function's limit, as Lambda asks for: no unit is handed out twice meanwhile.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    """
    timeout = properties(FUNCTION, "RefreshTokensFunction")["Timeout"]
    assert properties(QUEUE, "RefreshQueue")["VisibilityTimeout"] >= 6 * timeout


def test_message_that_fails_is_kept_for_people_to_see() -> None:
    """It ends among the dead letters before the queue forgets it, and these keep it longest."""
    queue = properties(QUEUE, "RefreshQueue")
    redrive = queue["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == DEAD_LETTERS
    assert redrive["maxReceiveCount"] * queue["VisibilityTimeout"] < queue["MessageRetentionPeriod"]
    assert properties(QUEUE, "RefreshDeadLetters")["MessageRetentionPeriod"] == 14 * 86_400


def test_queues_are_encrypted() -> None:
    """Asked for, not left to a default that no audit sees."""
    for queue in ("RefreshQueue", "RefreshDeadLetters"):
        assert properties(QUEUE, queue)["SqsManagedSseEnabled"] is True


def _units_mapping() -> dict[str, Any]:
    queue = {"Fn::GetAtt": ["RefreshQueue", "Arn"]}
    [mapping] = [
        body
        for body in _translated("AWS::Lambda::EventSourceMapping")
        if body["EventSourceArn"] == queue
    ]
    return mapping


def test_one_units_failure_is_no_others() -> None:
    """Of a batch only what failed is delivered again."""
    mapping = _units_mapping()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_batch_is_large_enough_for_the_full_rate_and_waits_for_a_second_at_most() -> None:
    """Each invocation begins with a mint and no write; and somebody waits for a first token."""
    mapping = _units_mapping()
    assert mapping["BatchSize"] >= 4 * UNITS_AT_ONCE
    assert mapping["MaximumBatchingWindowInSeconds"] == 1


def test_alarm_on_due_age_leaves_readers_their_part_of_the_margin() -> None:
    """It comes while the life that readers and retries need is still there."""
    threshold = properties("AWS::CloudWatch::Alarm", "OldestDueAgeAlarm")["Threshold"]
    two_retries = 60
    assert 2 * TICK_SECONDS < threshold <= MARGIN_SECONDS - READERS_SECONDS - two_retries


def test_alarm_on_least_life_comes_before_readers_lack_it() -> None:
    """By default it rings at the life that readers count on."""
    assert template()["Parameters"]["LeastLifeAlarmSeconds"]["Default"] >= READERS_SECONDS
    alarm = properties("AWS::CloudWatch::Alarm", "LeastRemainingLifeAlarm")
    assert alarm["Threshold"] == {"Ref": "LeastLifeAlarmSeconds"}


def test_alarm_on_writes_comes_while_the_store_still_takes_them() -> None:
    """More than planned, and less than the 100 versions at which Secrets Manager refuses."""
    alarm = properties("AWS::CloudWatch::Alarm", "MostWritesPerSecretAlarm")
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert alarm["Threshold"] == WRITES_PER_DAY < 100


def test_alarm_on_waiting_messages_knows_of_those_that_wait_on_purpose() -> None:
    """A unit may be sent ahead of its time, which is no trouble."""
    threshold = properties("AWS::CloudWatch::Alarm", "RefreshQueueAgeAlarm")["Threshold"]
    assert threshold > SOON_SECONDS + 2 * TICK_SECONDS


def test_alarm_on_missing_ticks_takes_silence_for_trouble() -> None:
    """No tick writes no metric: only this alarm counts what is missing as breaching."""
    alarm = properties("AWS::CloudWatch::Alarm", "TicksMissingAlarm")
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["DatapointsToAlarm"] * alarm["Period"] < MARGIN_SECONDS


def _tick() -> Json:
    event: Json = properties(FUNCTION, "PlanRefreshFunction")["Events"]["Tick"]
    assert event["Type"] == "ScheduleV2"
    body: Json = event["Properties"]
    return body


def _units() -> Json:
    event: Json = properties(FUNCTION, "RefreshTokensFunction")["Events"]["Units"]
    assert event["Type"] == "SQS"
    body: Json = event["Properties"]
    return body


def _translated(kind: str) -> list[Json]:
    bodies = translate(template())["Resources"].values()
    return [body["Properties"] for body in bodies if body["Type"] == kind]
