"""Showing and listing runners: how a token is doing, and never the token."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byline.refresh.runner_rows import LastError, RunnerRow, runner_item
from byline.refresh.work_units import token_secret_name
from serve_runs.runners.views import runner_json, secrets_prefix, status_of
from serve_runs.web.paging import Position, encode_position
from tests.runs.identity_server import NO_CREDENTIAL, Credential
from tests.runs.runners_api import RunnersApi
from tests.runs.runs_api import Answer

NOW = 1_800_000_000
ROW = RunnerRow(
    project="payments",
    runner="nightly",
    client="scheduler",
    revision="request-1",
    generation=1_800_000_000_000,
    deadline=NOW,
    created_at="2027-01-15T08:00:00.000Z",
    updated_at="2027-01-15T08:00:00.000Z",
)
FAILED = LastError(error_class="invalid_client", at=NOW)


class TestStatus:
    """What one word says of a token."""

    @pytest.mark.parametrize(
        ("expires_at", "error", "status"),
        [
            (None, None, "waiting"),
            (None, FAILED, "failing"),
            (NOW + 1, None, "ready"),
            (NOW + 1, FAILED, "failing"),
            (NOW, None, "expired"),
            (NOW, FAILED, "expired"),
        ],
    )
    def test_status_follows_from_time_and_last_error(
        self, expires_at: int | None, error: LastError | None, status: str
    ) -> None:
        """The last second counts, the next does not."""
        row = replace(ROW, expires_at=expires_at, last_error=error)
        assert status_of(row, now=NOW) == status


class TestOne:
    """`GET …/runners/{runner}`."""

    def test_runner_with_a_token_is_shown_with_its_times_and_secret(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """The secret is the newest slot's, by the ARN that Secrets Manager gave it."""
        runners.put(ada, audience="models", scope="read", subject="gpu")
        runners.refresh()
        row, shown = runners.registered_row(), runners.get(ada).json
        assert row.slot is not None
        name = token_secret_name(runners.project, "nightly", row.slot)
        secret = runners.world.aws.secrets.find(name)
        assert secret is not None
        assert shown["secret_arn"] == secret.arn[: -len("-abcdef")]
        expires_at = datetime.fromisoformat(shown["expires_at"]).timestamp()
        assert expires_at - datetime.fromisoformat(shown["issued_at"]).timestamp() == 900
        assert (shown["status"], shown["last_error"]) == ("ready", None)
        assert shown["registered_by"]["user"]["id"] == {"subject": "ada"}

    def test_runner_whose_refresh_failed_tells_why(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """The class as the issuer named it, and when; none of the issuer's words."""
        runners.world.give_client(project=runners.project, client_secret="wr0ng-secret")
        runners.put(ada)
        runners.refresh()
        shown = runners.get(ada).json
        assert shown["status"] == "failing"
        assert shown["last_error"].keys() == {"class", "at"}
        assert shown["last_error"]["class"] == "invalid_client"
        assert (shown["expires_at"], shown["secret_arn"]) == (None, None)

    def test_identity_that_cannot_be_read_is_null(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """A stored identity that cannot be read is returned as null, never as an error."""
        runners.put(ada)
        runners.store(replace(runners.registered_row(), registered_by="{"))
        assert runners.get(ada).json["registered_by"] is None

    def test_missing_runner_is_404(self, runners: RunnersApi, ada: Credential) -> None:
        """Like everything that is not there."""
        assert runners.get(ada).reason == "not_found"

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_nobody_is_refused(self, runners: RunnersApi, method: str) -> None:
        """401 before anything is read."""
        answer = runners.api.call(
            method, runners.path(), by=NO_CREDENTIAL, document={"client": "a"}
        )
        assert (answer.status, answer.reason) == (401, "no_credentials")
        assert runners.calls() == []

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    def test_unknown_method_is_405(self, runners: RunnersApi, ada: Credential, method: str) -> None:
        """With what the path does answer."""
        answer = runners.api.call(method, runners.path(), by=ada)
        assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, PUT")

    def test_spoiled_row_is_our_fault_and_counted(
        self, runners: RunnersApi, ada: Credential, said: Callable[[], list[str]]
    ) -> None:
        """500, and the log names the row and no value of it."""
        spoil(runners, "nightly")
        assert runners.get(ada).status == 500
        assert [line for line in said() if '"InternalError"' in line]
        assert not [line for line in said() if "spoiled" in line]


class TestList:
    """`GET …/runners`."""

    def test_runners_come_by_name_page_after_page(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """Nothing lost, nothing doubled, one query a page and no scan."""
        names = [f"gpu-{number}" for number in range(7)]
        for name in names[::-1]:
            runners.put(ada, name)
        runners.world.aws.calls.clear()
        pages = [*walk(runners, ada, limit="3")]
        assert [[runner["name"] for runner in page.json["runners"]] for page in pages] == [
            names[:3],
            names[3:6],
            names[6:],
        ]
        assert runners.calls() == ["Query"] * 3

    def test_page_that_is_just_full_is_the_last(self, runners: RunnersApi, ada: Credential) -> None:
        """No empty page follows: one more is asked for than shown."""
        for name in ("a", "b"):
            runners.put(ada, name)
        [page] = walk(runners, ada, limit="2")
        assert len(page.json["runners"]) == 2
        assert runners.world.aws.calls[-1].document["Limit"] == 3

    def test_runner_in_a_list_is_the_runner_alone(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """The same members and values."""
        runners.put(ada)
        runners.refresh()
        [page] = walk(runners, ada)
        assert page.json["runners"] == [runners.get(ada).json]

    def test_spoiled_row_hides_no_other(
        self, runners: RunnersApi, ada: Credential, said: Callable[[], list[str]]
    ) -> None:
        """It is logged, and the others are shown."""
        for name in ("a", "c"):
            runners.put(ada, name)
        spoil(runners, "b")
        shown = [
            runner["name"]
            for page in walk(runners, ada, limit="1")
            for runner in page.json["runners"]
        ]
        assert shown == ["a", "c"]
        assert [line for line in said() if '"row unreadable"' in line]

    def test_list_never_outgrows_an_answer(self, runners: RunnersApi, ada: Credential) -> None:
        """A load balancer takes 1 MB: longer lists end early with a place to go on."""
        wide = '"' * 512
        row = replace(ROW, project=runners.project, audience=wide, scope=wide, resource=wide)
        for number in range(100):
            runners.store(
                replace(row, runner=f"gpu-{number:02}", subject=wide, subject_issuer=wide)
            )
        pages = [*walk(runners, ada, limit="100")]
        assert sum(len(page.json["runners"]) for page in pages) == 100
        assert all(len(said) < 1_000_000 for said in runners.api.answers)

    @pytest.mark.parametrize(
        "query",
        [{"limit": "0"}, {"limit": "101"}, {"limit": "1.5"}, {"status": "ready"}, {"cursor": ""}],
    )
    def test_query_nobody_knows_is_refused(
        self, runners: RunnersApi, ada: Credential, query: dict[str, str]
    ) -> None:
        """400, and nothing is read."""
        answer = runners.api.call("GET", listing(runners), by=ada, query=query)
        assert (answer.status, answer.reason) == (400, "invalid_parameter")
        assert runners.calls() == []

    def test_cursor_of_another_query_is_refused(self, runners: RunnersApi, ada: Credential) -> None:
        """Another project's, another listing's, or a mangled one: 400."""
        for name in ("a", "b"):
            runners.put(ada, name)
        first = runners.api.call("GET", listing(runners), by=ada, query={"limit": "1"})
        cursor = first.json["next_cursor"]
        mangled = urlsafe_b64encode(b"123456789apollo/../x").decode()
        for path, tried in (
            ("/v1/projects/other/runners", cursor),
            (f"/v1/projects/{runners.project}/runs", cursor),
            (listing(runners), cursor[:-1]),
            (listing(runners), mangled),
        ):
            answer = runners.api.call("GET", path, by=ada, query={"cursor": tried})
            assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_forged_cursor_leaves_the_project_for_no_other(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """It says after which name to go on; in which project is the request's to say."""
        for name in ("a", "b"):
            runners.put(ada, name)
        forged = encode_position(Position("other", "a"), query=f"runners of {runners.project}")
        answer = runners.api.call("GET", listing(runners), by=ada, query={"cursor": forged})
        assert [runner["name"] for runner in answer.json["runners"]] == ["b"]
        start = runners.world.aws.calls[-1].document["ExclusiveStartKey"]
        assert start["project"] == {"S": runners.project}

    @settings(max_examples=25)
    @given(cursor=st.text(max_size=60))
    def test_cursor_may_be_any_text(
        self, runners: RunnersApi, ada: Credential, cursor: str
    ) -> None:
        """Whatever it says: an answer with a reason, never a 500."""
        answer = runners.api.call("GET", listing(runners), by=ada, query={"cursor": cursor})
        assert answer.status in {400, 200}


def test_arn_of_a_secret_follows_the_function_s_own() -> None:
    """Partition, region and account are where the function runs, with or without an alias."""
    arn = "arn:aws-cn:lambda:cn-north-1:210987654321:function:RunsFunction:live"
    assert secrets_prefix(arn) == "arn:aws-cn:secretsmanager:cn-north-1:210987654321:secret:"


@given(
    st.builds(
        replace,
        st.just(ROW),
        expires_at=st.none() | st.integers(0, 2**33),
        issued_at=st.none() | st.integers(0, 2**33),
        slot=st.none() | st.integers(0, 71),
        last_error=st.none() | st.just(FAILED),
        registered_by=st.none() | st.text(max_size=20),
    )
)
def test_every_row_can_be_shown(row: RunnerRow) -> None:
    """All members are there, whatever a row lacks, and none of its bookkeeping."""
    shown = runner_json(row, secrets="arn:", now=NOW)
    assert len(shown) == 16
    assert not {"generation", "shard", "due_at", "revision", "subject_issuer"} & shown.keys()


def listing(runners: RunnersApi) -> str:
    return f"/v1/projects/{runners.project}/runners"


def walk(runners: RunnersApi, by: Credential, **query: str) -> Any:
    """The pages of the project's listing."""
    cursor: dict[str, str] = {}
    while True:
        page: Answer = runners.api.call("GET", listing(runners), by=by, query={**query, **cursor})
        assert page.status == 200, page.body
        yield page
        if page.json["next_cursor"] is None:
            return
        cursor = {"cursor": page.json["next_cursor"]}


def spoil(runners: RunnersApi, runner: str) -> None:
    """Somebody edited the row by hand."""
    item = runner_item(replace(ROW, project=runners.project, runner=runner))
    runners.world.aws.observer("dynamodb").put_item(
        TableName="RunnersTable", Item={**item, "deadline": {"S": "spoiled"}}
    )
