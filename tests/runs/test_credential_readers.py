"""A credential that is bound to readers is read by them alone, for the runs that they may."""

import json
from typing import Any

import pytest

from serve_runs.credentials.views import unchanged
from tests.runs.access_rows import token_of
from tests.runs.credentials_api import OTHER, TOKEN, CredentialsApi
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer
from tests.runs.table_server import ACCESS_TABLE

LABELS = {"environment": "production", "team": "apollo"}
EVERY_ROLE = (
    "project:editor",
    "project:admin",
    "credential:reader",
    "credential:token-reader",
    "runner:token-reader",
)


@pytest.fixture
def stored(credentials: CredentialsApi, ada: Credential) -> CredentialsApi:
    """A project with the credential `github` and the runner `nightly` of the subject `gpu`."""
    assert credentials.put(ada).status == 201
    assert credentials.runners.put(ada, subject="gpu").status == 201
    return credentials


def application(credentials: CredentialsApi, subject: str) -> dict[str, str]:
    """The reader that is an application of the issuer."""
    return {"issuer": credentials.issuer, "subject": subject}


def assert_denied(credentials: CredentialsApi, answer: Answer, status: int, reason: str) -> None:
    """The answer has no token, and no read is recorded."""
    assert (answer.status, answer.reason) == (status, reason)
    assert TOKEN not in answer.body
    assert not [each for each in credentials.records() if each["action"].endswith("_token")]


class TestReaders:
    """Who reads a bound credential."""

    def test_unbound_credential_is_read_with_the_role(
        self, stored: CredentialsApi, ada: Credential, web: Web
    ) -> None:
        """As in versions without readers, whose rows have none."""
        assert stored.get(ada).json["readers"] is None
        assert "readers" not in stored.row()
        stored.grant("tess", "credential:token-reader")
        assert stored.token(web.browser("tess")).json["token"] == TOKEN

    def test_bound_credential_is_not_read_with_any_role(
        self, stored: CredentialsApi, ada: Credential, web: Web
    ) -> None:
        """The role that reads every other credential gets 403."""
        stored.bind(ada, {"runner": "nightly"})
        stored.grant("tess", *EVERY_ROLE)
        assert_denied(stored, stored.token(web.browser("tess")), 403, "forbidden")

    def test_role_reads_only_while_it_is_held(
        self, stored: CredentialsApi, ada: Credential, web: Web
    ) -> None:
        """The role needs no other one beside it."""
        stored.bind(ada, {"role": "project:viewer"})
        tess = web.browser("tess")
        assert_denied(stored, stored.token(tess), 404, "not_found")
        stored.grant("tess", "project:viewer")
        assert stored.token(tess).json["token"] == TOKEN

    def test_runner_reads_by_its_registration(
        self, stored: CredentialsApi, ada: Credential, gpu: Credential, web: Web
    ) -> None:
        """It needs no role. A new subject of the runner reads in its place."""
        stored.bind(ada, {"runner": "nightly"})
        assert stored.token(gpu).json["token"] == TOKEN
        tpu = web.bearer("tpu", client="tpu")
        assert stored.token(tpu).reason == "not_found"
        stored.runners.put(ada, subject="tpu")
        assert stored.token(tpu).json["token"] == TOKEN
        assert stored.token(gpu).reason == "not_found"

    def test_runners_read_is_recorded_as_its_own(
        self, stored: CredentialsApi, ada: Credential, gpu: Credential
    ) -> None:
        """Not on behalf of whoever registered its account."""
        path = f"/v1/projects/{stored.project}/service-accounts"
        stored.grant("lin", "project:editor")
        document = {"token": token_of(gpu), "role": "project:viewer"}
        registered = stored.api.call("POST", path, by=ada, document=document)
        assert registered.status == 201, registered.body
        stored.bind(ada, {"runner": "nightly"})
        assert stored.token(gpu).json["token"] == TOKEN
        record = stored.records()[-1]
        assert record["action"] == "read_credential_token"
        assert "on_behalf_of" not in record

    def test_application_reads_that_is_named(
        self, stored: CredentialsApi, ada: Credential, gpu: Credential, web: Web
    ) -> None:
        """A person with its subject does not."""
        stored.bind(ada, application(stored, "gpu"))
        assert_denied(stored, stored.token(web.browser("gpu")), 404, "not_found")
        assert stored.token(gpu).json["token"] == TOKEN

    def test_agent_reads_only_for_a_person_that_may_start_runs(
        self, stored: CredentialsApi, ada: Credential, web: Web
    ) -> None:
        """An agent that is bound by name reads nothing for a person that lost its role."""
        agent = web.bearer("lin", client="planner-client", act={"sub": "planner"})
        stored.bind(ada, application(stored, "planner"))
        stored.allow("planner", "project:editor")
        stored.grant("lin", "project:viewer")
        assert_denied(stored, stored.token(agent), 404, "not_found")
        stored.grant("lin", "project:editor")
        assert stored.token(agent).json["token"] == TOKEN
        assert stored.token(web.browser("lin")).reason == "forbidden"

    def test_agent_reads_only_while_its_permission_lets_it_start_runs(
        self, stored: CredentialsApi, ada: Credential, web: Web
    ) -> None:
        """An agent that is bound by name, but allowed as a viewer, reads nothing for an editor."""
        agent = web.bearer("lin", client="planner-client", act={"sub": "planner"})
        stored.bind(ada, application(stored, "planner"))
        stored.grant("lin", "project:editor")
        stored.allow("planner", "project:viewer")
        assert_denied(stored, stored.token(agent), 404, "not_found")

    def test_agent_that_is_a_bound_runner_reads_by_its_own_token_alone(
        self, stored: CredentialsApi, ada: Credential, gpu: Credential, web: Web
    ) -> None:
        """With a person's token it is no reader, whatever its permission: only the person is."""
        stored.bind(ada, {"role": "project:editor"}, {"runner": "nightly"})
        stored.grant("lin", "project:editor")
        stored.allow("gpu", "credential:token-reader")
        agent = web.bearer("lin", client="gpu-client", act={"sub": "gpu"})
        assert_denied(stored, stored.token(agent), 403, "forbidden")
        assert stored.token(gpu).json["token"] == TOKEN

    def test_agent_with_a_role_needs_it_together_with_its_person(
        self, stored: CredentialsApi, ada: Credential, web: Web
    ) -> None:
        """A binding of a role counts for an agent as the role does elsewhere."""
        agent = web.bearer("lin", client="planner-client", act={"sub": "planner"})
        stored.bind(ada, {"role": "project:editor"})
        stored.allow("planner", "project:editor")
        assert_denied(stored, stored.token(agent), 404, "not_found")
        stored.grant("lin", "project:editor")
        assert stored.token(agent).json["token"] == TOKEN

    @pytest.mark.parametrize("readers", [[], [{"runner": "nightly"}], [{"runner": "missing"}]])
    def test_application_cannot_tell_a_bound_credential_from_a_missing_one(
        self, stored: CredentialsApi, ada: Credential, web: Web, readers: list[Any]
    ) -> None:
        """The answer and the reads are the same, whomever the credential is bound to."""
        stored.bind(ada, *readers)
        cpu = web.bearer("cpu", client="cpu")
        seen = []
        for name in ("github", "missing"):
            stored.world.aws.calls.clear()
            answer = stored.token(cpu, name)
            seen.append((answer.status, {**answer.json, "instance": "-"}, stored.calls()))
        assert seen[0] == seen[1]
        assert seen[0][0] == 404


class TestRunLabels:
    """Readers that read only for a run with certain labels."""

    @pytest.fixture
    def labelled(self, stored: CredentialsApi, ada: Credential) -> CredentialsApi:
        """`github` is bound to the runner, for runs with both labels."""
        stored.bind(ada, {"runner": "nightly", "run_labels": LABELS})
        return stored

    def test_reader_reads_for_a_run_with_all_labels(
        self, labelled: CredentialsApi, ada: Credential, gpu: Credential
    ) -> None:
        """Further labels of the run do not matter."""
        run = labelled.run(ada, runner="nightly", labels=LABELS | {"more": "1"})
        assert labelled.token(gpu, run=run).json["token"] == TOKEN
        assert labelled.records()[-1]["run"] == run

    def test_reader_without_a_run_is_told_that_one_is_required(
        self, labelled: CredentialsApi, gpu: Credential
    ) -> None:
        """The answer is 403 `run_required`."""
        assert_denied(labelled, labelled.token(gpu), 403, "run_required")

    @pytest.mark.parametrize(
        "labels",
        [
            {},
            {"environment": "production"},
            {"environment": "staging", "team": "apollo"},
            {"environment": "PRODUCTION", "team": "apollo"},
        ],
        ids=str,
    )
    def test_reader_reads_nothing_for_a_run_with_other_labels(
        self, labelled: CredentialsApi, ada: Credential, gpu: Credential, labels: dict[str, str]
    ) -> None:
        """One label that is missing or different is enough."""
        run = labelled.run(ada, runner="nightly", labels=labels)
        assert_denied(labelled, labelled.token(gpu, run=run), 403, "run_labels_differ")

    def test_reader_reads_nothing_for_a_run_of_others(
        self, labelled: CredentialsApi, ada: Credential, gpu: Credential
    ) -> None:
        """The labels of a run that another executes do not help."""
        run = labelled.run(ada, labels=LABELS)
        assert_denied(labelled, labelled.token(gpu, run=run), 403, "run_not_executed")

    def test_reader_without_labels_reads_beside_one_with_labels(
        self, stored: CredentialsApi, ada: Credential, gpu: Credential
    ) -> None:
        """Each reader counts by itself."""
        stored.bind(
            ada,
            {"runner": "nightly", "run_labels": LABELS},
            application(stored, "gpu"),
        )
        assert stored.token(gpu).json["token"] == TOKEN

    def test_caller_that_is_no_reader_is_not_told_of_the_run(
        self, labelled: CredentialsApi, web: Web
    ) -> None:
        """It gets the answer for a credential that it may not see."""
        assert_denied(labelled, labelled.token(web.bearer("cpu", client="cpu")), 404, "not_found")


class TestBinding:
    """How an admin binds a credential."""

    def test_binding_is_shown_and_recorded(self, stored: CredentialsApi, ada: Credential) -> None:
        """The credential, the list and the audit record have the readers."""
        readers = [{"role": "project:editor", "run_labels": {"a": "b"}}, {"runner": "nightly"}]
        before = stored.secret(), stored.row()["version"]
        answer = stored.bind(ada, *readers)
        assert (answer.status, answer.json["readers"]) == (200, readers)
        assert stored.get(ada).json == answer.json
        assert stored.page(ada).json["credentials"] == [answer.json]
        assert (stored.secret(), stored.row()["version"]) == before
        record = stored.records()[-1]
        assert record["action"] == "bind_credential"
        assert json.loads(record["readers"]) == readers
        path = f"/v1/projects/{stored.project}/audit"
        shown = stored.api.call("GET", path, by=ada, query={"credential": "github"}).json
        assert [each["readers"] for each in shown["records"]] == [readers, None]

    def test_binding_names_its_own_issuer(self, stored: CredentialsApi, ada: Credential) -> None:
        """Of the caller who bound it, and not of whoever wrote the credential before."""
        stored.world.dynamodb.update_item(
            TableName=ACCESS_TABLE,
            Key={name: stored.row()[name] for name in ("scope", "entry")},
            UpdateExpression="SET updated_by_issuer = :issuer",
            ExpressionAttributeValues={":issuer": {"S": "https://other.example.com"}},
        )
        who = stored.bind(ada, {"runner": "nightly"}).json["who"]
        assert who["updated_by"]["issuer"] == stored.issuer

    def test_same_binding_again_writes_nothing(
        self, stored: CredentialsApi, ada: Credential, grace: Credential
    ) -> None:
        """A repeated request is harmless."""
        first = stored.bind(ada, {"runner": "nightly"}).json
        records = stored.records()
        assert stored.bind(ada, {"runner": "nightly"}).json == first
        assert stored.records() == records

    def test_put_without_readers_keeps_them(self, stored: CredentialsApi, ada: Credential) -> None:
        """A new token does not open the credential to the role."""
        stored.bind(ada, {"runner": "nightly"})
        assert stored.put(ada, token=OTHER).json["readers"] == [{"runner": "nightly"}]
        assert stored.put(ada, token=OTHER).json["readers"] == [{"runner": "nightly"}]
        assert "readers" not in stored.records()[-1]

    def test_put_with_readers_binds_from_the_start(
        self, credentials: CredentialsApi, ada: Credential, web: Web
    ) -> None:
        """There is no moment in which the role reads a new credential."""
        answer = credentials.put(ada, readers=[])
        assert (answer.status, answer.json["readers"]) == (201, [])
        credentials.grant("tess", "credential:token-reader")
        assert_denied(credentials, credentials.token(web.browser("tess")), 403, "forbidden")
        assert "readers" not in credentials.secret()

    def test_deleted_credential_loses_its_readers(
        self, stored: CredentialsApi, ada: Credential
    ) -> None:
        """A new credential of the name is not bound."""
        stored.bind(ada, {"runner": "nightly"})
        assert stored.delete(ada).status == 204
        assert stored.put(ada).json["readers"] is None

    def test_change_of_a_binding_meanwhile_is_not_overwritten(
        self, stored: CredentialsApi, ada: Credential
    ) -> None:
        """A row whose readers have changed since it was read is not written."""
        stored.bind(ada, {"runner": "nightly"})
        bound = stored.row()
        stored.bind(ada)
        client = stored.world.aws.observer("dynamodb")
        with pytest.raises(client.exceptions.ConditionalCheckFailedException):
            client.put_item(TableName=ACCESS_TABLE, Item=bound, **unchanged(bound))
        client.put_item(TableName=ACCESS_TABLE, Item=bound, **unchanged(stored.row()))

    @pytest.mark.parametrize(
        "reader",
        [
            {},
            {"role": "project:owner"},
            {"role": "project:editor", "runner": "nightly"},
            {"subject": "gpu"},
            {"issuer": "https://issuer.example"},
            {"issuer": "https://issuer.example", "subject": "g\u200bpu"},
            {"runner": "No Name"},
            {"runner": "nightly", "labels": {"a": "b"}},
            {"runner": "nightly", "run_labels": {"no name": "b"}},
            {"user": "ada"},
            TOKEN,
        ],
        ids=str,
    )
    def test_invalid_reader_is_refused(
        self, stored: CredentialsApi, ada: Credential, reader: Any
    ) -> None:
        """Both routes answer 400 with the rule, quote nothing and change nothing."""
        before = stored.rows()
        for answer in (stored.bind(ada, reader), stored.put(ada, token=OTHER, readers=[reader])):
            assert answer.reason == "invalid_body"
            assert "reader" in answer.json["detail"]
            assert TOKEN not in answer.body
        assert stored.rows() == before

    def test_more_than_twenty_readers_are_refused(
        self, stored: CredentialsApi, ada: Credential
    ) -> None:
        """Twenty are accepted."""
        readers = [{"runner": f"runner-{number}"} for number in range(21)]
        assert stored.bind(ada, *readers[:20]).status == 200
        assert stored.bind(ada, *readers).reason == "invalid_body"

    def test_missing_credential_cannot_be_bound(
        self, stored: CredentialsApi, ada: Credential
    ) -> None:
        """An admin gets 404, and no row is written."""
        assert stored.bind(ada, {"runner": "nightly"}, name="missing").reason == "not_found"
        assert len(stored.rows()) == 1
