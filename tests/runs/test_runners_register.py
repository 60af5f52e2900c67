"""Registering runners: conditional and idempotent, with a message to the refresh queue."""

import time
from collections.abc import Callable
from copy import replace
from typing import Any

import pytest

from byline.refresh.runner_rows import LastError, client_key
from serve_runs.runners.changes import RESTART_SPACING_SECONDS
from stand_ins.faults import LoseAnswer
from stand_ins.refusal import Refusal
from tests.runs.identity_server import Credential, Web
from tests.runs.runners_api import RunnersApi

UNAVAILABLE = Refusal("InternalServerError", "not now", status=500)


def test_new_runner_is_due_and_sent_to_the_queue(runners: RunnersApi, ada: Credential) -> None:
    """The row is due, and its work unit is sent to the queue after the row is written."""
    answer = runners.put(ada, audience="models", scope="read write", subject="gpu")
    assert answer.status == 201
    assert answer.headers["location"] == runners.path()
    row = runners.registered_row()
    assert row.due_at is not None
    assert abs(row.due_at - time.time()) < 5
    assert (row.shard, row.deadline, row.attempts) == (row.work_unit.shard, row.due_at, 0)
    assert abs(row.generation - time.time() * 1000) < 5_000
    assert runners.messages() == [row.work_unit]
    calls = runners.calls()
    assert calls.index("TransactWriteItems") < calls.index("SendMessage")
    assert answer.json == runners.get(ada).json


def test_new_runner_gets_its_first_token_by_its_message(
    runners: RunnersApi, ada: Credential
) -> None:
    """RefreshTokensFunction needs only the registration's message to write the first token."""
    assert runners.put(ada).json["status"] == "waiting"
    runners.refresh(*runners.messages())
    assert runners.get(ada).json["status"] == "ready"


def test_same_registration_again_only_sends_its_message(
    runners: RunnersApi, ada: Credential
) -> None:
    """A restart writes nothing, and sends the message again in case the first one was lost."""
    runners.put(ada, audience="models")
    runners.refresh()
    row = runners.registered_row()
    runners.world.aws.calls.clear()
    answer = runners.put(ada, audience="models")
    assert (answer.status, answer.json["status"]) == (200, "ready")
    assert "location" not in answer.headers
    assert runners.registered_row() == row
    assert runners.calls() == ["GetItem", "SendMessage"]


@pytest.mark.parametrize(
    "change",
    [{"client": "other"}, {"audience": "other"}, {"resource": "https://a.b/"}, {"scope": "more"}],
)
def test_registration_for_another_token_starts_without_one(
    runners: RunnersApi, ada: Credential, change: dict[str, str]
) -> None:
    """The old token, with its old permissions, is not shown any more."""
    runners.put(ada, audience="models", subject="gpu")
    runners.refresh()
    before = runners.registered_row()
    answer = runners.put(ada, **{"audience": "models", "subject": "gpu", **change})
    after = runners.registered_row()
    assert (answer.status, answer.json["status"], answer.json["secret_arn"]) == (
        200,
        "waiting",
        None,
    )
    assert after.generation > before.generation
    assert after.revision != before.revision
    assert after.work_unit == after.mint_key.work_unit
    assert (after.due_at, after.slot, after.expires_at) == (after.deadline, None, None)
    assert (after.slots, after.created_at) == (before.slots, before.created_at)
    assert runners.messages()[-1] == after.work_unit


def test_new_subject_reads_the_existing_token(
    runners: RunnersApi, nightly: Credential, web: Web
) -> None:
    """The token does not depend on the subject, so only its reader changes."""
    runners.put(nightly, subject="gpu")
    runners.refresh()
    before = runners.registered_row()
    assert runners.put(nightly, subject="tpu").status == 200
    after = runners.registered_row()
    assert (
        replace(
            after,
            subject="gpu",
            revision=before.revision,
            updated_at=before.updated_at,
            last_request=before.last_request,
        )
        == before
    )
    assert runners.token(web.bearer("tpu", client="tpu")).status == 200
    assert runners.token(web.bearer("gpu", client="gpu")).status == 404


def test_other_order_of_scopes_keeps_the_token(runners: RunnersApi, ada: Credential) -> None:
    """RFC 6749, 3.3: the order has no meaning. The scope is shown as it was registered."""
    runners.put(ada, scope="read write")
    runners.refresh()
    before = runners.registered_row()
    assert runners.put(ada, scope="write read").json["scope"] == "write read"
    assert runners.registered_row().generation == before.generation


def test_registration_without_a_member_removes_it(runners: RunnersApi, ada: Credential) -> None:
    """PUT replaces the whole registration."""
    runners.put(ada, audience="models", subject="gpu")
    answer = runners.put(ada)
    assert (answer.json["audience"], answer.json["subject"]) == (None, None)


def test_restart_after_a_failure_moves_the_next_try_up(
    runners: RunnersApi, ada: Credential
) -> None:
    """The next try comes no sooner than the spacing of restarts, which protects the issuer."""
    runners.put(ada)
    row, now = runners.registered_row(), int(time.time())
    failed = replace(
        row,
        due_at=now + 3_600,
        attempts=3,
        last_error=LastError(error_class="invalid_scope", at=now - 10),
    )
    runners.store(failed)
    assert runners.put(ada).status == 200
    after = runners.registered_row()
    assert after.due_at == now - 10 + RESTART_SPACING_SECONDS
    assert replace(after, due_at=failed.due_at, last_request=failed.last_request) == failed


def test_restart_long_after_a_failure_makes_the_runner_due_now(
    runners: RunnersApi, ada: Credential
) -> None:
    """The due time is now and not in the past."""
    runners.put(ada)
    row, now = runners.registered_row(), int(time.time())
    error = LastError(error_class="invalid_scope", at=now - 1_000)
    runners.store(replace(row, due_at=now + 3_600, last_error=error))
    runners.put(ada)
    due_at = runners.registered_row().due_at
    assert due_at is not None
    assert now <= due_at <= now + 5


def test_restart_does_not_delay_the_next_try(runners: RunnersApi, ada: Credential) -> None:
    """A try that is due sooner stays due sooner, without a write."""
    runners.put(ada)
    row, now = runners.registered_row(), int(time.time())
    failed = replace(
        row, due_at=now + 5, last_error=LastError(error_class="issuer_timeout", at=now)
    )
    runners.store(failed)
    runners.put(ada)
    assert runners.registered_row() == failed


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [
        ({"broken_version": {"S": "-"}, "retry_at": {"N": "0"}}, False),
        ({"retry_at": {"N": "9999999999"}}, False),
        ({"retry_at": {"N": "0"}}, True),
    ],
)
def test_registration_ends_the_wait_of_its_client(
    runners: RunnersApi, ada: Credential, state: dict[str, Any], *, is_kept: bool
) -> None:
    """A refused client may be repaired, and an issuer that asked to wait may be well again."""
    row = client_key(runners.project, "scheduler") | state
    runners.world.aws.observer("dynamodb").put_item(TableName="RunnersTable", Item=row)
    runners.put(ada)
    assert bool(runners.items("client")) is is_kept


@pytest.mark.parametrize(("age", "wait"), [(10, 50), (1_000, 0)])
@pytest.mark.parametrize("state", [{"broken_version": {"S": "v1"}}, {"asked_version": {"S": "v1"}}])
def test_restart_of_a_failed_runner_shortens_the_wait_of_its_client(
    runners: RunnersApi, ada: Credential, state: dict[str, Any], age: int, wait: int
) -> None:
    """It is tried again a minute after its last failure: a loop of restarts must not lock it."""
    runners.put(ada)
    now = int(time.time())
    error = LastError(error_class="invalid_client", at=now - age)
    runners.store(replace(runners.registered_row(), due_at=now + 300, last_error=error))
    row = client_key(runners.project, "scheduler") | {
        "error_class": {"S": "invalid_client"},
        "since": {"N": str(now - age)},
        "retry_at": {"N": str(now + 3_000)},
        "attempts": {"N": "4"},
        "refusals": {"N": "4"},
    }
    runners.world.aws.observer("dynamodb").put_item(TableName="RunnersTable", Item=row | state)
    assert runners.put(ada).status == 200
    (after,) = runners.items("client")
    retry_at = int(after.pop("retry_at")["N"])
    assert wait <= retry_at - now <= wait + 5
    assert after["asked_version"] == {"S": "v1"}
    assert "broken_version" not in after
    assert after["refusals"] == {"N": "4"}
    due_at = runners.registered_row().due_at
    assert due_at is not None
    assert 0 <= due_at - retry_at <= 5


def test_restart_of_a_runner_that_works_leaves_its_client_alone(
    runners: RunnersApi, ada: Credential
) -> None:
    """Only a failed runner has a reason to try again."""
    runners.put(ada)
    row = client_key(runners.project, "scheduler") | {"broken_version": {"S": "-"}}
    runners.world.aws.observer("dynamodb").put_item(TableName="RunnersTable", Item=row)
    runners.put(ada)
    assert runners.items("client") == [row]


def test_runner_names_the_caller_of_its_last_change(
    runners: RunnersApi, ada: Credential, grace: Credential
) -> None:
    """A restart does not change `registered_by`."""
    runners.put(ada)
    assert runners.put(grace).json["registered_by"]["user"]["id"]["subject"] == "ada"
    changed = runners.put(grace, audience="models").json
    assert changed["registered_by"]["user"]["id"]["subject"] == "grace"


def test_runner_may_not_change_its_registration_by_a_restart(
    runners: RunnersApi, ada: Credential, gpu: Credential
) -> None:
    """Another order of scopes is a change, which the runner itself may not make."""
    runners.put(ada, subject="gpu", scope="read write")
    before = runners.registered_row()
    assert runners.put(gpu, subject="gpu", scope="read write").status == 200
    assert runners.put(gpu, subject="gpu", scope="write read").reason == "not_found"
    assert runners.registered_row() == before


def test_subject_registered_anonymously_has_no_issuer(
    start_runners: Callable[..., RunnersApi], gpu: Credential
) -> None:
    """Without an issuer the subject is no principal, so no caller may read the token."""
    runners = start_runners(IDENTITY_TRUST="ignore", ANONYMOUS_CALLERS="allow")
    answer = runners.put(gpu, subject="gpu")
    assert (answer.status, answer.json["registered_by"]) == (201, None)
    assert runners.registered_row().subject_issuer is None


@pytest.mark.parametrize("operation", ["TransactWriteItems", "SendMessage", "GetItem"])
def test_registration_with_a_lost_answer_happens_once(
    runners: RunnersApi, ada: Credential, operation: str
) -> None:
    """One runner is registered, although the AWS call was sent twice."""
    runners.world.aws.faults.follow(operation, LoseAnswer())
    assert runners.put(ada).status == 201
    assert runners.calls().count(operation) == 2 + (operation == "GetItem")
    assert len(runners.items()) == 1


def test_change_with_a_lost_answer_happens_once(
    runners: RunnersApi, ada: Credential, log_lines: Callable[[], list[str]]
) -> None:
    """The answer and the log show one change."""
    runners.put(ada)
    before = runners.calls().count("TransactWriteItems")
    runners.world.aws.faults.follow("TransactWriteItems", LoseAnswer())
    assert runners.put(ada, audience="models").json["audience"] == "models"
    assert runners.calls().count("TransactWriteItems") == before + 2
    assert len([line for line in log_lines() if '"runner changed"' in line]) == 1


def test_failed_message_does_not_fail_the_registration(
    runners: RunnersApi, ada: Credential, log_lines: Callable[[], list[str]]
) -> None:
    """The answer is 201 with a warning in the log, and the next tick finds the row."""
    runners.world.aws.faults.follow("SendMessage", afterwards=UNAVAILABLE)
    assert runners.put(ada).status == 201
    assert runners.registered_row().shard is not None
    assert [line for line in log_lines() if '"message not sent"' in line]


@pytest.mark.parametrize("operation", ["GetItem", "DeleteItem", "TransactWriteItems"])
def test_failing_table_is_503_and_registers_nothing(
    runners: RunnersApi, ada: Credential, operation: str
) -> None:
    """No row is written and no message is sent."""
    runners.world.aws.faults.follow(operation, afterwards=UNAVAILABLE)
    answer = runners.put(ada)
    assert (answer.status, answer.reason) == (503, "store_unavailable")
    assert runners.items() == []
    assert runners.messages() == []
