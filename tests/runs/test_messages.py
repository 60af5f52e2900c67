"""Messages of a run: users and the run's runner post them, and readers get them in order."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import replace
from dataclasses import dataclass
from functools import partial
from threading import Timer
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from ulid import ULID

from byline.refresh.runner_rows import RunnerRow, runner_item
from byline.tables.rows import Contended
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.errors import RequestFailed
from serve_runs.idempotency import digest
from serve_runs.messages.deletion import ROWS_AT_ONCE, empty_messages
from serve_runs.messages.requests import MAX_CONTENT_BYTES, MAX_LEVELS, PostMessage
from serve_runs.messages.store import MessageStore
from serve_runs.messages.views import GAP_SECONDS, partition
from tests.runs.access_rows import register
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import Answer, RunsApi, reason_of
from tests.runs.table_server import (
    ACCESS_TABLE,
    RUNNERS_TABLE,
    TABLE,
    DynamoDb,
    LostAnswer,
    Meanwhile,
    Refusal,
)

MISSING = "01M6DMBE000000000000000000"


@dataclass
class Conversation:
    """The messages of a run of the runner `gpu-1`, whose service account is `gpu`."""

    api: RunsApi
    dynamodb: DynamoDb
    issuer: str
    run: str

    def post(
        self, by: Credential, content: Any = "hello", *, role: str = "user", **what: Any
    ) -> Answer:
        """Post a message."""
        key = (("idempotency-key", what.pop("key")),) if "key" in what else ()
        document = {"role": role, "content": content}
        return self.api.call("POST", self.path(**what), by=by, document=document, headers=key)

    def get(self, by: Credential, *, run: str = "", **query: str) -> Answer:
        """Read messages."""
        return self.api.call("GET", self.path(run=run), by=by, query=query)

    def path(self, *, run: str = "", of: str = "/messages") -> str:
        """The path of a run's messages, or of a part `of` the run."""
        return f"/v1/projects/apollo/runs/{run or self.run}{of}"

    def register(self, **changes: Any) -> None:
        """Write the runner's row with these changes."""
        row = RunnerRow(
            project="apollo",
            runner="gpu-1",
            client="trainer",
            token="-",
            revision="-",
            created_at="-",
            updated_at="-",
            subject="gpu",
            subject_issuer=self.issuer,
        )
        item = runner_item(replace(row, **changes))
        self.dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=item)

    def grant(self, subject: str, role: str, *, kind: str = "user") -> None:
        """Write a principal's role directly to the table."""
        self.dynamodb.client.put_item(
            TableName=ACCESS_TABLE,
            Item={
                "scope": {"S": "project#apollo"},
                "entry": {"S": f"roles#{kind}:{self.issuer}#{subject}"},
                "roles": {"SS": [role]},
            },
        )

    def rows(self) -> list[dict[str, Any]]:
        """The rows of messages."""
        return [row for row in self.dynamodb.rows() if "content" in row]

    def left(self) -> list[dict[str, Any]]:
        """The rows of the run that hold text of a message, or that DynamoDB does not delete."""
        place, expired = {"S": partition("apollo", self.run)}, {"project", "id", "expires_at"}
        now = time.time()
        return [
            row
            for row in self.dynamodb.rows()
            if row["project"] == place
            and (row.keys() - {"last"} != expired or int(row["expires_at"]["N"]) > now)
        ]

    def reads(self) -> list[str]:
        """The reads of DynamoDB since the last call of this function."""
        calls = [call.operation for call in self.dynamodb.calls]
        self.dynamodb.calls.clear()
        return [call for call in calls if call != "UpdateItem"]

    def store(self, *, clock: Callable[[], float] = time.time) -> MessageStore:
        """A separate store, as another invocation has it."""
        audit = AuditTrail(self.dynamodb.client, ACCESS_TABLE, now=clock)
        return MessageStore(self.dynamodb.client, TABLE, audit=audit, now=clock, retention_days=90)

    def write(self, store: MessageStore, content: str) -> str:
        """Write a message by a store, and return its id."""
        message = PostMessage("user", content)
        item, _ = store.post(
            "apollo", self.run, message=message, action=ActionContext(None, str(uuid4())), key=None
        )
        return item["id"]["S"]


@pytest.fixture
def conversation(api: RunsApi, dynamodb: DynamoDb, web: Web, ada: Credential) -> Conversation:
    """A run without messages."""
    run = api.create(ada, runner="gpu-1")["id"]
    conversation = Conversation(api, dynamodb, web.url, run)
    conversation.register()
    dynamodb.calls.clear()
    return conversation


@pytest.fixture
def mary(conversation: Conversation, web: Web) -> Credential:
    """A viewer of the project."""
    conversation.grant("mary", "project:viewer")
    return web.browser("mary", given_name="Mary", family_name="Shaw", email="mary@example.com")


def comparable(answer: Answer) -> tuple[int, dict[str, str], dict[str, Any]]:
    """An answer without its `instance`, which differs between any two requests."""
    return answer.status, answer.headers, {**answer.json, "instance": "-"}


def contents(answer: Answer) -> list[Any]:
    """The contents of the messages of an answer."""
    assert answer.status == 200, answer.body
    return [message["content"] for message in answer.json["messages"]]


@pytest.mark.parametrize("content", ["hello", {"text": "hello", "parts": [1, None, {"a": []}]}, {}])
def test_message_is_read_as_it_was_posted(
    conversation: Conversation, mary: Credential, ada: Credential, content: Any
) -> None:
    """A message has its author, role, time and content, which is text or an object."""
    answer = conversation.post(mary, content)
    assert answer.status == 201
    message = answer.json
    assert (message["role"], message["content"]) == ("user", content)
    assert message["author"]["user"]["id"] == {"subject": "mary"}
    assert message["on_behalf_of"] is None
    assert conversation.get(ada).json == {"messages": [message], "next_after": message["id"]}


def test_runner_reads_and_posts_messages_of_its_run(
    conversation: Conversation, mary: Credential, gpu: Credential
) -> None:
    """A runner reads and writes the messages of its run without any role."""
    conversation.post(mary, "how far?")
    answer = conversation.post(gpu, {"progress": 0.4}, role="runner")
    assert answer.status == 201
    assert answer.json["author"] == {
        "application": {"id": {"subject": "gpu"}, "spec": {"name": "gpu"}}
    }
    assert contents(conversation.get(gpu)) == ["how far?", {"progress": 0.4}]


class TestRoles:
    """The role of a message follows from what its author is."""

    def test_runner_cannot_post_as_a_user(
        self, conversation: Conversation, gpu: Credential
    ) -> None:
        """A runner's post as a user is answered 403, and nothing is written."""
        answer = conversation.post(gpu, role="user")
        assert (answer.status, answer.reason) == (403, "forbidden")
        assert conversation.rows() == []

    @pytest.mark.parametrize("role", ["project:viewer", "project:editor", "project:admin"])
    def test_user_cannot_post_as_the_runner(
        self, conversation: Conversation, web: Web, role: str
    ) -> None:
        """A user's post as the runner is answered 403, whatever the user's role is."""
        conversation.grant("tess", role)
        answer = conversation.post(web.browser("tess"), role="runner")
        assert (answer.status, answer.reason) == (403, "forbidden")
        assert conversation.rows() == []

    def test_person_with_the_runners_subject_is_not_the_runner(
        self, conversation: Conversation, web: Web
    ) -> None:
        """A person with the runner's subject has no access to the messages."""
        assert conversation.post(web.browser("gpu"), role="runner").reason == "not_found"
        assert conversation.get(web.browser("gpu")).reason == "not_found"

    @pytest.mark.parametrize(
        "change",
        [
            {"subject": "tpu"},
            {"subject_issuer": "https://other.example"},
            {"subject": None},
            {"subject": ""},
            {"subject_issuer": None},
            {"subject": "", "subject_issuer": ""},
        ],
        ids=str,
    )
    def test_runner_with_another_subject_or_issuer_is_refused(
        self, conversation: Conversation, gpu: Credential, change: dict[str, Any]
    ) -> None:
        """The runner's subject and issuer must both equal the caller's, and may not be empty."""
        conversation.register(**change)
        for answer in (conversation.get(gpu), conversation.post(gpu, role="runner")):
            assert (answer.status, answer.reason) == (404, "not_found")
        assert conversation.rows() == []

    def test_runner_of_another_run_is_refused(
        self, conversation: Conversation, gpu: Credential, ada: Credential
    ) -> None:
        """A runner has no access to the messages of a run that it does not execute."""
        other = conversation.api.create(ada, runner="gpu-2")["id"]
        without = conversation.api.create(ada)["id"]
        for run in (other, without):
            assert conversation.get(gpu, run=run).reason == "not_found"
            assert conversation.post(gpu, role="runner", run=run).reason == "not_found"


class TestStrangers:
    """A caller that may not see a run cannot tell whether it exists."""

    @pytest.mark.parametrize("kind_of_stranger", ["person", "application", "runner of another"])
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_invisible_run_is_answered_like_a_missing_one(
        self,
        conversation: Conversation,
        web: Web,
        ada: Credential,
        kind_of_stranger: str,
        method: str,
    ) -> None:
        """The answer and the reads are the same for invisible runs and for a missing one."""
        stranger = (
            web.browser("eve") if kind_of_stranger == "person" else web.bearer("tpu", client="tpu")
        )
        runs = [
            conversation.run,
            conversation.api.create(ada)["id"],
            conversation.api.create(ada, runner="unregistered")["id"],
            MISSING,
        ]
        expected = []
        for run in runs:
            conversation.reads()
            if method == "get":
                answer = conversation.get(stranger, run=run)
            else:
                answer = conversation.post(stranger, run=run)
            expected.append((comparable(answer), conversation.reads()))
        assert all(each == expected[0] for each in expected)
        assert expected[0][0][0] == 404

    def test_anonymous_caller_is_refused_before_any_read(self, conversation: Conversation) -> None:
        """An anonymous caller is answered 401, and nothing is read."""
        assert conversation.get(NO_CREDENTIAL).reason == "no_credentials"
        assert conversation.post(NO_CREDENTIAL).reason == "no_credentials"
        assert conversation.reads() == []

    def test_post_from_another_site_is_refused(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """A post from another site's page is answered 403, and nothing is written."""
        forged = Credential((*mary.headers, ("sec-fetch-site", "cross-site")), mary.group)
        assert conversation.post(forged).reason == "cross_site_request"
        assert conversation.rows() == []


class TestOrder:
    """A reader finds every message after the last one that it has read."""

    def test_pages_contain_every_message_in_order(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """`next_after` of a page, used as `after`, gives the next page until none is left."""
        posted = [f"message {number}" for number in range(5)]
        for content in posted:
            conversation.post(mary, content)
        found, after = [], ""
        while page := contents(
            answer := conversation.get(mary, limit="2", **({"after": after} if after else {}))
        ):
            found += page
            after = answer.json["next_after"]
        assert found == posted
        assert conversation.get(mary, after=after).json == {"messages": [], "next_after": after}

    def test_message_of_a_slow_clock_follows_the_last_one(self, conversation: Conversation) -> None:
        """A message never gets an id below one that a reader may have read."""
        ahead = conversation.write(conversation.store(clock=lambda: time.time() + 3_600), "ahead")
        behind = conversation.write(conversation.store(), "behind")
        assert behind > ahead
        assert abs(ULID.from_str(behind).timestamp - ULID.from_str(ahead).timestamp) < 1

    def test_reader_with_concurrent_writers_misses_no_message(
        self, conversation: Conversation
    ) -> None:
        """A reader gets every message of concurrent writers whose clocks differ."""
        found: list[str] = []
        reader = conversation.store()

        def read() -> None:
            items = reader.after(
                "apollo", conversation.run, after=found[-1] if found else None, limit=100
            )
            found.extend(item["id"]["S"] for item in items)

        def write(number: int) -> list[str]:
            store = conversation.store(clock=lambda: time.time() + number - 4)
            written = []
            for turn in range(4):
                try:
                    written.append(conversation.write(store, f"{number}/{turn}"))
                except (RequestFailed, Contended) as failure:  # other writers were faster each time
                    written.append(reason_of(failure))
            return written

        with ThreadPoolExecutor(4) as threads:
            writers = [threads.submit(write, number) for number in range(4)]
            while not all(writer.done() for writer in writers):
                read()
        read()
        written = {each for writer in writers for each in writer.result()} - {"store_unavailable"}
        assert set(found) == written
        assert found == sorted(found)

    @pytest.mark.parametrize(
        ("age", "expected"), [(GAP_SECONDS - 5, ["first"]), (61, ["first", "third"])]
    )
    def test_messages_after_a_gap_are_withheld_until_its_time_is_over(
        self, conversation: Conversation, mary: Credential, age: int, expected: list[str]
    ) -> None:
        """A message is withheld while one before it may still appear in queries."""
        store = conversation.store(clock=lambda: time.time() - age)
        conversation.write(store, "first")
        missing = conversation.write(store, "second")
        conversation.write(store, "third")
        [withheld] = [row for row in conversation.rows() if row["id"]["S"] == missing]
        key = {"project": withheld["project"], "id": withheld["id"]}
        conversation.dynamodb.client.delete_item(TableName=TABLE, Key=key)
        assert contents(conversation.get(mary)) == expected
        conversation.dynamodb.client.put_item(TableName=TABLE, Item=withheld)
        assert contents(conversation.get(mary)) == ["first", "second", "third"]


class TestRetries:
    """A repeated `Idempotency-Key` posts one message."""

    def test_repeated_post_writes_one_message(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """The repeated post is answered 200 with the existing message."""
        first = conversation.post(mary, key="once")
        again = conversation.post(mary, key="once")
        assert (first.status, again.status) == (201, 200)
        assert again.json == first.json
        assert len(conversation.rows()) == 1

    def test_order_of_members_does_not_make_another_message(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """The same content in another order, at any depth, repeats the first message."""
        first = conversation.post(mary, {"a": 1, "b": {"c": 2, "d": 3}}, key="once")
        again = conversation.post(mary, {"b": {"d": 3, "c": 2}, "a": 1}, key="once")
        assert (first.status, again.status) == (201, 200)
        assert again.json == first.json

    def test_key_of_a_message_before_the_upgrade_repeats_it(
        self, conversation: Conversation, mary: Credential, dynamodb: DynamoDb
    ) -> None:
        """An earlier version compared the content in the order of its members."""
        content = {"b": 1, "a": 2}
        first = conversation.post(mary, content, key="once")
        [row] = [row for row in dynamodb.rows() if row["project"]["S"].startswith("idempotency#")]
        earlier = digest("user", msgspec.json.encode(content).decode())
        assert row["body"]["S"] != earlier
        dynamodb.client.put_item(TableName=TABLE, Item=row | {"body": {"S": earlier}})
        again = conversation.post(mary, content, key="once")
        assert (again.status, again.json) == (200, first.json)
        assert conversation.post(mary, {"b": 2}, key="once").reason == "idempotency_conflict"

    def test_same_key_with_another_message_is_refused(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """Another message with the key is answered 422, and nothing is written."""
        conversation.post(mary, key="once")
        assert conversation.post(mary, "other", key="once").reason == "idempotency_conflict"
        assert len(conversation.rows()) == 1

    def test_same_key_of_another_caller_or_run_is_another_key(
        self, conversation: Conversation, mary: Credential, ada: Credential
    ) -> None:
        """A caller cannot find another caller's message by guessing its key."""
        other = conversation.api.create(ada)["id"]
        assert conversation.post(mary, key="once").status == 201
        assert conversation.post(ada, key="once").status == 201
        assert conversation.post(mary, key="once", run=other).status == 201

    def test_same_key_of_an_application_with_a_persons_subject_is_another_key(
        self, conversation: Conversation, mary: Credential, web: Web
    ) -> None:
        """The application `mary` is not the person `mary`, and its keys are separate."""
        conversation.grant("mary", "project:viewer", kind="application")
        first = conversation.post(mary, key="once")
        other = conversation.post(web.bearer("mary", client="mary"), key="once")
        assert (first.status, other.status) == (201, 201)

    def test_post_with_a_lost_answer_writes_one_message(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """botocore repeats the transaction, and one message is written."""
        conversation.dynamodb.faults.append(LostAnswer("TransactWriteItems"))
        assert conversation.post(mary).status == 201
        assert len(conversation.rows()) == 1


class TestRecords:
    """A user's message tells a run what to do, so it is in the audit trail."""

    def recorded(self, conversation: Conversation) -> list[dict[str, Any]]:
        """The audit records of messages."""
        rows = conversation.dynamodb.rows(ACCESS_TABLE)
        return [row for row in rows if row.get("action") == {"S": "post_user_message"}]

    def test_message_of_a_user_has_one_record(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """Also where it is repeated, or its answer was lost."""
        conversation.dynamodb.faults.append(LostAnswer("TransactWriteItems"))
        for _ in range(2):
            conversation.post(mary, key="once")
        [record] = self.recorded(conversation)
        assert record["resource_id"] == {"S": conversation.run}
        assert record["principal"]["S"].endswith("#mary")
        assert "hello" not in str(record)

    def test_message_of_an_application_is_recorded_for_its_person(
        self, conversation: Conversation, ada: Credential, web: Web
    ) -> None:
        """The record has the application and the person, and the person is accountable."""
        robot = web.bearer("robot", client="robot")
        register(conversation.api, ada, robot)
        assert conversation.post(robot).status == 201
        [record] = self.recorded(conversation)
        assert record["principal"]["S"].endswith("#robot")
        assert record["answerable"]["S"].endswith("#ada")

    def test_message_of_the_runner_has_no_record(
        self, conversation: Conversation, gpu: Credential
    ) -> None:
        """It is the output of the run. Its row names the author."""
        assert conversation.post(gpu, role="runner").status == 201
        assert self.recorded(conversation) == []

    def test_message_and_record_are_one_transaction(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """Neither exists without the other."""
        conversation.dynamodb.calls.clear()
        conversation.post(mary)
        [write] = [
            call for call in conversation.dynamodb.calls if call.operation == "TransactWriteItems"
        ]
        puts = [each["Put"] for each in write.document["TransactItems"] if "Put" in each]
        assert {put["TableName"] for put in puts} == {TABLE, ACCESS_TABLE}


class TestDeletedRuns:
    """A run's messages are not readable after its deletion."""

    def test_messages_of_a_deleted_run_are_not_found(
        self, conversation: Conversation, mary: Credential, gpu: Credential, ada: Credential
    ) -> None:
        """Reads and posts are answered 404, also for the run's runner, and no message is added."""
        conversation.post(mary)
        assert conversation.api.call("DELETE", conversation.path(of=""), by=ada).status == 204
        for answer in (
            conversation.get(mary),
            conversation.post(mary),
            conversation.get(gpu),
            conversation.get(ada),
        ):
            assert answer.reason == "not_found"
        assert conversation.left() == []

    def test_messages_of_a_deleted_run_leave_no_rows(
        self, conversation: Conversation, mary: Credential, ada: Credential
    ) -> None:
        """A deletion goes through all pages, and keeps the messages of another run."""
        store = conversation.store()
        for number in range(2 * ROWS_AT_ONCE + 3):
            conversation.write(store, str(number))
        other = conversation.api.create(ada, runner="gpu-1")["id"]
        assert conversation.post(mary, run=other).status == 201
        assert conversation.api.call("DELETE", conversation.path(of=""), by=ada).status == 204
        assert conversation.left() == []
        assert contents(conversation.get(mary, run=other)) == ["hello"]

    @pytest.mark.parametrize("transaction", [2, 3])
    def test_deletion_that_stops_early_is_completed_by_the_same_request(
        self, conversation: Conversation, ada: Credential, transaction: int
    ) -> None:
        """The run is gone, so the answer is 404, and its messages are gone too."""
        store = conversation.store()
        for number in range(ROWS_AT_ONCE + 3):
            conversation.write(store, str(number))
        passed = Meanwhile("TransactWriteItems", lambda: None)
        refused = Refusal("TransactWriteItems", "AccessDeniedException")
        conversation.dynamodb.faults.extend([*[passed] * (transaction - 1), refused])
        assert conversation.api.call("DELETE", conversation.path(of=""), by=ada).status == 500
        assert conversation.left()
        conversation.dynamodb.faults.clear()
        assert conversation.api.call("DELETE", conversation.path(of=""), by=ada).status == 404
        assert conversation.left() == []

    def test_deletion_of_very_many_messages_asks_for_another_request(
        self, conversation: Conversation, ada: Credential
    ) -> None:
        """A request empties a thousand rows at most, here two, and the next one continues."""
        store = conversation.store()
        for number in range(3):
            conversation.write(store, str(number))

        def delete() -> None:
            empty_messages(
                conversation.dynamodb.client,
                TABLE,
                "apollo",
                conversation.run,
                now=time.time,
                pages=2,
                at_once=1,
            )

        with pytest.raises(RequestFailed, match="store_unavailable"):
            delete()
        assert len(conversation.left()) == 2
        conversation.api.call("DELETE", conversation.path(of=""), by=ada)
        assert conversation.left() == []

    def test_failed_deletion_of_a_run_keeps_its_messages(
        self, conversation: Conversation, mary: Credential, ada: Credential
    ) -> None:
        """The messages are deleted only once the run is."""
        conversation.post(mary)
        refused = Refusal("TransactWriteItems", "AccessDeniedException")
        conversation.dynamodb.faults.append(refused)
        assert conversation.api.call("DELETE", conversation.path(of=""), by=ada).status == 500
        assert contents(conversation.get(mary)) == ["hello"]

    def test_post_during_a_deletion_is_refused(
        self, conversation: Conversation, mary: Credential, ada: Credential
    ) -> None:
        """The transaction checks the row of the run, so a deleted run gets no message."""
        conversation.post(mary)
        store = conversation.store()
        conversation.api.call("DELETE", conversation.path(of=""), by=ada)
        with pytest.raises(RequestFailed, match="not_found"):
            conversation.write(store, "too late")

    def test_message_rows_expire(self, conversation: Conversation, mary: Credential) -> None:
        """DynamoDB deletes messages after 90 days and idempotency records after one."""
        conversation.post(mary, key="once")
        rows = [row for row in conversation.dynamodb.rows() if row["id"]["S"] != conversation.run]
        ends = sorted(round(int(row["expires_at"]["N"]) - time.time(), -3) for row in rows)
        assert ends == [86_000, 90 * 86_400, 90 * 86_400]


class TestWaiting:
    """Long polls."""

    def test_wait_ends_with_the_first_message(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """A message that is posted during the wait is answered at once."""
        timer = Timer(0.5, lambda: conversation.write(conversation.store(), "at last"))
        timer.start()
        started = time.monotonic()
        assert contents(conversation.get(mary, wait="20")) == ["at last"]
        assert time.monotonic() - started < 10
        timer.join()

    def test_wait_without_a_message_ends_in_time(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """The answer after the wait is empty, and the position stays the same."""
        started = time.monotonic()
        assert conversation.get(mary, wait="1").json == {"messages": [], "next_after": None}
        assert 1 <= time.monotonic() - started < 5

    def test_existing_message_is_answered_without_waiting(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """A message that exists already is answered by one query."""
        conversation.post(mary)
        conversation.reads()
        assert contents(conversation.get(mary, wait="20")) == ["hello"]
        assert conversation.reads().count("Query") == 1

    def test_role_revoked_during_the_wait_ends_it(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """A caller that loses its role during the wait gets no later message."""

        def revoke_and_write() -> None:
            conversation.dynamodb.client.delete_item(
                TableName=ACCESS_TABLE,
                Key={
                    "scope": {"S": "project#apollo"},
                    "entry": {"S": f"roles#user:{conversation.issuer}#mary"},
                },
            )
            conversation.write(conversation.store(), "not for mary")

        timer = Timer(0.3, revoke_and_write)
        timer.start()
        answer = conversation.get(mary, wait="3")
        timer.join()
        assert answer.reason == "not_found"

    @pytest.mark.parametrize("by", ["browser", "bearer"])
    def test_wait_ends_with_the_token(self, conversation: Conversation, web: Web, by: str) -> None:
        """A caller whose token expires during the wait is refused, and gets no later message."""
        conversation.grant("mary", "project:viewer")
        expiry = int(time.time()) + 3
        mary = (
            web.browser_token({"exp": expiry}, {"sub": "mary"})
            if by == "browser"
            else web.bearer("mary", exp=expiry)
        )
        late = partial(conversation.write, conversation.store(), "too late")
        timer = Timer(max(expiry + 0.1 - time.time(), 0), late)
        timer.start()
        answer = conversation.get(mary, wait="20")
        timer.join()
        assert (answer.status, answer.reason) == (401, "expired")
        assert "Query" in conversation.reads()

    @pytest.mark.parametrize("wait", ["-1", "21", "1.5", "x", ""])
    def test_wait_outside_its_bounds_is_refused(
        self, conversation: Conversation, mary: Credential, wait: str
    ) -> None:
        """A wait that is not 0 to 20 seconds is answered 400."""
        assert conversation.get(mary, wait=wait).reason == "invalid_parameter"


class TestBodies:
    """The body of a post."""

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"role": "user"},
            {"content": "a"},
            {"role": "system", "content": "a"},
            {"role": "user", "content": ""},
            {"role": "user", "content": None},
            {"role": "user", "content": ["a"]},
            {"role": "user", "content": 1},
            {"role": "user", "content": "a", "author": "ada"},
            {"role": "user", "content": {"a": float("inf")}},
        ],
    )
    def test_invalid_body_is_refused(
        self, conversation: Conversation, mary: Credential, body: Any
    ) -> None:
        """An invalid role, content or member is answered 400, and nothing is written."""
        answer = conversation.api.call("POST", conversation.path(), by=mary, document=body)
        assert (answer.status, answer.reason) == (400, "invalid_body")
        assert conversation.rows() == []

    @pytest.mark.parametrize(("length", "status"), [(MAX_CONTENT_BYTES - 2, 201), (32_767, 400)])
    def test_content_at_and_over_its_limit(
        self, conversation: Conversation, mary: Credential, length: int, status: int
    ) -> None:
        """Content of 32 KiB as JSON is accepted, and one byte more is refused."""
        assert conversation.post(mary, "m" * length).status == status

    @pytest.mark.parametrize(("levels", "status"), [(MAX_LEVELS, 201), (33, 400), (5_000, 400)])
    def test_content_at_and_over_its_depth(
        self, conversation: Conversation, mary: Credential, levels: int, status: int
    ) -> None:
        """Content nested to the limit is accepted, and deeper content is refused."""
        body = '{"role":"user","content":' + '{"a":' * levels + "1" + "}" * levels + "}"
        headers = (("content-type", "application/json"),)
        answer = conversation.api.call(
            "POST", conversation.path(), by=mary, body=body, headers=headers
        )
        assert answer.status == status
        if status == 201:
            assert json.loads(body)["content"] == contents(conversation.get(mary))[0]

    def test_page_of_long_messages_ends_early(
        self, conversation: Conversation, mary: Credential
    ) -> None:
        """A page stays below the 1 MB of a load balancer, and the next page has the rest."""
        store = conversation.store()
        for number in range(40):
            conversation.write(store, f"{number} " + "m" * 30_000)
        found = conversation.get(mary, limit="100").json
        assert 20 < len(found["messages"]) < 40
        rest = conversation.get(mary, limit="100", after=found["next_after"]).json
        assert len(found["messages"]) + len(rest["messages"]) == 40


def test_state_change_routes_are_separate_from_messages(
    conversation: Conversation, ada: Credential
) -> None:
    """`POST …/start` reaches its own route, and an unknown last segment is answered 404."""
    assert conversation.api.call("POST", conversation.path(of="/start"), by=ada).status == 200
    assert conversation.api.call("POST", conversation.path(of="/explode"), by=ada).status == 404


def test_content_of_a_message_is_not_logged(
    conversation: Conversation, mary: Credential, log_lines: Callable[[], list[str]]
) -> None:
    """The log says that a message was created, without its content."""
    conversation.post(mary, "between us")
    log = "".join(log_lines())
    assert "message created" in log
    assert "between us" not in log
