"""Reading and listing runners: the state of a token is shown, and the token never is."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from copy import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byline.refresh.hints import hint_of
from byline.refresh.runner_rows import RunnerRow, runner_item
from byline.refresh.token_rows import LastError, TokenRow, token_item
from byline.tables.rows import rfc3339
from serve_runs.runners.changes import Runner
from serve_runs.runners.views import (
    SecretArns,
    runner_json,
    secrets_prefix,
    status_of,
    token_json,
)
from serve_runs.web.paging import encode_position
from stand_ins.faults import Afterwards
from tests.refresh.world import SECRETS
from tests.runs.identity_server import NO_CREDENTIAL, Credential
from tests.runs.runners_api import RunnersApi
from tests.runs.runs_api import Answer

NOW = 1_800_000_000
ROW = RunnerRow(
    project="payments",
    runner="nightly",
    client="scheduler",
    token="scheduler#1",
    revision="request-1",
    created_at="2027-01-15T08:00:00.000Z",
    updated_at="2027-01-15T08:00:00.000Z",
)
TOKEN = TokenRow(
    project="payments",
    client="scheduler",
    id="01m6dmbe000000000000000002",
    created_at="2027-01-15T08:00:00.000Z",
    deadline=NOW,
    runners=1,
    generation=0,
)
FAILED = LastError(error_class="invalid_client", detail="It is refused.", since=NOW - 60, at=NOW)
ARNS = SecretArns(SECRETS, "arn:")


class TestStatus:
    """The status of a token."""

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
        """A token is valid before its expiry, and expired from that second on."""
        row = replace(TOKEN, expires_at=expires_at, last_error=error)
        assert status_of(row, now=NOW) == status


class TestRead:
    """`GET …/runners/{runner}`."""

    def test_runner_with_a_token_is_shown_with_its_times_and_secret(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """The secret is shown by the ARN of the newest slot's secret."""
        runners.put(ada, audience="models", scope="read", subject="gpu")
        runners.refresh()
        token, answered = runners.token_row(), runners.get(ada).json
        assert token.slot is not None
        name = SECRETS.token(runners.project, "scheduler", token.id, token.slot)
        secret = runners.world.aws.secrets.find(name)
        assert secret is not None
        assert answered["secret_arn"] == secret.arn[: -len("-abcdef")]
        assert answered["token"] == token.id
        # A token of 900 seconds needs two secrets, which are written in turn.
        assert [arn[-1] for arn in answered["secret_arns"]] == ["0", "1"]
        assert answered["secret_arn"] in answered["secret_arns"]
        expires_at = datetime.fromisoformat(answered["expires_at"]).timestamp()
        assert expires_at - datetime.fromisoformat(answered["issued_at"]).timestamp() == 900
        assert (answered["status"], answered["last_error"]) == ("ready", None)
        assert answered["registered_by"]["user"]["id"] == {"subject": "ada"}

    def test_runner_with_a_failed_refresh_is_shown_with_its_reason(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """The error has its class, what to do about it, and when it is tried again."""
        runners.world.give_client(project=runners.project, client_secret="wr0ng-secret")
        runners.put(ada)
        runners.refresh()
        token, answered = runners.token_row(), runners.get(ada).json
        assert (answered["status"], answered["expires_at"], answered["secret_arn"]) == (
            "failing",
            None,
            None,
        )
        assert token.last_error is not None
        assert token.try_at is not None
        assert answered["last_error"] == {
            "class": "invalid_client",
            "detail": token.last_error.detail,
            "hint": hint_of("invalid_client"),
            "since": rfc3339(token.last_error.since),
            "next_try_at": rfc3339(token.try_at),
        }
        assert "wr0ng" not in str(answered)

    def test_unreadable_identity_is_null(self, runners: RunnersApi, ada: Credential) -> None:
        """A stored identity that cannot be read is returned as null, never as an error."""
        runners.put(ada)
        runners.store(replace(runners.row(), registered_by="{"))
        assert runners.get(ada).json["registered_by"] is None

    def test_missing_runner_is_404(self, runners: RunnersApi, ada: Credential) -> None:
        """A missing runner is answered 404."""
        assert runners.get(ada).reason == "not_found"

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_anonymous_caller_is_refused(self, runners: RunnersApi, method: str) -> None:
        """An anonymous caller is answered 401 before anything is read."""
        answer = runners.api.call(
            method, runners.path(), by=NO_CREDENTIAL, document={"client": "a"}
        )
        assert (answer.status, answer.reason) == (401, "no_credentials")
        assert runners.calls() == []

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    def test_unknown_method_is_405(self, runners: RunnersApi, ada: Credential, method: str) -> None:
        """The answer has the methods of the path in `Allow`."""
        answer = runners.api.call(method, runners.path(), by=ada)
        assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, PUT")

    def test_unreadable_row_is_500_and_counted(
        self, runners: RunnersApi, ada: Credential, log_lines: Callable[[], list[str]]
    ) -> None:
        """The answer is 500, and the log contains no value of the row."""
        write_unreadable_row(runners, "nightly")
        assert runners.get(ada).status == 500
        assert [line for line in log_lines() if '"InternalError"' in line]
        assert not [line for line in log_lines() if "spoiled" in line]


class TestList:
    """`GET …/runners`."""

    def test_pages_contain_every_runner_by_name(self, runners: RunnersApi, ada: Credential) -> None:
        """Each runner is on one page. A page makes one query, and one read of their tokens."""
        names = [f"gpu-{number}" for number in range(7)]
        for name in names[::-1]:
            runners.put(ada, name)
        runners.world.aws.calls.clear()
        pages = [*pages_of(runners, ada, limit="3")]
        assert [[runner["name"] for runner in page.json["runners"]] for page in pages] == [
            names[:3],
            names[3:6],
            names[6:],
        ]
        assert runners.calls() == ["Query", "BatchGetItem"] * 3
        reads = [call for call in runners.world.aws.calls if call.operation == "BatchGetItem"]
        keys = [call.document["RequestItems"]["RunnersTable"]["Keys"] for call in reads]
        assert [len(of_page) for of_page in keys] == [1, 1, 1], "all runners share a token"

    def test_full_last_page_has_no_cursor(self, runners: RunnersApi, ada: Credential) -> None:
        """A page reads one runner more than it shows, so no empty page follows."""
        for name in ("a", "b"):
            runners.put(ada, name)
        [page] = pages_of(runners, ada, limit="2")
        assert len(page.json["runners"]) == 2
        [query] = [call for call in runners.world.aws.calls if call.operation == "Query"]
        assert query.document["Limit"] == 3

    def test_runner_in_a_list_equals_the_runner_read_alone(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """A runner has the same members and values in a list and alone."""
        runners.put(ada)
        runners.refresh()
        [page] = pages_of(runners, ada)
        assert page.json["runners"] == [runners.get(ada).json]

    def test_unreadable_row_is_left_out_and_logged(
        self, runners: RunnersApi, ada: Credential, log_lines: Callable[[], list[str]]
    ) -> None:
        """A row that cannot be read does not hide the others."""
        for name in ("a", "c"):
            runners.put(ada, name)
        write_unreadable_row(runners, "b")
        answered = [
            runner["name"]
            for page in pages_of(runners, ada, limit="1")
            for runner in page.json["runners"]
        ]
        assert answered == ["a", "c"]
        assert [line for line in log_lines() if '"row unreadable"' in line]

    def test_list_of_large_runners_ends_early(self, runners: RunnersApi, ada: Credential) -> None:
        """A page stays below the 1 MB of a load balancer, and its cursor goes on."""
        wide = '"' * 512
        row = replace(ROW, project=runners.project, audience=wide, scope=wide, resource=wide)
        row = replace(row, token=row.mint_key.token_key)
        token = replace(TOKEN, project=runners.project, audience=wide, resource=wide, scope=wide)
        runners.store(replace(token, runners=100))
        for number in range(100):
            runners.store(
                replace(row, runner=f"gpu-{number:02}", subject=wide, subject_issuer=wide)
            )
        pages = [*pages_of(runners, ada, limit="100")]
        assert sum(len(page.json["runners"]) for page in pages) == 100
        assert all(len(answer) < 1_000_000 for answer in runners.api.answers)

    @pytest.mark.parametrize(
        "query",
        [{"limit": "0"}, {"limit": "101"}, {"limit": "1.5"}, {"status": "ready"}, {"cursor": ""}],
    )
    def test_invalid_query_is_refused(
        self, runners: RunnersApi, ada: Credential, query: dict[str, str]
    ) -> None:
        """An invalid or unknown parameter is answered 400, and nothing is read."""
        answer = runners.api.call("GET", list_path(runners), by=ada, query=query)
        assert (answer.status, answer.reason) == (400, "invalid_parameter")
        assert runners.calls() == []

    def test_cursor_of_another_query_is_refused(self, runners: RunnersApi, ada: Credential) -> None:
        """A cursor of another project or list, or a changed one, is answered 400."""
        for name in ("a", "b"):
            runners.put(ada, name)
        first = runners.api.call("GET", list_path(runners), by=ada, query={"limit": "1"})
        cursor = first.json["next_cursor"]
        altered = urlsafe_b64encode(b"123456789apollo/../x").decode()
        for path, tried_cursor in (
            ("/v1/projects/other/runners", cursor),
            (f"/v1/projects/{runners.project}/runs", cursor),
            (list_path(runners), cursor[:-1]),
            (list_path(runners), altered),
        ):
            answer = runners.api.call("GET", path, by=ada, query={"cursor": tried_cursor})
            assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_forged_cursor_reads_only_its_own_project(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """A forged position gives the name after which the list continues, and not its project."""
        for name in ("a", "b"):
            runners.put(ada, name)
        forged = encode_position("other", "a", query=f"runners of {runners.project}")
        answer = runners.api.call("GET", list_path(runners), by=ada, query={"cursor": forged})
        assert [runner["name"] for runner in answer.json["runners"]] == ["b"]
        [*_, query] = [call for call in runners.world.aws.calls if call.operation == "Query"]
        start = query.document["ExclusiveStartKey"]
        assert start["project"] == {"S": runners.project}

    def test_runner_that_moves_during_the_list_is_shown_with_its_new_token(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """The token that it left may be gone when the tokens are read."""
        runners.put(ada, audience="a")
        runners.world.aws.faults.follow("Query", Afterwards(lambda: runners.put(ada, audience="b")))
        [page] = pages_of(runners, ada)
        assert [runner["audience"] for runner in page.json["runners"]] == ["b"]
        assert page.json["runners"][0]["token"] == runners.token_row().id

    @settings(max_examples=25)
    @given(cursor=st.text(max_size=60))
    def test_cursor_of_any_text_gets_an_answer(
        self, runners: RunnersApi, ada: Credential, cursor: str
    ) -> None:
        """Any text as cursor is answered without a 500."""
        answer = runners.api.call("GET", list_path(runners), by=ada, query={"cursor": cursor})
        assert answer.status in {400, 200}


def test_arn_of_a_secret_has_the_functions_account() -> None:
    """Partition, region and account are those of the function, with or without an alias."""
    arn = "arn:aws-cn:lambda:cn-north-1:210987654321:function:RunsFunction:live"
    assert secrets_prefix(arn) == "arn:aws-cn:secretsmanager:cn-north-1:210987654321:secret:"


@given(
    st.builds(
        replace,
        st.just(TOKEN),
        expires_at=st.none() | st.integers(0, 2**33),
        issued_at=st.none() | st.integers(0, 2**33),
        slot=st.none() | st.integers(0, 71),
        slots=st.none() | st.integers(1, 72),
        last_error=st.none() | st.just(FAILED),
        next_try_at=st.none() | st.integers(0, 2**33),
    ),
    st.none() | st.text(max_size=20),
)
def test_every_row_can_be_shown(token: TokenRow, registered_by: str | None) -> None:
    """Any row is shown with all members and without internal attributes."""
    runner = Runner(replace(ROW, registered_by=registered_by), token)
    internal = {"shard", "due_at", "revision", "subject_issuer", "asks", "attempts"}
    for answered, members in (
        (runner_json(runner, arns=ARNS, now=NOW), 20),
        (token_json(token, arns=ARNS, now=NOW), 17),
    ):
        assert len(answered) == members
        assert not internal & answered.keys()


class TestTokens:
    """`GET …/tokens`."""

    def test_tokens_are_listed_by_client_with_their_runners(
        self, runners: RunnersApi, ada: Credential
    ) -> None:
        """A token has what it is for, how many runners point to it, and its state."""
        for name in ("nightly", "weekly"):
            runners.put(ada, name, audience="models", scope="write read")
        runners.put(ada, "alone", client="other", isolated=True)
        runners.refresh()
        runners.world.aws.calls.clear()
        answer = runners.tokens(ada)
        assert answer.status == 200
        assert runners.calls() == ["Query"]
        other, shared = answer.json["tokens"]
        assert (other["client"], other["isolated_for"], other["runners"]) == ("other", "alone", 1)
        assert (shared["audience"], shared["scope"], shared["runners"]) == (
            "models",
            "read write",
            2,
        )
        assert (shared["isolated_for"], shared["generation"], shared["status"]) == (
            None,
            1,
            "ready",
        )
        shown = runners.get(ada).json
        same = ("status", "issued_at", "expires_at", "refreshed_at", "secret_arn", "secret_arns")
        assert {name: shared[name] for name in same} == {name: shown[name] for name in same}
        assert shared["id"] == shown["token"]

    def test_pages_contain_every_token(self, runners: RunnersApi, ada: Credential) -> None:
        """Each token is on one page, and retired tokens on none."""
        for number in range(5):
            runners.put(ada, f"gpu-{number}", audience=f"a-{number}")
        runners.delete(ada, "gpu-3")
        pages: list[list[str]] = []
        cursor: dict[str, str] = {}
        while True:
            page = runners.tokens(ada, limit="2", **cursor).json
            pages.append([token["audience"] for token in page["tokens"]])
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert [len(page) for page in pages] == [2, 2]
        assert sorted(audience for page in pages for audience in page) == [
            "a-0",
            "a-1",
            "a-2",
            "a-4",
        ]

    def test_cursor_of_another_list_is_refused(self, runners: RunnersApi, ada: Credential) -> None:
        """A cursor belongs to one project's list."""
        for name in ("a", "b"):
            runners.put(ada, name, audience=name)
        cursor = runners.tokens(ada, limit="1").json["next_cursor"]
        for path in (list_path(runners), "/v1/projects/other/tokens"):
            answer = runners.api.call("GET", path, by=ada, query={"cursor": cursor})
            assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_unreadable_row_is_left_out_and_logged(
        self, runners: RunnersApi, ada: Credential, log_lines: Callable[[], list[str]]
    ) -> None:
        """A row that cannot be read does not hide the others."""
        for name in ("a", "b"):
            runners.put(ada, name, audience=name)
        item = token_item(runners.token_row("a"))
        runners.world.aws.observer("dynamodb").put_item(
            TableName="RunnersTable", Item={**item, "deadline": {"S": "spoiled"}}
        )
        assert [token["audience"] for token in runners.tokens(ada).json["tokens"]] == ["b"]
        assert [line for line in log_lines() if '"row unreadable"' in line]


def list_path(runners: RunnersApi) -> str:
    """The path of the list."""
    return f"/v1/projects/{runners.project}/runners"


def pages_of(runners: RunnersApi, by: Credential, **query: str) -> Any:
    """The pages of the list."""
    cursor: dict[str, str] = {}
    while True:
        page: Answer = runners.api.call("GET", list_path(runners), by=by, query={**query, **cursor})
        assert page.status == 200, page.body
        yield page
        if page.json["next_cursor"] is None:
            return
        cursor = {"cursor": page.json["next_cursor"]}


def write_unreadable_row(runners: RunnersApi, runner: str) -> None:
    """Write a row that cannot be read."""
    item = runner_item(replace(ROW, project=runners.project, runner=runner))
    runners.world.aws.observer("dynamodb").put_item(
        TableName="RunnersTable", Item={**item, "isolated": {"S": "spoiled"}}
    )
