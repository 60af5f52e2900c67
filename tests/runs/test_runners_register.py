"""Registering runners: conditional and idempotent, and one token for all that ask for the same."""

import time
from collections.abc import Callable
from copy import replace
from typing import Any

import pytest

from byline.refresh.token_rows import LastError, TokenRow, client_key
from serve_runs.runners.changes import RESTART_SPACING_SECONDS
from stand_ins.faults import LoseAnswer
from stand_ins.refusal import Refusal
from tests.runs.identity_server import Credential, Web
from tests.runs.runners_api import RunnersApi

UNAVAILABLE = Refusal("InternalServerError", "not now", status=500)


def failed(token: TokenRow, *, ago: int, error_class: str = "invalid_scope") -> TokenRow:
    """The token after a failed refresh, with the next one in an hour."""
    now = int(time.time())
    error = LastError(error_class=error_class, since=now - ago, at=now - ago)
    return replace(token, due_at=now + 3_600, attempts=3, last_error=error)


def test_new_runner_has_a_token_that_is_due_and_sent_to_the_queue(
    runners: RunnersApi, ada: Credential
) -> None:
    """The token is due, and its work unit is sent to the queue after its row is written."""
    answer = runners.put(ada, audience="models", scope="read write", subject="gpu")
    assert answer.status == 201
    assert answer.headers["location"] == runners.path()
    token = runners.token_row()
    assert token.due_at is not None
    assert abs(token.due_at - time.time()) < 5
    assert (token.shard, token.deadline, token.runners) == (
        token.mint_key.work_unit.shard,
        token.due_at,
        1,
    )
    assert (token.generation, token.attempts) == (0, 0)
    assert runners.messages() == [token.work_unit]
    calls = runners.calls()
    assert calls.index("TransactWriteItems") < calls.index("SendMessage")
    assert answer.json == {**runners.get(ada).json, "warnings": []}
    assert answer.json["token"] == token.id


def test_new_token_is_available_by_the_message_of_its_first_runner(
    runners: RunnersApi, ada: Credential
) -> None:
    """RefreshTokensFunction needs only the registration's message to write the first token."""
    assert runners.put(ada).json["status"] == "waiting"
    runners.refresh(*runners.messages())
    assert runners.get(ada).json["status"] == "ready"


class TestSharedToken:
    """Runners of one project that ask one client for the same share a token."""

    def test_runner_that_shares_a_token_costs_one_transaction(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """It is ready at once, without a mint, a secret, a message or a wait."""
        runners.put(ada, audience="models", scope="read write")
        runners.refresh()
        before, mints = runners.token_row(), runners.world.mints()
        runners.world.aws.calls.clear()
        answer = runners.put(ada, "weekly", audience="models", scope="write read")
        assert (answer.status, answer.json["status"]) == (201, "ready")
        assert runners.calls() == ["BatchGetItem", "TransactWriteItems"]
        assert runners.token_row("weekly") == replace(before, runners=2)
        assert answer.json["secret_arn"] == runners.get(ada).json["secret_arn"]
        assert runners.world.mints() == mints

    def test_runner_that_shares_a_new_token_sends_its_message_again(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """The first message may have been lost, and a second one does no harm."""
        runners.put(ada)
        runners.put(ada, "weekly")
        assert runners.messages() == [runners.token_row().work_unit] * 2
        assert len(runners.live()) == 1

    @pytest.mark.parametrize(
        "other",
        [{"client": "other"}, {"audience": "b"}, {"resource": "https://a.b/"}, {"scope": "more"}],
    )
    def test_runners_with_other_requests_have_other_tokens(
        self, runners: RunnersApi, ada: Credential, other: dict[str, str]
    ) -> None:
        """Client, audience, resource and scopes are what a token is for."""
        runners.put(ada, audience="a")
        runners.put(ada, "weekly", **{"audience": "a", **other})
        assert len(runners.live()) == 2

    def test_isolated_runner_has_a_token_of_its_own(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """Its token is minted and stored for it alone, and another runner does not enter it."""
        runners.put(ada)
        answer = runners.put(ada, "alone", isolated=True)
        runners.put(ada, "also-alone", isolated=True)
        assert answer.json["isolated"] is True
        assert len({runners.token_row(name).id for name in ("nightly", "alone", "also-alone")}) == 3
        mints = runners.world.mints()
        runners.refresh(*{token.work_unit for token in runners.live()})
        assert runners.world.mints() == mints + 3
        arns = {runners.get(ada, name).json["secret_arn"] for name in ("nightly", "alone")}
        assert len(arns) == 2

    def test_runner_that_becomes_isolated_leaves_the_shared_token_to_the_others(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """Its own token starts anew, and the shared one goes on."""
        for name in ("nightly", "weekly"):
            runners.put(ada, name)
        runners.refresh()
        shared = runners.token_row("weekly")
        answer = runners.put(ada, isolated=True)
        assert (answer.json["status"], answer.json["isolated"]) == ("waiting", True)
        assert runners.token_row("weekly") == replace(shared, runners=1)
        assert runners.retired() == []
        assert runners.put(ada).json["token"] == shared.id
        assert [token.isolated_for for token in runners.retired()] == ["nightly"]


def test_same_registration_again_writes_nothing(runners: RunnersApi, ada: Credential) -> None:
    """A restart of a runner with a working token reads two rows."""
    runners.put(ada, audience="models")
    runners.refresh()
    row, token = runners.row(), runners.token_row()
    runners.world.aws.calls.clear()
    answer = runners.put(ada, audience="models")
    assert (answer.status, answer.json["status"]) == (200, "ready")
    assert "location" not in answer.headers
    assert (runners.row(), runners.token_row()) == (row, token)
    assert runners.calls() == ["BatchGetItem"]


def test_same_registration_before_the_first_token_sends_its_message_again(
    runners: RunnersApi, ada: Credential
) -> None:
    """The first message may have been lost."""
    runners.put(ada)
    assert runners.put(ada).status == 200
    assert runners.messages() == [runners.token_row().work_unit] * 2


@pytest.mark.parametrize(
    "change",
    [{"client": "other"}, {"audience": "other"}, {"resource": "https://a.b/"}, {"scope": "more"}],
)
def test_registration_for_another_token_starts_without_one(
    runners: RunnersApi, ada: Credential, change: dict[str, str]
) -> None:
    """The old token, with its old permissions, is not shown any more, and is swept."""
    runners.put(ada, audience="models", subject="gpu")
    runners.refresh()
    row, before = runners.row(), runners.token_row()
    answer = runners.put(ada, **{"audience": "models", "subject": "gpu", **change})
    after = runners.token_row()
    assert answer.status == 200
    assert (answer.json["status"], answer.json["secret_arn"]) == ("waiting", None)
    assert answer.json["secret_arns"] == []
    assert after.id != before.id
    assert runners.row().revision != row.revision
    assert runners.row().created_at == row.created_at
    assert [token.id for token in runners.retired()] == [before.id]
    assert runners.messages()[-2:] == [before.work_unit, after.work_unit]
    runners.refresh(before.work_unit)
    assert runners.secrets_of(before) == []


def test_runner_that_moves_to_an_existing_token_is_ready_at_once(
    runners: RunnersApi, ada: Credential
) -> None:
    """Only the pointer changes, and the token that it left goes on for the others."""
    runners.put(ada, audience="a")
    runners.put(ada, "weekly", audience="a")
    runners.put(ada, "other", audience="b")
    runners.refresh(*{token.work_unit for token in runners.live()})
    old, new = runners.token_row(), runners.token_row("other")
    runners.world.aws.calls.clear()
    answer = runners.put(ada, audience="b")
    assert (answer.json["status"], answer.json["token"]) == ("ready", new.id)
    assert runners.token_row("weekly") == replace(old, runners=1)
    assert runners.token_row("other") == replace(new, runners=2)
    assert "SendMessage" not in runners.calls()


def test_new_subject_reads_the_existing_token(
    runners: RunnersApi, nightly: Credential, web: Web
) -> None:
    """The token does not depend on the subject, so only its reader changes."""
    runners.put(nightly, subject="gpu")
    runners.refresh()
    before, token = runners.row(), runners.token_row()
    assert runners.put(nightly, subject="tpu").status == 200
    after = runners.row()
    reverted = replace(after, subject="gpu", revision=before.revision)
    assert replace(reverted, updated_at=before.updated_at) == before
    assert runners.token_row() == token
    assert runners.token(web.bearer("tpu", client="tpu")).status == 200
    assert runners.token(web.bearer("gpu", client="gpu")).status == 404


def test_other_order_of_scopes_keeps_the_token(runners: RunnersApi, ada: Credential) -> None:
    """RFC 6749, 3.3: the order has no meaning. The scope is shown as it was registered."""
    runners.put(ada, scope="read write")
    runners.refresh()
    before = runners.token_row()
    assert runners.put(ada, scope="write read").json["scope"] == "write read"
    assert runners.token_row() == before


def test_registration_without_a_member_removes_it(runners: RunnersApi, ada: Credential) -> None:
    """PUT replaces the whole registration."""
    runners.put(ada, audience="models", subject="gpu", isolated=True)
    answer = runners.put(ada)
    assert (answer.json["audience"], answer.json["subject"]) == (None, None)
    assert answer.json["isolated"] is False


@pytest.mark.parametrize("by_another", [False, True])
def test_registration_for_a_failing_token_acts_at_once(
    runners: RunnersApi, ada: Credential, *, by_another: bool
) -> None:
    """The same request again, or another runner's, makes the token due and sends its message."""
    runners.put(ada)
    token = failed(runners.token_row(), ago=1_000)
    runners.store(token)
    runners.world.aws.calls.clear()
    runners.put(ada, "weekly" if by_another else "nightly")
    after, now = runners.token_row(), int(time.time())
    assert after.due_at is not None
    assert now - 5 <= after.due_at <= now
    assert replace(after, due_at=token.due_at, runners=1) == token
    assert runners.messages() == [token.work_unit]


def test_registration_soon_after_a_failure_waits_for_the_spacing(
    runners: RunnersApi, ada: Credential
) -> None:
    """The next try comes ten seconds after the failure, with its message, to protect the issuer."""
    runners.put(ada)
    token = failed(runners.token_row(), ago=2)
    runners.store(token)
    runners.world.aws.calls.clear()
    assert runners.put(ada).status == 200
    after = runners.token_row()
    assert token.last_error is not None
    assert after.due_at == token.last_error.at + RESTART_SPACING_SECONDS
    [message] = [call for call in runners.world.aws.calls if call.operation == "SendMessage"]
    assert 5 <= message.document["DelaySeconds"] <= RESTART_SPACING_SECONDS


def test_restart_does_not_delay_the_next_try(runners: RunnersApi, ada: Credential) -> None:
    """A try that is due sooner stays due sooner, without a write."""
    runners.put(ada)
    token = replace(failed(runners.token_row(), ago=0), due_at=int(time.time()) + 5)
    runners.store(token)
    runners.put(ada)
    assert runners.token_row() == token


def test_registration_makes_a_deleted_token_row_anew(runners: RunnersApi, ada: Credential) -> None:
    """A row that somebody deleted by hand leaves no runner without a token for good."""
    runners.put(ada)
    token = runners.token_row()
    runners.world.aws.observer("dynamodb").delete_item(TableName="RunnersTable", Key=token.key)
    assert runners.get(ada).status == 503
    assert runners.put(ada).json["status"] == "waiting"
    assert runners.token_row().id != token.id


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


@pytest.mark.parametrize(("age", "wait"), [(3, 7), (1_000, 0)])
@pytest.mark.parametrize("state", [{"broken_version": {"S": "v1"}}, {"asked_version": {"S": "v1"}}])
def test_restart_of_a_failed_runner_shortens_the_wait_of_its_client(
    runners: RunnersApi, ada: Credential, state: dict[str, Any], age: int, wait: int
) -> None:
    """It is tried again ten seconds after its failure: a loop of restarts must not lock it."""
    runners.put(ada)
    now = int(time.time())
    runners.store(failed(runners.token_row(), ago=age, error_class="invalid_client"))
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
    assert runners.token_row().due_at == retry_at


def test_restart_of_a_runner_that_works_leaves_its_client_alone(
    runners: RunnersApi, ada: Credential
) -> None:
    """Only a failed runner has a reason to try again."""
    runners.put(ada)
    row = client_key(runners.project, "scheduler") | {"broken_version": {"S": "-"}}
    runners.world.aws.observer("dynamodb").put_item(TableName="RunnersTable", Item=row)
    runners.put(ada)
    assert runners.items("client") == [row]


class TestWarnings:
    """The warnings in the answer of a registration."""

    def test_missing_client_secret_is_answered_with_a_warning(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """The runner is registered, and gets no token before the secret is there."""
        answer = runners.put(ada, client="missing")
        [warning] = answer.json["warnings"]
        assert (answer.status, warning["code"]) == (201, "client_secret_unusable")
        assert f"clients/{runners.project}/missing" in warning["detail"]

    def test_failing_token_is_answered_with_its_reason(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """A runner that enters it, and the same request again, read why it fails."""
        runners.put(ada)
        runners.store(failed(runners.token_row(), ago=60))
        for name in ("nightly", "weekly"):
            [warning] = runners.put(ada, name).json["warnings"]
            assert warning["code"] == "invalid_scope"

    def test_new_token_of_a_refused_client_is_answered_with_the_reason(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """Another token of the client has found out what is wrong."""
        state = {
            "broken_version": {"S": "-"},
            "error_class": {"S": "invalid_client"},
            "detail": {"S": "The issuer refused it."},
        }
        row = client_key(runners.project, "scheduler") | state
        runners.world.aws.observer("dynamodb").put_item(TableName="RunnersTable", Item=row)
        [warning] = runners.put(ada).json["warnings"]
        assert warning["code"] == "invalid_client"
        assert warning["detail"].startswith("The issuer refused it. ")

    def test_token_with_several_secrets_is_answered_with_a_warning(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """A token of 900 seconds is in two secrets by turns, and each is old part of the time."""
        runners.put(ada)
        runners.refresh()
        [warning] = runners.put(ada, "weekly").json["warnings"]
        assert warning["code"] == "several_secrets"


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
    before = runners.row()
    assert runners.put(gpu, subject="gpu", scope="read write").status == 200
    assert runners.put(gpu, subject="gpu", scope="write read").reason == "not_found"
    assert runners.row() == before


def test_subject_registered_anonymously_has_no_issuer(
    start_runners: Callable[..., RunnersApi], gpu: Credential
) -> None:
    """Without an issuer the subject is no principal, so no caller may read the token."""
    runners = start_runners(IDENTITY_TRUST="ignore", ANONYMOUS_CALLERS="allow")
    answer = runners.put(gpu, subject="gpu")
    assert (answer.status, answer.json["registered_by"]) == (201, None)
    assert runners.row().subject_issuer is None


@pytest.mark.parametrize("operation", ["TransactWriteItems", "SendMessage"])
def test_registration_with_a_lost_answer_happens_once(
    runners: RunnersApi, ada: Credential, operation: str
) -> None:
    """One runner is registered, although the AWS call was sent twice."""
    runners.world.aws.faults.follow(operation, LoseAnswer())
    assert runners.put(ada).status == 201
    assert runners.calls().count(operation) == 2
    assert len(runners.items()) == 1
    assert runners.token_row().runners == 1


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
    assert runners.token_row().shard is not None
    assert [line for line in log_lines() if '"message not sent"' in line]


@pytest.mark.parametrize("operation", ["BatchGetItem", "DeleteItem", "TransactWriteItems"])
def test_failing_table_is_503_and_registers_nothing(
    runners: RunnersApi, ada: Credential, operation: str
) -> None:
    """No row is written and no message is sent."""
    runners.world.aws.faults.follow(operation, afterwards=UNAVAILABLE)
    answer = runners.put(ada)
    assert (answer.status, answer.reason) == (503, "store_unavailable")
    assert (runners.items(), runners.live()) == ([], [])
    assert runners.messages() == []
