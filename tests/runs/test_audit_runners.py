"""The audit trail of runners: registrations, deletions and each token that was read."""

import json
import time
from collections.abc import Callable
from copy import replace
from typing import Any

import pytest

from byline.refresh.token_rows import LastError
from stand_ins.faults import Call, LoseAnswer
from stand_ins.refusal import ACCESS_DENIED, INTERNAL_ERROR, RATE_EXCEEDED, Refusal
from tests.runs.access_rows import token_of
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
    """The runner's records, the oldest first."""
    return records(runners.api, by, project=runners.project, runner="nightly")[::-1]


def test_registration_change_and_deletion_are_recorded(
    runners: RunnersApi, ada: Credential, grace: Credential, web: Web
) -> None:
    """Each has a record with its own actor and request."""
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


def test_repeated_registration_writes_no_record(runners: RunnersApi, ada: Credential) -> None:
    """A restart writes no record, even where it makes the runner's next try due now."""
    runners.put(ada)
    runners.put(ada)
    now = int(time.time())
    error = LastError(error_class="invalid_scope", since=now - 600, at=now - 600)
    runners.store(replace(runners.token_row(), due_at=now + 3_600, last_error=error))
    runners.put(ada)
    assert runners.token_row().due_at != now + 3_600
    assert [record["action"] for record in trail(runners, ada)] == ["register_runner"]


def test_refresh_writes_no_record(ready: RunnersApi, ada: Credential) -> None:
    """A refresh of the runner's token is not audited."""
    assert ready.token_row().slot is not None
    assert [record["action"] for record in trail(ready, ada)] == ["register_runner"]


def test_runners_own_reads_and_refreshes_are_recorded_as_its_own(
    ready: RunnersApi, ada: Credential, gpu: Credential, web: Web
) -> None:
    """Also where its account is registered for a person: the runner acts by its own right."""
    path = f"/v1/projects/{ready.project}/service-accounts"
    document = {"token": token_of(gpu), "role": "project:viewer"}
    assert ready.api.call("POST", path, by=ada, document=document).status == 201
    runner = f"/v1/projects/{ready.project}/runners/nightly"
    assert ready.api.call("GET", f"{runner}/token", by=gpu).status == 200
    assert ready.api.call("POST", f"{runner}/refresh", by=gpu).status == 202
    _, read, refreshed = trail(ready, ada)
    for record, action in ((read, "read_runner_token"), (refreshed, "refresh_runner")):
        assert (record["action"], record["principal"]) == (action, f"application:{web.url}#gpu")
        assert record["actor"]["application"]["id"] == {"subject": "gpu"}
        assert record["on_behalf_of"] is None
        assert record["source"] == "bearer"


def test_refused_request_writes_no_record(runners: RunnersApi, ada: Credential) -> None:
    """A request refused for its body or for a missing runner writes no record."""
    assert runners.put(ada, scope="\n").status == 400
    assert runners.delete(ada).status == 404
    assert runners.token(ada).status == 404
    assert trail(runners, ada) == []


@pytest.mark.parametrize("change", ["register", "change", "delete"])
def test_change_with_a_lost_answer_writes_one_record(
    runners: RunnersApi, ada: Credential, change: str
) -> None:
    """The transaction's token makes the repeated change and its record happen once."""
    if change != "register":
        runners.put(ada)
    before = len(trail(runners, ada))
    runners.world.aws.faults.follow("TransactWriteItems", LoseAnswer())
    answer = runners.delete(ada) if change == "delete" else runners.put(ada, audience="models")
    assert answer.status in (200, 201, 204)
    assert len(trail(runners, ada)) == before + 1


class TestTokens:
    """Each token that is read has a record."""

    def test_read_token_is_recorded(
        self, ready: RunnersApi, ada: Credential, gpu: Credential, web: Web
    ) -> None:
        """The record names the reader, and the run where the reader gave one."""
        path = ready.path("nightly", of="/token")
        run = ready.api.create(ada, project=ready.project, runner="nightly")["id"]
        ready.api.call("POST", f"/v1/projects/{ready.project}/runs/{run}/start", by=ada)
        assert ready.api.call("GET", path, by=gpu, query={"run": run}).status == 200
        assert ready.token(gpu).status == 200
        _, for_run, without_run = trail(ready, ada)
        assert for_run["action"] == without_run["action"] == "read_runner_token"
        assert for_run["principal"] == f"application:{web.url}#gpu"
        assert (for_run["run"], without_run["run"]) == (run, None)
        person = {"project": ready.project, "person": f"application:{web.url}#gpu"}
        assert actions(ready.api, ada, **person) == ["read_runner_token"] * 2

    @pytest.mark.parametrize("refusal", [ACCESS_DENIED, INTERNAL_ERROR, RATE_EXCEEDED])
    def test_unwritable_record_withholds_the_token(
        self, ready: RunnersApi, gpu: Credential, refusal: Refusal
    ) -> None:
        """A failed write of the record is an error, and the answer has no part of the token."""
        ready.world.aws.faults.follow("PutItem", afterwards=refusal)
        answer = ready.token(gpu)
        assert answer.status in (500, 503)
        assert answer.status == 503 or refusal is ACCESS_DENIED
        assert "token" not in answer.json
        assert ready.world.token(ready.token_row())["token"] not in answer.body

    def test_record_with_a_lost_answer_is_written_once(
        self, ready: RunnersApi, ada: Credential, gpu: Credential
    ) -> None:
        """The repeated write finds the record of the first one, and the token is answered."""
        ready.world.aws.faults.follow("PutItem", LoseAnswer())
        assert ready.token(gpu).status == 200
        assert ready.calls().count("PutItem") == 2
        assert len(trail(ready, ada)) == 2

    def test_refused_token_read_writes_no_record(
        self, ready: RunnersApi, ada: Credential, web: Web
    ) -> None:
        """A token read refused for a missing role or runner writes no record."""
        assert ready.token(web.browser("eve")).status == 404
        assert ready.token(ada, "missing").status == 404
        assert [record["action"] for record in trail(ready, ada)] == ["register_runner"]

    @pytest.mark.parametrize("run", ["x", RUN.lower(), f"{RUN}\n", ""])
    def test_invalid_run_id_is_refused(self, ready: RunnersApi, gpu: Credential, run: str) -> None:
        """An invalid run id is answered 400, for a missing runner too, and nothing is read."""
        for runner in ("nightly", "missing"):
            path = ready.path(runner, of="/token")
            answer = ready.api.call("GET", path, by=gpu, query={"run": run})
            assert (answer.status, answer.reason) == (400, "invalid_parameter")
        assert ready.calls() == []

    def test_records_contain_no_token(
        self, ready: RunnersApi, gpu: Credential, log_lines: Callable[[], list[str]]
    ) -> None:
        """Neither the record nor the log contains the token that was read."""
        token = ready.token(gpu).json["token"]
        puts = [call for call in ready.world.aws.calls if _is_record(call)]
        assert len(puts) == 1
        assert token not in json.dumps(puts[0].document)
        assert token not in "".join(log_lines())


def _is_record(call: Call) -> bool:
    return call.operation == "PutItem" and call.document["TableName"] == ACCESS_TABLE
