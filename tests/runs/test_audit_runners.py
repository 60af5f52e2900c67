"""The audit trail of runners: registrations, deletions, and each token that was handed out."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from byline.refresh.runner_rows import LastError
from stand_ins.faults import Call, LoseAnswer
from stand_ins.refusal import ACCESS_DENIED, INTERNAL_ERROR, RATE_EXCEEDED, Refusal
from tests.runs.audit_api import actions, records
from tests.runs.identity_server import Credential, Web
from tests.runs.runners_api import RunnersApi
from tests.runs.table_server import ACCESS_TABLE

RUN = "01JD9XK3T5ZQ8W7V6R5N4M3K2J"


@pytest.fixture
def ready(runners: RunnersApi, nightly: Credential) -> RunnersApi:
    """A runner `nightly` of the subject `gpu` that has its token."""
    assert runners.put(nightly, subject="gpu").status == 201
    runners.refresh()
    runners.world.aws.calls.clear()
    return runners


def trail(runners: RunnersApi, by: Credential) -> list[dict[str, Any]]:
    """What was done to the runner, the first thing first."""
    return records(runners.api, by, project=runners.project, runner="nightly")[::-1]


def test_registration_change_and_deletion_are_on_record(
    runners: RunnersApi, ada: Credential, grace: Credential, web: Web
) -> None:
    """Each with its actor and its own request."""
    assert runners.put(ada).status == 201
    assert runners.put(grace, audience="models").status == 200
    assert runners.delete(ada).status == 204
    found = trail(runners, ada)
    assert [(record["action"], record["principal"]) for record in found] == [
        ("register_runner", f"user:{web.url}#ada"),
        ("register_runner", f"user:{web.url}#grace"),
        ("delete_runner", f"user:{web.url}#ada"),
    ]
    assert {record["resource"]["type"] for record in found} == {"runner"}
    assert {record["resource"]["id"] for record in found} == {"nightly"}
    assert len({record["request_id"] for record in found}) == 3


def test_registration_that_changes_nothing_leaves_no_record(
    runners: RunnersApi, ada: Credential
) -> None:
    """A restart: the runner is what it was, also where its next try was brought forward."""
    runners.put(ada)
    runners.put(ada)
    now = int(time.time())
    error = LastError(error_class="invalid_scope", at=now - 600)
    runners.store(replace(runners.registered(), due_at=now + 3_600, last_error=error))
    runners.put(ada)
    assert runners.registered().due_at != now + 3_600
    assert [record["action"] for record in trail(runners, ada)] == ["register_runner"]


def test_refresh_leaves_no_record(ready: RunnersApi, ada: Credential) -> None:
    """What the refresher does by itself is nobody's act."""
    assert ready.registered().slot is not None
    assert [record["action"] for record in trail(ready, ada)] == ["register_runner"]


def test_refused_request_leaves_no_record(runners: RunnersApi, ada: Credential) -> None:
    """A body that is none, a runner that is not there."""
    assert runners.put(ada, scope="\n").status == 400
    assert runners.delete(ada).status == 404
    assert runners.token(ada).status == 404
    assert trail(runners, ada) == []


@pytest.mark.parametrize("change", ["register", "change", "delete"])
def test_change_whose_answer_was_lost_leaves_one_record(
    runners: RunnersApi, ada: Credential, change: str
) -> None:
    """The transaction's token makes both happen once."""
    if change != "register":
        runners.put(ada)
    before = len(trail(runners, ada))
    runners.world.aws.faults.follow("TransactWriteItems", LoseAnswer())
    answer = runners.delete(ada) if change == "delete" else runners.put(ada, audience="models")
    assert answer.status in (200, 201, 204)
    assert len(trail(runners, ada)) == before + 1


class TestTokens:
    """No token without its record."""

    def test_token_that_is_read_is_on_record(
        self, ready: RunnersApi, ada: Credential, gpu: Credential, web: Web
    ) -> None:
        """Who read it, when, and for which run, as the reader says."""
        path = ready.path("nightly", of="/token")
        assert ready.api.call("GET", path, by=gpu, query={"run": RUN}).status == 200
        assert ready.token(gpu).status == 200
        _, for_run, for_none = trail(ready, ada)
        assert for_run["action"] == for_none["action"] == "read_runner_token"
        assert for_run["principal"] == f"application:{web.url}#gpu"
        assert (for_run["run"], for_none["run"]) == (RUN, None)
        person = {"project": ready.project, "person": f"application:{web.url}#gpu"}
        assert actions(ready.api, ada, **person) == ["read_runner_token"] * 2

    @pytest.mark.parametrize("refusal", [ACCESS_DENIED, INTERNAL_ERROR, RATE_EXCEEDED])
    def test_token_that_cannot_be_recorded_is_not_handed_out(
        self, ready: RunnersApi, gpu: Credential, refusal: Refusal
    ) -> None:
        """Whatever is wrong with the table: an error, and no part of the token."""
        ready.world.aws.faults.follow("PutItem", afterwards=refusal)
        answer = ready.token(gpu)
        assert answer.status in (500, 503)
        assert answer.status == 503 or refusal is ACCESS_DENIED
        assert "token" not in answer.json
        assert ready.world.token(ready.registered())["token"] not in answer.body

    def test_record_whose_answer_was_lost_is_written_once(
        self, ready: RunnersApi, ada: Credential, gpu: Credential
    ) -> None:
        """200: the second put finds the first one's record, which is its own."""
        ready.world.aws.faults.follow("PutItem", LoseAnswer())
        assert ready.token(gpu).status == 200
        assert ready.calls().count("PutItem") == 2
        assert len(trail(ready, ada)) == 2

    def test_token_that_is_refused_leaves_no_record(
        self, ready: RunnersApi, ada: Credential, web: Web
    ) -> None:
        """Neither to whoever may not have it, nor where there is none."""
        assert ready.token(web.browser("eve")).status == 404
        assert ready.token(ada, "missing").status == 404
        assert [record["action"] for record in trail(ready, ada)] == ["register_runner"]

    @pytest.mark.parametrize("run", ["x", RUN.lower(), f"{RUN}\n", ""])
    def test_run_that_cannot_be_one_is_refused(
        self, ready: RunnersApi, gpu: Credential, run: str
    ) -> None:
        """400, whether there is such a runner or not, and nothing is read."""
        for runner in ("nightly", "missing"):
            path = ready.path(runner, of="/token")
            answer = ready.api.call("GET", path, by=gpu, query={"run": run})
            assert (answer.status, answer.reason) == (400, "invalid_parameter")
        assert ready.calls() == []

    def test_records_hold_no_token(
        self, ready: RunnersApi, gpu: Credential, said: Callable[[], list[str]]
    ) -> None:
        """What was handed out is in no record: all calls are searched once more at the end."""
        token = ready.token(gpu).json["token"]
        puts = [call for call in ready.world.aws.calls if _is_record(call)]
        assert len(puts) == 1
        assert token not in json.dumps(puts[0].document)
        assert token not in "".join(said())


def _is_record(call: Call) -> bool:
    return call.operation == "PutItem" and call.document["TableName"] == ACCESS_TABLE
