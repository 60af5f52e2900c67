"""Puts and deletions of credentials that die half-way, run twice, or beside each other.

Whatever happens, the API hands out one whole credential or none, and the next request mends.
"""

from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.credentials.requests import PutCredential
from serve_runs.credentials.secrets import CredentialSecrets
from serve_runs.credentials.store import DELETION_SECONDS, CredentialStore
from serve_runs.errors import RequestFailed
from stand_ins.faults import LoseAnswer, Reset
from stand_ins.refusal import (
    ACCESS_DENIED,
    INTERNAL_ERROR,
    RATE_EXCEEDED,
    transaction_cancelled,
)
from tests.runs.credentials_api import OTHER, TOKEN, CredentialsApi
from tests.runs.identity_server import Credential, Web
from tests.runs.table_server import ACCESS_TABLE

PUT_CALLS = ("GetItem", "CreateSecret", "TransactWriteItems")
CHANGE_CALLS = ("GetItem", "GetSecretValue", "PutSecretValue", "TransactWriteItems")
DELETE_CALLS = ("GetItem", "TransactWriteItems", "DeleteSecret", "DeleteItem")


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def tess(credentials: CredentialsApi, web: Web) -> Credential:
    """Whoever may read tokens."""
    credentials.grant("tess", "credential:token-reader")
    return web.browser("tess")


@pytest.fixture
def stored(credentials: CredentialsApi, ada: Credential) -> CredentialsApi:
    """A credential that is there."""
    assert credentials.put(ada).status == 201
    credentials.world.aws.calls.clear()
    return credentials


class Stage:
    """Requests about one credential by stores of their own, as other invocations would have."""

    def __init__(self, credentials: CredentialsApi) -> None:
        self.credentials = credentials
        self.later = 0.0

    def store(self, *, before: Callable[[str], None] = lambda _: None) -> CredentialStore:
        """A store. `before` is called with each of its calls, before it is made."""
        world = self.credentials.world
        dynamodb, secrets = world.aws.client("dynamodb"), world.aws.client("secretsmanager")
        for client in (dynamodb, secrets):
            client.meta.events.register(
                "before-send",
                lambda event_name, **_: before(event_name.rpartition(".")[2]),
            )

        def now() -> float:
            return world.clock() + self.later

        return CredentialStore(
            dynamodb,
            ACCESS_TABLE,
            secrets=CredentialSecrets(lambda: secrets),
            audit=AuditTrail(dynamodb, ACCESS_TABLE, now=now),
            now=now,
        )

    def put(self, store: CredentialStore, token: str) -> None:
        store.put(
            self.credentials.project,
            "github",
            body=PutCredential("generic", token),
            action=ActionContext(None, str(uuid4())),
        )

    def delete(self, store: CredentialStore) -> None:
        store.delete(self.credentials.project, "github", action=ActionContext(None, str(uuid4())))

    def token(self) -> str | None:
        """What the API would hand out; None where there is none."""
        store = self.store()
        found, _ = store.list_credentials(self.credentials.project, limit=1, after=None)
        return store.read_secret(found[0]).token if found else None

    def crashing(self, call: int) -> CredentialStore:
        """A store whose process dies before its call of this number, from 0."""
        calls = count()

        def before(_: str) -> None:
            if next(calls) >= call:
                raise Crash

        return self.store(before=before)

    def interrupted(self, call: int, by: Callable[[], None]) -> CredentialStore:
        """A store during whose call of this number, from 0, something is done before it."""
        calls = count()

        def before(_: str) -> None:
            if next(calls) == call:
                by()

        return self.store(before=before)


@pytest.fixture
def stage(credentials: CredentialsApi) -> Stage:
    return Stage(credentials)


@pytest.mark.parametrize("call", range(len(PUT_CALLS)))
def test_put_that_dies_leaves_nothing_to_be_seen(stage: Stage, call: int) -> None:
    """And the same put again goes through, whatever was left."""
    with pytest.raises(Crash):
        stage.put(stage.crashing(call), TOKEN)
    assert stage.token() is None
    stage.put(stage.store(), TOKEN)
    assert stage.token() == TOKEN
    assert len(stage.credentials.records()) == 1


@pytest.mark.parametrize("call", range(len(CHANGE_CALLS)))
def test_change_that_dies_leaves_what_was(stage: Stage, call: int) -> None:
    """Whole and readable, though the secret may have a newer version already."""
    stage.put(stage.store(), TOKEN)
    with pytest.raises(Crash):
        stage.put(stage.crashing(call), OTHER)
    assert stage.token() == TOKEN
    stage.put(stage.store(), OTHER)
    assert stage.token() == OTHER
    assert len(stage.credentials.records()) == 2


@pytest.mark.parametrize("call", range(len(DELETE_CALLS)))
def test_deletion_that_dies_leaves_all_or_nothing(stage: Stage, call: int) -> None:
    """Once it is recorded nothing is handed out; after a minute it can be finished, or a new
    credential stored."""
    stage.put(stage.store(), TOKEN)
    with pytest.raises(Crash):
        stage.delete(stage.crashing(call))
    if call < 2:
        assert stage.token() == TOKEN
        return
    assert stage.token() is None
    for attempt in (stage.delete, lambda store: stage.put(store, OTHER)):
        with pytest.raises(RequestFailed, match="store_unavailable"):
            attempt(stage.store())
    stage.later = DELETION_SECONDS + 1
    stage.delete(stage.store())
    assert stage.credentials.secrets() == []
    assert stage.credentials.rows() == []
    actions = sorted(record["action"] for record in stage.credentials.records())
    assert actions == ["delete_credential", "write_credential"]


@pytest.mark.parametrize(("later", "taken"), [(DELETION_SECONDS - 1, False), (61, True)])
def test_put_waits_for_the_end_of_a_deletion_that_may_live(
    stage: Stage, later: int, *, taken: bool
) -> None:
    """Its call of Secrets Manager could come late, and take the new secret with it."""
    stage.put(stage.store(), TOKEN)
    with pytest.raises(Crash):
        stage.delete(stage.crashing(2))
    stage.later = later
    if taken:
        stage.put(stage.store(), OTHER)
    else:
        with pytest.raises(RequestFailed, match="store_unavailable"):
            stage.put(stage.store(), OTHER)
    assert stage.token() == (OTHER if taken else None)


@pytest.mark.parametrize("call", range(len(CHANGE_CALLS)))
def test_put_that_is_overtaken_by_another_has_the_last_word(stage: Stage, call: int) -> None:
    """In the row and in the secret's current version alike."""
    stage.put(stage.store(), "the-first-one")
    store = stage.interrupted(call, lambda: stage.put(stage.store(), TOKEN))
    stage.put(store, OTHER)
    assert stage.token() == OTHER
    assert stage.credentials.secret()["token"] == OTHER


@pytest.mark.parametrize("call", range(len(PUT_CALLS)))
def test_first_put_that_is_overtaken_by_another_has_the_last_word(stage: Stage, call: int) -> None:
    """The secret that it wanted to create is there, perhaps."""
    store = stage.interrupted(call, lambda: stage.put(stage.store(), TOKEN))
    stage.put(store, OTHER)
    assert stage.token() == OTHER
    assert stage.credentials.secret()["token"] == OTHER


@pytest.mark.parametrize("call", range(len(CHANGE_CALLS)))
def test_put_that_a_deletion_overtakes_is_a_new_credential(stage: Stage, call: int) -> None:
    """Readable, with the deleted secret back in its place."""
    stage.put(stage.store(), TOKEN)
    store = stage.interrupted(call, lambda: stage.delete(stage.store()))
    stage.put(store, OTHER)
    assert stage.token() == OTHER


@pytest.mark.parametrize("call", range(len(DELETE_CALLS)))
def test_deletion_and_put_beside_each_other_leave_one_story(stage: Stage, call: int) -> None:
    """The put is deleted with the rest, or refused; nothing is left of either."""
    stage.put(stage.store(), TOKEN)
    refused: list[RequestFailed] = []

    def put() -> None:
        try:
            stage.put(stage.store(), OTHER)
        except RequestFailed as problem:
            refused.append(problem)

    stage.delete(stage.interrupted(call, put))
    assert stage.token() is None
    assert stage.credentials.secrets() == []
    assert bool(refused) is (call >= 2)


def test_put_that_comes_after_the_deletion_of_the_secret_leaves_none(stage: Stage) -> None:
    """It had begun before, and AWS brings back what it writes to: refused, and gone once more."""
    stage.put(stage.store(), TOKEN)

    def delete_all_but_the_mark() -> None:
        with pytest.raises(Crash):
            stage.delete(stage.crashing(3))

    store = stage.interrupted(CHANGE_CALLS.index("PutSecretValue"), delete_all_but_the_mark)
    with pytest.raises(RequestFailed, match="store_unavailable"):
        stage.put(store, OTHER)
    assert stage.credentials.secrets() == []
    assert stage.token() is None
    with pytest.raises(RequestFailed, match="store_unavailable"):
        stage.put(stage.store(), OTHER)
    stage.later = DELETION_SECONDS + 1
    stage.put(stage.store(), OTHER)
    assert stage.token() == OTHER


def test_put_that_gives_up_on_what_was_deleted_leaves_no_secret(stage: Stage) -> None:
    """Others were faster each time, and the last of them deleted it."""
    stage.put(stage.store(), "the-first-one")
    others = iter(["the-second-one", "the-third-one", ""])

    def before(operation: str) -> None:
        other = next(others, None) if operation == "PutSecretValue" else None
        if other:
            stage.put(stage.store(), other)
        elif other is not None:
            stage.delete(stage.store())

    with pytest.raises(RequestFailed, match="store_unavailable"):
        stage.put(stage.store(before=before), OTHER)
    assert stage.token() is None
    assert stage.credentials.secrets() == []


def test_put_that_gives_up_on_what_is_there_leaves_it(stage: Stage) -> None:
    """Its secret is another request's by then."""
    stage.put(stage.store(), "the-first-one")
    others = iter(range(3))

    def before(operation: str) -> None:
        if operation == "PutSecretValue":
            number = next(others, None)
            if number is not None:
                stage.put(stage.store(), f"another-{number}")

    with pytest.raises(RequestFailed, match="store_unavailable"):
        stage.put(stage.store(before=before), OTHER)
    assert stage.token() == "another-2"


def test_secret_that_two_put_back_at_once_is_there_once(
    stage: Stage, stored: CredentialsApi
) -> None:
    """After somebody forced it out: the second is told to come again, and then goes through."""
    name = stored.secrets()[0]
    stored.world.secrets_manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    stored.world.clock.advance(61)
    calls = ("GetItem", "PutSecretValue", "RestoreSecret", "CreateSecret")
    store = stage.interrupted(calls.index("CreateSecret"), lambda: stage.put(stage.store(), TOKEN))
    with pytest.raises(RequestFailed, match="store_unavailable"):
        stage.put(store, OTHER)
    assert stage.token() == TOKEN
    stage.put(stage.store(), OTHER)
    assert stage.token() == OTHER


@pytest.mark.parametrize("operation", PUT_CALLS)
def test_lost_answer_does_nothing_twice(
    credentials: CredentialsApi, ada: Credential, operation: str
) -> None:
    """botocore sends it again: one version, one row, one record."""
    credentials.world.aws.faults.follow(operation, LoseAnswer())
    assert credentials.put(ada).status == 201
    assert len(credentials.records()) == 1
    secret = credentials.world.aws.secrets.find(credentials.secrets()[0])
    assert secret is not None
    assert len(secret.versions) == 1


def test_deleted_credential_leaves_no_secret(stored: CredentialsApi, ada: Credential) -> None:
    """Deleting a credential removes its row and its secret; deleting it again returns 404."""
    assert stored.delete(ada).status == 204
    assert stored.calls() == list(DELETE_CALLS)
    assert stored.rows() == []
    assert stored.secrets() == []
    assert stored.delete(ada).reason == "not_found"


def test_credential_can_be_stored_again_at_once(
    stored: CredentialsApi, ada: Credential, tess: Credential
) -> None:
    """Though its secret's name is taken by the deletion."""
    stored.delete(ada)
    assert stored.put(ada, token=OTHER).status == 201
    assert stored.token(tess).json["token"] == OTHER
    assert stored.secret()["token"] == OTHER


def test_secret_that_is_forced_out_is_waited_for(stored: CredentialsApi, ada: Credential) -> None:
    """503 while AWS is at it, then a new secret."""
    name = stored.secrets()[0]
    stored.world.secrets_manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    assert stored.put(ada, token=OTHER).reason == "store_unavailable"
    stored.world.clock.advance(61)
    assert stored.put(ada, token=OTHER).status == 200
    assert stored.secret()["token"] == OTHER


@pytest.mark.parametrize("how", ["deleted", "spoiled"])
def test_secret_that_somebody_took_away_is_put_back(
    stored: CredentialsApi, ada: Credential, tess: Credential, how: str
) -> None:
    """503 to the reader; the same put as before mends it, though nothing seems to have changed."""
    name = stored.secrets()[0]
    if how == "deleted":
        stored.world.secrets_manager.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    else:
        row = stored.row() | {"version": {"S": str(uuid4())}}
        stored.world.dynamodb.put_item(TableName=ACCESS_TABLE, Item=row)
    assert stored.token(tess).reason == "token_unavailable"
    assert stored.put(ada).status == 200
    assert stored.token(tess).json["token"] == TOKEN


def test_deletion_whose_secret_stays_can_be_repeated(
    stored: CredentialsApi, ada: Credential, tess: Credential
) -> None:
    """503, and nothing is handed out meanwhile; the same request again goes on from there, and is
    no second deletion in the trail."""
    stored.world.aws.faults.follow("DeleteSecret", *[RATE_EXCEEDED] * 3)
    assert stored.delete(ada).reason == "store_unavailable"
    assert stored.secrets()
    assert stored.get(ada).status == 404
    assert stored.token(tess).status == 404
    assert stored.delete(ada).status == 204
    assert stored.secrets() == []
    actions = [record["action"] for record in stored.records()]
    assert actions == ["write_credential", "delete_credential"]


def test_hundred_versions_in_a_day_are_enough(
    stored: CredentialsApi, ada: Credential, tess: Credential
) -> None:
    """AWS keeps no more: 429, and what was there stays; a day later there is room."""
    name = stored.secrets()[0]
    for number in range(99):
        stored.world.clock.advance(1)
        stored.world.aws.secrets.seed(name, f"somebody else's number {number}")
    answer = stored.put(ada, token=OTHER)
    assert (answer.status, answer.reason) == (429, "too_many_changes")
    assert answer.headers["retry-after"] == "3600"
    assert stored.token(tess).json["token"] == TOKEN
    stored.world.clock.advance(86_400)
    assert stored.put(ada, token=OTHER).status == 200


@pytest.mark.parametrize(
    ("fault", "status"),
    [(RATE_EXCEEDED, 503), (INTERNAL_ERROR, 503), (Reset(), 503), (ACCESS_DENIED, 500)],
    ids=["rate", "error", "reset", "denied"],
)
@pytest.mark.parametrize("operation", ["CreateSecret", "TransactWriteItems"])
def test_put_that_aws_refuses_leaves_nothing_to_be_seen(
    credentials: CredentialsApi, ada: Credential, operation: str, fault: Any, status: int
) -> None:
    """503 where it may pass, 500 where it is our fault; the same put works later."""
    credentials.world.aws.faults.follow(operation, *[fault] * 3)
    answer = credentials.put(ada)
    assert answer.status == status
    assert credentials.rows() == []
    assert credentials.records() == []
    credentials.world.aws.faults.clear()
    assert credentials.put(ada).status == 201


class TestFailClosed:
    """A token that cannot be recorded as read is not handed out."""

    @pytest.mark.parametrize(
        "fault", [RATE_EXCEEDED, INTERNAL_ERROR, ACCESS_DENIED, Reset()], ids=["r", "i", "a", "x"]
    )
    def test_record_that_cannot_be_written_keeps_the_token(
        self, stored: CredentialsApi, tess: Credential, fault: Any
    ) -> None:
        """Nor is it even taken out of Secrets Manager."""
        stored.world.aws.faults.follow("PutItem", afterwards=fault)
        answer = stored.token(tess)
        assert answer.status in {500, 503}
        assert TOKEN not in answer.body
        assert "GetSecretValue" not in stored.calls()

    def test_record_is_written_before_the_secret_is_read(
        self, stored: CredentialsApi, tess: Credential
    ) -> None:
        """In this order, each time."""
        assert stored.token(tess).status == 200
        calls = [call for call in stored.calls() if call in {"PutItem", "GetSecretValue"}]
        assert calls == ["PutItem", "GetSecretValue"]

    def test_transaction_that_others_are_in_the_way_of_is_tried_again(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """As every write."""
        conflict = transaction_cancelled("TransactionConflict", "None")
        credentials.world.aws.faults.follow("TransactWriteItems", conflict)
        assert credentials.put(ada).status == 201
        assert len(credentials.records()) == 1
