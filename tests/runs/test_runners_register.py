"""Registering runners: conditional, idempotent, and announced to the refresher."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from byline.refresh.runner_rows import LastError, client_key
from serve_runs.runners.changes import RESTART_SPACING_SECONDS
from stand_ins.faults import LoseAnswer
from stand_ins.refusal import Refusal
from tests.runs.identity_server import Credential, Web
from tests.runs.runners_api import RunnersApi

UNAVAILABLE = Refusal("InternalServerError", "not now", status=500)


def test_new_runner_is_registered_due_and_announced(runners: RunnersApi, ada: Credential) -> None:
    """201 with its place, a row that is due, and a message for its unit after the row is there."""
    answer = runners.put(ada, audience="models", scope="read write", subject="gpu")
    assert answer.status == 201
    assert answer.headers["location"] == runners.path()
    row = runners.registered_row()
    assert row.due_at is not None
    assert abs(row.due_at - time.time()) < 5
    assert (row.shard, row.deadline, row.attempts) == (row.work_unit.shard, row.due_at, 0)
    assert abs(row.generation - time.time() * 1000) < 5_000
    assert runners.messages() == [row.work_unit]
    written = runners.calls()
    assert written.index("TransactWriteItems") < written.index("SendMessage")
    assert answer.json == runners.get(ada).json


def test_new_runner_has_its_first_token_after_one_turn(
    runners: RunnersApi, ada: Credential
) -> None:
    """The message that registering sends is all that the refresher needs."""
    assert runners.put(ada).json["status"] == "waiting"
    runners.refresh(*runners.messages())
    assert runners.get(ada).json["status"] == "ready"


def test_same_registration_again_changes_nothing(runners: RunnersApi, ada: Credential) -> None:
    """A restart: 200, not a write, and a message all the same, should the first have been lost."""
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
def test_registration_that_asks_for_another_token_starts_without_one(
    runners: RunnersApi, ada: Credential, change: dict[str, str]
) -> None:
    """The old token, with its old rights, is not this registration's: nothing shows it any more."""
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


def test_new_subject_gets_the_token_that_is_there(
    runners: RunnersApi, nightly: Credential, web: Web
) -> None:
    """What is minted stays the same, so nothing is minted; only who may fetch it changes."""
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


def test_other_order_of_scopes_is_the_same_token(runners: RunnersApi, ada: Credential) -> None:
    """RFC 6749, 3.3: the order means nothing. What was given is shown as it was given."""
    runners.put(ada, scope="read write")
    runners.refresh()
    before = runners.registered_row()
    assert runners.put(ada, scope="write read").json["scope"] == "write read"
    assert runners.registered_row().generation == before.generation


def test_what_a_registration_leaves_out_is_gone(runners: RunnersApi, ada: Credential) -> None:
    """PUT replaces."""
    runners.put(ada, audience="models", subject="gpu")
    answer = runners.put(ada)
    assert (answer.json["audience"], answer.json["subject"]) == (None, None)


def test_restart_after_a_failure_brings_the_next_try_near(
    runners: RunnersApi, ada: Credential
) -> None:
    """Near, and not at once: a runner that restarts in a loop does not hammer its issuer."""
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


def test_restart_long_after_a_failure_makes_it_due(runners: RunnersApi, ada: Credential) -> None:
    """Due now, not in the past: the index finds it either way, and its age tells no tale."""
    runners.put(ada)
    row, now = runners.registered_row(), int(time.time())
    error = LastError(error_class="invalid_scope", at=now - 1_000)
    runners.store(replace(row, due_at=now + 3_600, last_error=error))
    runners.put(ada)
    due_at = runners.registered_row().due_at
    assert due_at is not None
    assert now <= due_at <= now + 5


def test_restart_puts_no_try_off(runners: RunnersApi, ada: Credential) -> None:
    """What is due sooner stays due sooner, without a write."""
    runners.put(ada)
    row, now = runners.registered_row(), int(time.time())
    failed = replace(
        row, due_at=now + 5, last_error=LastError(error_class="issuer_timeout", at=now)
    )
    runners.store(failed)
    runners.put(ada)
    assert runners.registered_row() == failed


@pytest.mark.parametrize(("trouble", "stays"), [("broken_version", False), ("retry_at", True)])
def test_registration_closes_the_breaker_but_ends_no_wait(
    runners: RunnersApi, ada: Credential, trouble: str, *, stays: bool
) -> None:
    """A refused client may have been mended; one that was told to wait was told so all the same."""
    row = client_key(runners.project, "scheduler") | {trouble: {"S": "-"}}
    runners.world.aws.observer("dynamodb").put_item(TableName="RunnersTable", Item=row)
    runners.put(ada)
    assert bool(runners.items("client")) is stays


def test_restart_leaves_the_breaker_open(runners: RunnersApi, ada: Credential) -> None:
    """A runner that restarts in a loop must not lock its client."""
    runners.put(ada)
    row = client_key(runners.project, "scheduler") | {"broken_version": {"S": "-"}}
    runners.world.aws.observer("dynamodb").put_item(TableName="RunnersTable", Item=row)
    runners.put(ada)
    assert runners.items("client")


def test_runner_remembers_who_registered_it(
    runners: RunnersApi, ada: Credential, grace: Credential
) -> None:
    """The last one who changed something; a restart is nobody's change."""
    runners.put(ada)
    assert runners.put(grace).json["registered_by"]["user"]["id"]["subject"] == "ada"
    changed = runners.put(grace, audience="models").json
    assert changed["registered_by"]["user"]["id"]["subject"] == "grace"


def test_restart_permits_no_change_of_what_means_the_same(
    runners: RunnersApi, ada: Credential, gpu: Credential
) -> None:
    """Scopes in another order are the same token, and still another registration: the runner
    itself, which may but restart, does not become who registered it."""
    runners.put(ada, subject="gpu", scope="read write")
    before = runners.registered_row()
    assert runners.put(gpu, subject="gpu", scope="read write").status == 200
    assert runners.put(gpu, subject="gpu", scope="write read").reason == "not_found"
    assert runners.registered_row() == before


def test_subject_that_nobody_vouched_for_is_no_callers(
    start_runners: Callable[..., RunnersApi], gpu: Credential
) -> None:
    """A subject is somebody's at an issuer, and nobody has none: so nobody may fetch the token."""
    runners = start_runners(IDENTITY_TRUST="ignore", ANONYMOUS_CALLERS="allow")
    answer = runners.put(gpu, subject="gpu")
    assert (answer.status, answer.json["registered_by"]) == (201, None)
    assert runners.registered_row().subject_issuer is None


@pytest.mark.parametrize("operation", ["TransactWriteItems", "SendMessage", "GetItem"])
def test_registration_whose_answer_was_lost_happens_once(
    runners: RunnersApi, ada: Credential, operation: str
) -> None:
    """201 and one runner, though the request to AWS was sent twice."""
    runners.world.aws.faults.follow(operation, LoseAnswer())
    assert runners.put(ada).status == 201
    assert runners.calls().count(operation) == 2 + (operation == "GetItem")
    assert len(runners.items()) == 1


def test_change_whose_answer_was_lost_happens_once(
    runners: RunnersApi, ada: Credential, said: Callable[[], list[str]]
) -> None:
    """200 with what was asked for and a line that says so, not a second change."""
    runners.put(ada)
    before = runners.calls().count("TransactWriteItems")
    runners.world.aws.faults.follow("TransactWriteItems", LoseAnswer())
    assert runners.put(ada, audience="models").json["audience"] == "models"
    assert runners.calls().count("TransactWriteItems") == before + 2
    assert len([line for line in said() if '"runner changed"' in line]) == 1


def test_message_that_cannot_be_sent_is_harmless(
    runners: RunnersApi, ada: Credential, said: Callable[[], list[str]]
) -> None:
    """201, a warning, and a row that the next tick finds due."""
    runners.world.aws.faults.follow("SendMessage", afterwards=UNAVAILABLE)
    assert runners.put(ada).status == 201
    assert runners.registered_row().shard is not None
    assert [line for line in said() if '"message not sent"' in line]


@pytest.mark.parametrize("operation", ["GetItem", "DeleteItem", "TransactWriteItems"])
def test_table_that_is_down_answers_503_and_registers_nothing(
    runners: RunnersApi, ada: Credential, operation: str
) -> None:
    """Nothing was decided: try again. Nobody was told either."""
    runners.world.aws.faults.follow(operation, afterwards=UNAVAILABLE)
    answer = runners.put(ada)
    assert (answer.status, answer.reason) == (503, "store_unavailable")
    assert runners.items() == []
    assert runners.messages() == []
