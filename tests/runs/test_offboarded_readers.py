"""An application that credentials name as a reader is shown with them, and offboarding ends it."""

from typing import Any

import pytest

from serve_runs.credentials.reader_entries import READER
from serve_runs.people.holdings import marker_key
from stand_ins.faults import Meanwhile
from tests.runs.credentials_api import TOKEN, CredentialsApi
from tests.runs.identity_server import Credential, Web
from tests.runs.people_api import application, path_of
from tests.runs.runs_api import Answer
from tests.runs.table_server import ACCESS_TABLE, TABLE
from tools.index_people import index_people


@pytest.fixture
def stored(credentials: CredentialsApi, ada: Credential) -> CredentialsApi:
    """The credential `github`, bound to the applications `robot` and `other`; Ada administers
    every project."""
    index(credentials)
    assert credentials.put(ada).status == 201
    assert bind(credentials, ada, "robot", "other").status == 200
    return credentials


@pytest.fixture
def robot(web: Web) -> Credential:
    """The application's own token."""
    return web.bearer("robot", client="robot")


def index(of: CredentialsApi) -> int:
    """Run the command after an upgrade. Its calls meet the planned faults."""
    client = of.world.aws.client("dynamodb")
    return index_people(client, runs_table=TABLE, access_table=ACCESS_TABLE)


def named(of: CredentialsApi, subject: str) -> dict[str, str]:
    """An application as a reader."""
    return {"issuer": of.issuer, "subject": subject}


def bind(of: CredentialsApi, by: Credential, *subjects: str) -> Answer:
    """Bind the credential to these applications."""
    return of.bind(by, *(named(of, subject) for subject in subjects))


def show(of: CredentialsApi, by: Credential, web: Web, subject: str = "robot") -> Any:
    """The credentials of the project that name an application."""
    answer = of.api.call("GET", path_of(application(web, subject)), by=by)
    assert answer.status == 200, answer.body
    return [
        one["credential"]
        for one in answer.json["credential_readers"]
        if one["project"] == of.project
    ]


def offboard(of: CredentialsApi, by: Credential, web: Web) -> Answer:
    """Offboard the application `robot`."""
    return of.api.call("POST", f"{path_of(application(web, 'robot'))}/offboard", by=by)


def entries(of: CredentialsApi) -> list[str]:
    """The applications with a row that leads to a credential of the project."""
    rows = of.world.dynamodb.scan(TableName=ACCESS_TABLE, ConsistentRead=True)["Items"]
    start = f"{READER}{of.project}#"
    return [
        row["scope"]["S"].rpartition("#")[2] for row in rows if row["entry"]["S"].startswith(start)
    ]


def test_readers_are_shown_while_they_are_bound(
    stored: CredentialsApi, ada: Credential, robot: Credential, web: Web
) -> None:
    """To admins and to the application itself, from the change on, until the next."""
    for by in (ada, robot):
        assert show(stored, by, web) == ["github"]
    assert sorted(entries(stored)) == ["other", "robot"]
    bind(stored, ada, "other")
    assert (show(stored, ada, web), show(stored, ada, web, "other")) == ([], ["github"])
    assert entries(stored) == ["other"]
    stored.put(ada, readers=[named(stored, "robot")])
    assert (show(stored, ada, web), entries(stored)) == (["github"], ["robot"])
    stored.delete(ada)
    assert (show(stored, ada, web), entries(stored)) == ([], [])


def test_offboarding_ends_the_reader_and_no_other(
    stored: CredentialsApi, ada: Credential, robot: Credential, web: Web
) -> None:
    """The change is recorded, and the credential is still bound."""
    assert stored.token(robot).json["token"] == TOKEN
    answer = offboard(stored, ada, web)
    assert (answer.status, answer.json["ended"]["credential_readers"]) == (200, 1)
    assert stored.token(robot).reason == "not_found"
    assert stored.get(ada).json["readers"] == [named(stored, "other")]
    record = stored.records()[-1]
    assert (record["action"], record["resource_id"]) == ("bind_credential", "github")
    assert offboard(stored, ada, web).json["ended"]["credential_readers"] == 0


def test_last_reader_that_is_offboarded_leaves_a_bound_credential(
    stored: CredentialsApi, ada: Credential, web: Web
) -> None:
    """Nobody reads it then. It does not become readable for `credential:token-reader`."""
    bind(stored, ada, "robot")
    assert offboard(stored, ada, web).status == 200
    assert stored.get(ada).json["readers"] == []
    stored.grant("tess", "credential:token-reader")
    assert stored.token(web.browser("tess")).reason == "forbidden"


def test_row_that_is_left_over_gives_and_ends_nothing(
    stored: CredentialsApi, ada: Credential, web: Web
) -> None:
    """The credential's own row decides. An unbound credential stays unbound."""
    stored.delete(ada)
    stored.put(ada)
    key = application(web, "robot")
    stored.world.dynamodb.put_item(
        TableName=ACCESS_TABLE,
        Item={
            "scope": {"S": f"principal#{key.text}"},
            "entry": {"S": f"{READER}{stored.project}#github"},
        },
    )
    assert show(stored, ada, web) == []
    assert offboard(stored, ada, web).json["ended"]["credential_readers"] == 0
    assert stored.get(ada).json["readers"] is None


def test_readers_that_change_meanwhile_are_kept(
    stored: CredentialsApi, ada: Credential, web: Web
) -> None:
    """An admin adds a reader between the list and the change: it stays."""

    def add_reader() -> None:
        bind(stored, ada, "robot", "other", "third")

    stored.world.aws.faults.follow(
        "TransactWriteItems",
        Meanwhile(add_reader),
        concerns=lambda call: "bind_credential" in str(call.document),
    )
    assert offboard(stored, ada, web).json["ended"]["credential_readers"] == 1
    assert stored.get(ada).json["readers"] == [named(stored, "other"), named(stored, "third")]


class TestUpgrade:
    """Readers that a version without entries wrote are found after `tools.index_people`."""

    @pytest.fixture
    def outdated(self, stored: CredentialsApi) -> CredentialsApi:
        """The bound credential as such a version left it, with the marker of that version."""
        client = stored.world.dynamodb
        for row in client.scan(TableName=ACCESS_TABLE)["Items"]:
            key = {"scope": row["scope"], "entry": row["entry"]}
            if row["entry"]["S"].startswith(f"{READER}{stored.project}#"):
                client.delete_item(TableName=ACCESS_TABLE, Key=key)
        marker = marker_key() | {"format": {"N": "1"}}
        client.put_item(TableName=ACCESS_TABLE, Item=marker)
        return stored

    def test_reader_without_an_entry_is_offboarded_after_the_command(
        self, outdated: CredentialsApi, ada: Credential, robot: Credential, web: Web
    ) -> None:
        """Before, no answer calls itself complete, and the application still reads the token."""
        before = offboard(outdated, ada, web)
        assert (before.status, before.json["complete"]) == (202, False)
        assert outdated.token(robot).json["token"] == TOKEN
        assert index(outdated) == 2
        assert index(outdated) == 0
        answer = offboard(outdated, ada, web)
        assert (answer.status, answer.json["ended"]["credential_readers"]) == (200, 1)
        assert outdated.token(robot).reason == "not_found"
        assert entries(outdated) == ["other"]

    def test_readers_that_change_during_the_command_are_found(
        self, outdated: CredentialsApi, ada: Credential
    ) -> None:
        """A change writes entries for the readers that it adds, and the command for the others."""
        outdated.world.aws.faults.follow(
            "TransactWriteItems",
            Meanwhile(lambda: bind(outdated, ada, "robot", "third")),
        )
        assert index(outdated) == 1
        assert sorted(entries(outdated)) == ["robot", "third"]

    def test_credential_that_is_unbound_during_the_command_gets_no_entry(
        self, outdated: CredentialsApi, ada: Credential
    ) -> None:
        """What names no application any more leads to nothing."""
        outdated.world.aws.faults.follow(
            "TransactWriteItems", Meanwhile(lambda: outdated.delete(ada))
        )
        assert index(outdated) == 0
        assert entries(outdated) == []
