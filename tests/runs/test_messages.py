"""Profiles and a run's runner write its messages, which are read in the order of writing."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Timer
from typing import Any
from uuid import uuid4

import pytest
from ulid import ULID

from byline.refresh.runner_rows import RunnerRow, runner_item
from byline.tables.rows import Contended
from serve_runs.audit.trail import ActionContext
from serve_runs.errors import RequestFailed
from serve_runs.messages.requests import MAX_CONTENT_BYTES, MAX_LEVELS, PostMessage
from serve_runs.messages.store import LIFETIME_SECONDS, MessageStore
from serve_runs.messages.views import GAP_SECONDS
from tests.runs.identity_server import NOBODY, Credential, Web
from tests.runs.runs_api import Answer, RunsApi, reason_of
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, TABLE, DynamoDb, LostAnswer

MISSING = "01M6DMBE000000000000000000"


@dataclass
class Conversation:
    """The messages of a run that `gpu-1` executes, whose own service account is `gpu`."""

    api: RunsApi
    dynamodb: DynamoDb
    issuer: str
    run: str

    def post(
        self, by: Credential, content: Any = "hello", *, role: str = "user", **what: Any
    ) -> Answer:
        key = (("idempotency-key", what.pop("key")),) if "key" in what else ()
        document = {"role": role, "content": content}
        return self.api.call("POST", self.path(**what), by=by, document=document, headers=key)

    def get(self, by: Credential, *, run: str = "", **query: str) -> Answer:
        return self.api.call("GET", self.path(run=run), by=by, query=query)

    def path(self, *, run: str = "", of: str = "/messages") -> str:
        return f"/v1/projects/apollo/runs/{run or self.run}{of}"

    def register(self, **changes: Any) -> None:
        """Make the runner's row this one."""
        row = RunnerRow(
            project="apollo",
            runner="gpu-1",
            client="trainer",
            revision="-",
            generation=1,
            deadline=1,
            created_at="-",
            updated_at="-",
            subject="gpu",
            subject_issuer=self.issuer,
        )
        item = runner_item(replace(row, **changes))
        self.dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=item)

    def grant(self, subject: str, role: str, *, kind: str = "user") -> None:
        """Give somebody a role, behind the function's back."""
        self.dynamodb.client.put_item(
            TableName=ACCESS_TABLE,
            Item={
                "scope": {"S": "project#apollo"},
                "entry": {"S": f"roles#{kind}:{self.issuer}#{subject}"},
                "roles": {"SS": [role]},
            },
        )

    def rows(self) -> list[dict[str, Any]]:
        """The messages' rows."""
        return [row for row in self.dynamodb.rows() if "content" in row]

    def reads(self) -> list[str]:
        """What was asked of DynamoDB since the last time, sightings of profiles aside."""
        calls = [call.operation for call in self.dynamodb.calls]
        self.dynamodb.calls.clear()
        return [call for call in calls if call != "UpdateItem"]

    def store(self, *, clock: Callable[[], float] = time.time) -> MessageStore:
        """A store of its own, as another invocation would have."""
        return MessageStore(self.dynamodb.client, TABLE, now=clock)

    def say(self, store: MessageStore, content: str) -> str:
        """Write by a store; the message's id."""
        message = PostMessage("user", content)
        item, _ = store.post(
            "apollo", self.run, message=message, action=ActionContext(None, str(uuid4())), key=None
        )
        return item["id"]["S"]


@pytest.fixture
def talk(api: RunsApi, dynamodb: DynamoDb, web: Web, ada: Credential) -> Conversation:
    """A conversation that has not begun."""
    run = api.create(ada, runner="gpu-1")["id"]
    talk = Conversation(api, dynamodb, web.url, run)
    talk.register()
    dynamodb.calls.clear()
    return talk


@pytest.fixture
def mary(talk: Conversation, web: Web) -> Credential:
    """A person who may see the project."""
    talk.grant("mary", "project:viewer")
    return web.browser("mary", given_name="Mary", family_name="Shaw", email="mary@example.com")


def told(answer: Answer) -> tuple[int, dict[str, str], dict[str, Any]]:
    """An answer as its client can tell it from another: all but the request's own id."""
    return answer.status, answer.headers, {**answer.json, "instance": "-"}


def contents(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    return [message["content"] for message in answer.json["messages"]]


@pytest.mark.parametrize("content", ["hello", {"text": "hello", "parts": [1, None, {"a": []}]}, {}])
def test_message_is_read_as_it_was_said(
    talk: Conversation, mary: Credential, ada: Credential, content: Any
) -> None:
    """Who said it, when, as what, in whose name; text or an object."""
    answer = talk.post(mary, content)
    assert answer.status == 201
    message = answer.json
    assert (message["role"], message["content"]) == ("user", content)
    assert message["author"]["user"]["id"] == {"subject": "mary"}
    assert message["on_behalf_of"] is None
    assert talk.get(ada).json == {"messages": [message], "next_after": message["id"]}


def test_runner_watches_and_speaks_as_itself(
    talk: Conversation, mary: Credential, gpu: Credential
) -> None:
    """A runner reads and writes the messages of its run without any role."""
    talk.post(mary, "how far?")
    answer = talk.post(gpu, {"progress": 0.4}, role="runner")
    assert answer.status == 201
    assert answer.json["author"] == {
        "application": {"id": {"subject": "gpu"}, "spec": {"name": "gpu"}}
    }
    assert contents(talk.get(gpu)) == ["how far?", {"progress": 0.4}]


class TestAsWhom:
    """Nobody speaks as what they are not."""

    def test_runner_may_not_speak_as_a_user(self, talk: Conversation, gpu: Credential) -> None:
        """403: it may read, and not that."""
        answer = talk.post(gpu, role="user")
        assert (answer.status, answer.reason) == (403, "forbidden")
        assert talk.rows() == []

    @pytest.mark.parametrize("role", ["project:viewer", "project:editor", "project:admin"])
    def test_user_may_not_speak_as_the_runner(
        self, talk: Conversation, web: Web, role: str
    ) -> None:
        """403, not even who may do everything else."""
        talk.grant("tess", role)
        answer = talk.post(web.browser("tess"), role="runner")
        assert (answer.status, answer.reason) == (403, "forbidden")
        assert talk.rows() == []

    def test_person_of_the_runner_s_subject_is_not_the_runner(
        self, talk: Conversation, web: Web
    ) -> None:
        """A name alone is nobody: by browser it is a person."""
        assert talk.post(web.browser("gpu"), role="runner").reason == "not_found"
        assert talk.get(web.browser("gpu")).reason == "not_found"

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
    def test_runner_of_another_subject_is_another(
        self, talk: Conversation, gpu: Credential, change: dict[str, Any]
    ) -> None:
        """A runner with an empty subject matches no caller."""
        talk.register(**change)
        for answer in (talk.get(gpu), talk.post(gpu, role="runner")):
            assert (answer.status, answer.reason) == (404, "not_found")
        assert talk.rows() == []

    def test_runner_of_another_run_is_a_stranger(
        self, talk: Conversation, gpu: Credential, ada: Credential
    ) -> None:
        """Its name in another run's row is what counts, and no other."""
        other = talk.api.create(ada, runner="gpu-2")["id"]
        without = talk.api.create(ada)["id"]
        for run in (other, without):
            assert talk.get(gpu, run=run).reason == "not_found"
            assert talk.post(gpu, role="runner", run=run).reason == "not_found"


class TestStrangers:
    """Whoever may not see the run cannot tell whether there is one."""

    @pytest.mark.parametrize("who", ["person", "application", "runner of another"])
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_run_that_is_there_is_like_one_that_is_not(
        self, talk: Conversation, web: Web, ada: Credential, who: str, method: str
    ) -> None:
        """The same answer, and the same reads: with a runner, without one, and without a run."""
        stranger = web.browser("eve") if who == "person" else web.bearer("tpu", client="tpu")
        runs = [
            talk.run,
            talk.api.create(ada)["id"],
            talk.api.create(ada, runner="unregistered")["id"],
            MISSING,
        ]
        seen = []
        for run in runs:
            talk.reads()
            if method == "get":
                answer = talk.get(stranger, run=run)
            else:
                answer = talk.post(stranger, run=run)
            seen.append((told(answer), talk.reads()))
        assert all(each == seen[0] for each in seen)
        assert seen[0][0][0] == 404

    def test_nobody_is_refused_before_anything_is_read(self, talk: Conversation) -> None:
        """401."""
        assert talk.get(NOBODY).reason == "no_credentials"
        assert talk.post(NOBODY).reason == "no_credentials"
        assert talk.reads() == []

    def test_post_by_another_site_s_page_is_refused(
        self, talk: Conversation, mary: Credential
    ) -> None:
        """403, and nothing is written."""
        forged = Credential((*mary.headers, ("sec-fetch-site", "cross-site")), mary.group)
        assert talk.post(forged).reason == "cross_site_request"
        assert talk.rows() == []


class TestOrder:
    """Whoever has read up to a message finds every later one behind it."""

    def test_pages_follow_each_other(self, talk: Conversation, mary: Credential) -> None:
        """`next_after` of one is `after` of the next, until nothing is left."""
        said = [f"message {number}" for number in range(5)]
        for content in said:
            talk.post(mary, content)
        found, after = [], ""
        while page := contents(
            answer := talk.get(mary, limit="2", **({"after": after} if after else {}))
        ):
            found += page
            after = answer.json["next_after"]
        assert found == said
        assert talk.get(mary, after=after).json == {"messages": [], "next_after": after}

    def test_writer_whose_clock_is_behind_writes_behind(self, talk: Conversation) -> None:
        """Its message is not put before one that a reader may have passed."""
        ahead = talk.say(talk.store(clock=lambda: time.time() + 3_600), "ahead")
        behind = talk.say(talk.store(), "behind")
        assert behind > ahead
        assert abs(ULID.from_str(behind).timestamp - ULID.from_str(ahead).timestamp) < 1

    def test_reader_beside_many_writers_misses_nothing(self, talk: Conversation) -> None:
        """Eight at once with clocks that differ, and a reader that goes on from where it was."""
        found: list[str] = []
        reader = talk.store()

        def read() -> None:
            items = reader.after("apollo", talk.run, after=found[-1] if found else None, limit=100)
            found.extend(item["id"]["S"] for item in items)

        def write(number: int) -> list[str]:
            store = talk.store(clock=lambda: time.time() + number - 4)
            written = []
            for turn in range(4):
                try:
                    written.append(talk.say(store, f"{number}/{turn}"))
                except (RequestFailed, Contended) as failure:  # others were faster, each time
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
        ("age", "seen"), [(GAP_SECONDS - 5, ["first"]), (61, ["first", "third"])]
    )
    def test_what_comes_after_a_gap_waits_for_it(
        self, talk: Conversation, mary: Credential, age: int, seen: list[str]
    ) -> None:
        """A query may see a message before the one before; one whose time was over never comes."""
        store = talk.store(clock=lambda: time.time() - age)
        talk.say(store, "first")
        missing = talk.say(store, "second")
        talk.say(store, "third")
        [gone] = [row for row in talk.rows() if row["id"]["S"] == missing]
        key = {"project": gone["project"], "id": gone["id"]}
        talk.dynamodb.client.delete_item(TableName=TABLE, Key=key)
        assert contents(talk.get(mary)) == seen
        talk.dynamodb.client.put_item(TableName=TABLE, Item=gone)
        assert contents(talk.get(mary)) == ["first", "second", "third"]


class TestRetries:
    """The same `Idempotency-Key` says the same thing once."""

    def test_repeated_post_is_one_message(self, talk: Conversation, mary: Credential) -> None:
        """200 with the message that is there."""
        first = talk.post(mary, key="once")
        again = talk.post(mary, key="once")
        assert (first.status, again.status) == (201, 200)
        assert again.json == first.json
        assert len(talk.rows()) == 1

    def test_another_message_with_the_key_is_refused(
        self, talk: Conversation, mary: Credential
    ) -> None:
        """422, and nothing is written."""
        talk.post(mary, key="once")
        assert talk.post(mary, "other", key="once").reason == "idempotency_conflict"
        assert len(talk.rows()) == 1

    def test_key_is_of_its_caller_and_run(
        self, talk: Conversation, mary: Credential, ada: Credential
    ) -> None:
        """Nobody finds another's message by guessing."""
        other = talk.api.create(ada)["id"]
        assert talk.post(mary, key="once").status == 201
        assert talk.post(ada, key="once").status == 201
        assert talk.post(mary, key="once", run=other).status == 201

    def test_application_of_a_persons_name_has_keys_of_its_own(
        self, talk: Conversation, mary: Credential, web: Web
    ) -> None:
        """A client that somebody registers as `mary` is not the person `mary`."""
        talk.grant("mary", "project:viewer", kind="application")
        first = talk.post(mary, key="once")
        other = talk.post(web.bearer("mary", client="mary"), key="once")
        assert (first.status, other.status) == (201, 201)

    def test_lost_answer_is_one_message(self, talk: Conversation, mary: Credential) -> None:
        """botocore sends it again."""
        talk.dynamodb.troubles.append(LostAnswer("TransactWriteItems"))
        assert talk.post(mary).status == 201
        assert len(talk.rows()) == 1


class TestRunsThatEnd:
    """A run's messages are deleted with the run."""

    def test_deleted_run_has_no_messages(
        self, talk: Conversation, mary: Credential, gpu: Credential, ada: Credential
    ) -> None:
        """404, for its runner too, and none is added."""
        talk.post(mary)
        assert talk.api.call("DELETE", talk.path(of=""), by=ada).status == 204
        for answer in (talk.get(mary), talk.post(mary), talk.get(gpu), talk.get(ada)):
            assert answer.reason == "not_found"
        assert len(talk.rows()) == 1

    def test_run_that_is_deleted_meanwhile_gets_no_message(
        self, talk: Conversation, mary: Credential, ada: Credential
    ) -> None:
        """The row of the run is part of the transaction."""
        talk.post(mary)
        store = talk.store()
        talk.api.call("DELETE", talk.path(of=""), by=ada)
        with pytest.raises(RequestFailed, match="not_found"):
            talk.say(store, "too late")

    def test_every_row_ends(self, talk: Conversation, mary: Credential) -> None:
        """90 days, by DynamoDB itself; an idempotency record after one."""
        talk.post(mary, key="once")
        rows = [row for row in talk.dynamodb.rows() if row["id"]["S"] != talk.run]
        ends = sorted(round(int(row["expires_at"]["N"]) - time.time(), -3) for row in rows)
        assert ends == [86_000, LIFETIME_SECONDS, LIFETIME_SECONDS]


class TestWaiting:
    """Long polls: an answer as soon as there is one."""

    def test_wait_ends_with_the_first_message(self, talk: Conversation, mary: Credential) -> None:
        """Said a second later, read soon after, long before the time is over."""
        timer = Timer(0.5, lambda: talk.say(talk.store(), "at last"))
        timer.start()
        started = time.monotonic()
        assert contents(talk.get(mary, wait="20")) == ["at last"]
        assert time.monotonic() - started < 10
        timer.join()

    def test_wait_for_nothing_ends_in_time(self, talk: Conversation, mary: Credential) -> None:
        """Empty, and where to go on stays."""
        started = time.monotonic()
        assert talk.get(mary, wait="1").json == {"messages": [], "next_after": None}
        assert 1 <= time.monotonic() - started < 5

    def test_message_that_is_there_is_not_waited_for(
        self, talk: Conversation, mary: Credential
    ) -> None:
        """At once."""
        talk.post(mary)
        talk.reads()
        assert contents(talk.get(mary, wait="20")) == ["hello"]
        assert talk.reads().count("Query") == 1

    def test_rights_that_end_meanwhile_end_the_wait(
        self, talk: Conversation, mary: Credential
    ) -> None:
        """What comes after is not told any more."""

        def revoke_and_say() -> None:
            talk.dynamodb.client.delete_item(
                TableName=ACCESS_TABLE,
                Key={
                    "scope": {"S": "project#apollo"},
                    "entry": {"S": f"roles#user:{talk.issuer}#mary"},
                },
            )
            talk.say(talk.store(), "not for mary")

        timer = Timer(0.3, revoke_and_say)
        timer.start()
        answer = talk.get(mary, wait="3")
        timer.join()
        assert answer.reason == "not_found"

    @pytest.mark.parametrize("wait", ["-1", "21", "1.5", "x", ""])
    def test_wait_beyond_its_bounds_is_refused(
        self, talk: Conversation, mary: Credential, wait: str
    ) -> None:
        """400."""
        assert talk.get(mary, wait=wait).reason == "invalid_parameter"


class TestBodies:
    """What may be said."""

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
    def test_body_that_is_none_is_refused(
        self, talk: Conversation, mary: Credential, body: Any
    ) -> None:
        """400, and nothing is written."""
        answer = talk.api.call("POST", talk.path(), by=mary, document=body)
        assert (answer.status, answer.reason) == (400, "invalid_body")
        assert talk.rows() == []

    @pytest.mark.parametrize(("length", "status"), [(MAX_CONTENT_BYTES - 2, 201), (32_767, 400)])
    def test_longest_content(
        self, talk: Conversation, mary: Credential, length: int, status: int
    ) -> None:
        """32 KiB as JSON, quotes and all, and not one byte more."""
        assert talk.post(mary, "m" * length).status == status

    @pytest.mark.parametrize(("levels", "status"), [(MAX_LEVELS, 201), (33, 400), (5_000, 400)])
    def test_deepest_content(
        self, talk: Conversation, mary: Credential, levels: int, status: int
    ) -> None:
        """A reader's parser has to get through it."""
        body = '{"role":"user","content":' + '{"a":' * levels + "1" + "}" * levels + "}"
        headers = (("content-type", "application/json"),)
        answer = talk.api.call("POST", talk.path(), by=mary, body=body, headers=headers)
        assert answer.status == status
        if status == 201:
            assert json.loads(body)["content"] == contents(talk.get(mary))[0]

    def test_many_long_messages_fit_into_answers(
        self, talk: Conversation, mary: Credential
    ) -> None:
        """A load balancer takes 1 MB: what does not fit comes with the next request."""
        store = talk.store()
        for number in range(40):
            talk.say(store, f"{number} " + "m" * 30_000)
        found = talk.get(mary, limit="100").json
        assert 20 < len(found["messages"]) < 40
        rest = talk.get(mary, limit="100", after=found["next_after"]).json
        assert len(found["messages"]) + len(rest["messages"]) == 40


def test_change_of_state_still_goes_its_own_way(talk: Conversation, ada: Credential) -> None:
    """`POST …/start` and `POST …/messages` look alike to a router."""
    assert talk.api.call("POST", talk.path(of="/start"), by=ada).status == 200
    assert talk.api.call("POST", talk.path(of="/explode"), by=ada).status == 404


def test_what_was_said_is_in_no_log(
    talk: Conversation, mary: Credential, said: Callable[[], list[str]]
) -> None:
    """That it was said is."""
    talk.post(mary, "between us")
    log = "".join(said())
    assert "message created" in log
    assert "between us" not in log
