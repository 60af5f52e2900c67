"""Requests for a refresh at once: what they do, how often, and who may make them."""

import time
from copy import replace
from typing import Any

import pytest

from byline.identity.caller import Principal
from byline.refresh.token_rows import LastError, client_key
from serve_runs.access.control import roles_key
from serve_runs.runners.changes import ASKS_PER_SLOT, RESTART_SPACING_SECONDS
from stand_ins.faults import LoseAnswer
from tests.identity.loopback import answer as issuer_answers
from tests.refresh.world import TABLE
from tests.runs.audit_api import records
from tests.runs.identity_server import Credential, Web
from tests.runs.runners_api import RunnersApi
from tests.runs.table_server import ACCESS_TABLE


@pytest.fixture
def ready(runners: RunnersApi, nightly: Credential) -> RunnersApi:
    """A runner `nightly` of the subject `gpu` that has its token."""
    assert runners.put(nightly, subject="gpu").status == 201
    runners.refresh()
    runners.world.aws.calls.clear()
    return runners


def grant(runners: RunnersApi, web: Web, subject: str, role: str) -> None:
    """Give a person a role in the project."""
    key = roles_key(runners.project, Principal("user", web.url, subject))
    item: dict[str, Any] = {**key, "roles": {"SS": [role]}}
    runners.world.dynamodb.put_item(TableName=ACCESS_TABLE, Item=item)


def test_asked_refresh_replaces_a_live_token_within_seconds(
    ready: RunnersApi, gpu: Credential
) -> None:
    """The answer is 202 with the runner, and the message leads to another token."""
    before, text = ready.token_row(), ready.token(gpu).json["token"]
    answer = ready.refresh_now(gpu)
    assert answer.status == 202
    assert (answer.json["name"], answer.json["token"]) == ("nightly", before.id)
    assert ready.messages() == [before.work_unit]
    ready.refresh(*ready.messages())
    assert ready.token_row().generation == before.generation + 1
    assert ready.token(gpu).json["token"] != text


def test_asked_refresh_tries_a_refused_client_at_once(
    ready: RunnersApi, ada: Credential, nightly: Credential
) -> None:
    """The wait of the client ends too, whatever the row of the token waits for."""
    world = ready.world
    world.issuer.respond["/token"] = issuer_answers(b'{"error":"invalid_client"}', status="401 No")
    world.clock.advance(600)
    ready.refresh()
    assert ready.token_row().last_error is not None
    world.issuer.respond.clear()
    key = client_key(ready.project, "scheduler")
    broken = {**key, "broken_version": {"S": "-"}, "retry_at": {"N": "9999999999"}}
    world.dynamodb.put_item(TableName=TABLE, Item=broken)
    token = replace(ready.token_row(), next_try_at=int(time.time()) + 3_600)
    ready.store(token)
    assert ready.refresh_now(nightly).status == 202
    assert ready.items("client") == []
    ready.refresh(token.work_unit)
    after = ready.token_row()
    assert (after.last_error, after.generation) == (None, token.generation + 1)
    assert ready.get(ada).json["status"] == "ready"


def test_asked_refresh_is_recorded(
    ready: RunnersApi, ada: Credential, gpu: Credential, web: Web
) -> None:
    """The record names the caller, and a refused request has none."""
    ready.refresh_now(gpu)
    assert ready.refresh_now(gpu).status == 429
    record, _ = records(ready.api, ada, project=ready.project, runner="nightly")
    assert record["action"] == "refresh_runner"
    assert record["principal"] == f"application:{web.url}#gpu"


def test_asked_refresh_with_a_lost_answer_counts_once(ready: RunnersApi, gpu: Credential) -> None:
    """DynamoDB carries out the repeated transaction once."""
    ready.world.aws.faults.follow("TransactWriteItems", LoseAnswer())
    assert ready.refresh_now(gpu).status == 202
    assert ready.token_row().asks == 1


class TestLimits:
    """How often a refresh may be asked for."""

    @pytest.mark.parametrize(
        ("age", "status"), [(RESTART_SPACING_SECONDS - 3, 429), (RESTART_SPACING_SECONDS, 202)]
    )
    def test_second_request_waits_ten_seconds(
        self, ready: RunnersApi, gpu: Credential, age: int, status: int
    ) -> None:
        """Any runner of the token may have asked before."""
        ready.store(replace(ready.token_row(), asked_at=int(time.time()) - age))
        before = ready.token_row()
        answer = ready.refresh_now(gpu)
        assert answer.status == status
        if status == 429:
            assert answer.reason == "too_many_refreshes"
            assert 1 <= int(answer.headers["retry-after"]) <= 3
            assert ready.token_row() == before
            assert ready.messages() == []

    @pytest.mark.parametrize("left", [1, 0])
    def test_live_token_is_replaced_on_request_a_few_times_a_day(
        self, ready: RunnersApi, gpu: Credential, left: int
    ) -> None:
        """Four times for each secret: AWS refuses a secret's 101st version within 24 hours."""
        token, now = ready.token_row(), int(time.time())
        assert token.slots is not None
        asks = ASKS_PER_SLOT * token.slots - left
        ready.store(replace(token, asks=asks, asks_since=now - 3_600))
        answer = ready.refresh_now(gpu)
        if left:
            assert (answer.status, ready.token_row().asks) == (202, asks + 1)
            return
        assert (answer.status, answer.reason) == (429, "too_many_refreshes")
        assert 82_700 <= int(answer.headers["retry-after"]) <= 82_800
        error = LastError(error_class="invalid_client", since=now, at=now)
        ready.store(replace(ready.token_row(), last_error=error))
        assert ready.refresh_now(gpu).status == 202


REFRESH, TOKENS = "refresh", "tokens"


class TestRoles:
    """The roles that permit a refresh, and the list of tokens."""

    @pytest.mark.parametrize(
        ("role", "allowed"),
        [
            ("project:viewer", set()),
            ("project:editor", {REFRESH}),
            ("project:admin", {REFRESH, TOKENS}),
            ("credential:reader", set()),
            ("credential:token-reader", set()),
            ("runner:token-reader", set()),
        ],
    )
    @pytest.mark.parametrize("request_", [REFRESH, TOKENS])
    def test_role_permits_its_requests_only(
        self, ready: RunnersApi, web: Web, role: str, allowed: set[str], request_: str
    ) -> None:
        """A refused request is answered 403, or 404 without visibility, and changes nothing."""
        grant(ready, web, "mary", role)
        before, mary = ready.token_row(), web.browser("mary")
        answer = ready.refresh_now(mary) if request_ == REFRESH else ready.tokens(mary)
        if request_ in allowed:
            assert answer.status == (202 if request_ == REFRESH else 200)
            return
        sees = {"project:viewer": {REFRESH, TOKENS}, "project:editor": {TOKENS}}
        sees["runner:token-reader"] = {REFRESH}
        expected = (403, "forbidden") if request_ in sees.get(role, set()) else (404, "not_found")
        assert (answer.status, answer.reason) == expected
        assert ready.token_row() == before

    def test_runner_refreshes_only_its_own_token(
        self, ready: RunnersApi, nightly: Credential, gpu: Credential, web: Web
    ) -> None:
        """Another runner of the same token asks by its own name only."""
        ready.put(nightly, "weekly", subject="tpu")
        tpu = web.bearer("tpu", client="tpu")
        assert ready.refresh_now(tpu).status == 404
        assert ready.refresh_now(gpu, "weekly").status == 404
        assert ready.refresh_now(tpu, "weekly").status == 202
        assert ready.tokens(gpu).status == 404

    def test_refresh_of_a_missing_runner_is_not_found(
        self, ready: RunnersApi, nightly: Credential, gpu: Credential, web: Web
    ) -> None:
        """For a viewer too, who may not refresh an existing one."""
        grant(ready, web, "mary", "project:viewer")
        for caller in (nightly, gpu, web.browser("mary")):
            assert ready.refresh_now(caller, "missing").reason == "not_found"
        assert "TransactWriteItems" not in ready.calls()

    def test_refresh_from_another_site_is_refused(self, ready: RunnersApi, ada: Credential) -> None:
        """A page of another site cannot spend a token's refreshes."""
        path = ready.path(of="/refresh")
        headers = (("sec-fetch-site", "cross-site"),)
        answer = ready.api.call("POST", path, by=ada, headers=headers)
        assert (answer.status, answer.reason) == (403, "cross_site_request")
