"""Writes and deletions of credentials that crash, run twice or run concurrently.

The API answers a whole credential or none, and the next request repairs what a crash left.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
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
from tests.refresh.world import SECRETS
from tests.runs.credentials_api import OTHER, TOKEN, CredentialsApi
from tests.runs.identity_server import Credential, Web
from tests.runs.table_server import ACCESS_TABLE

PUT_CALLS = ("GetItem", "CreateSecret", "TransactWriteItems")
CHANGE_CALLS = ("GetItem", "GetSecretValue", "PutSecretValue", "TransactWriteItems")
RESTORE_CALLS = (
    "GetItem",
    "CreateSecret",
    "TransactWriteItems",
    "RestoreSecret",
    "PutSecretValue",
    "TransactWriteItems",
)
DELETE_CALLS = ("GetItem", "TransactWriteItems", "DeleteSecret", "DeleteItem")


class Crash(BaseException):
    """The process ends."""


@pytest.fixture
def tess(credentials: CredentialsApi, web: Web) -> Credential:
    """A person with the token-reader role."""
    credentials.grant("tess", "credential:token-reader")
    return web.browser("tess")


@pytest.fixture
def stored(credentials: CredentialsApi, ada: Credential) -> CredentialsApi:
    """The routes with a stored credential."""
    assert credentials.put(ada).status == 201
    credentials.world.aws.calls.clear()
    return credentials


class Stage:
    """Requests for one credential by separate stores, as separate invocations have them."""

    def __init__(self, credentials: CredentialsApi) -> None:
        self.credentials = credentials
        self.later = 0.0

    def store(self, *, before: Callable[[str], None] = lambda _: None) -> CredentialStore:
        """A store. `before` is called with the operation of each AWS call before it is sent."""
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
            secrets=CredentialSecrets(lambda: secrets, names=SECRETS, kms_key="", recovery_days=7),
            audit=AuditTrail(dynamodb, ACCESS_TABLE, now=now),
            now=now,
        )

    def put(self, store: CredentialStore, token: str) -> None:
        """Write the credential."""
        store.put(
            self.credentials.project,
            "github",
            body=PutCredential("generic", token),
            action=ActionContext(None, str(uuid4())),
        )

    def bind(self) -> None:
        """Bind the credential to nobody."""
        action = ActionContext(None, str(uuid4()))
        self.store().bind(self.credentials.project, "github", readers=lambda _: (), action=action)

    def delete(self, store: CredentialStore) -> None:
        """Delete the credential."""
        store.delete(self.credentials.project, "github", action=ActionContext(None, str(uuid4())))

    def token(self) -> str | None:
        """The token that the API would answer, None where the credential does not exist."""
        store = self.store()
        found = store.find(self.credentials.project, "github")
        return store.read_secret(found).token if found else None

    def crashing(self, call: int) -> CredentialStore:
        """A store whose process ends before the AWS call with this number, from 0."""
        calls = count()

        def before(_: str) -> None:
            if next(calls) >= call:
                raise Crash

        return self.store(before=before)

    def interrupted(self, call: int, by: Callable[[], None]) -> CredentialStore:
        """A store that runs `by` before the AWS call with this number, from 0."""
        calls = count()

        def before(_: str) -> None:
            if next(calls) == call:
                by()

        return self.store(before=before)


@pytest.fixture
def stage(credentials: CredentialsApi) -> Stage:
    """Stores for one credential."""
    return Stage(credentials)


@pytest.mark.parametrize("call", range(len(PUT_CALLS)))
def test_crashed_first_put_stores_no_visible_credential(stage: Stage, call: int) -> None:
    """After a crash no token is readable, and the repeated put succeeds."""
    with pytest.raises(Crash):
        stage.put(stage.crashing(call), TOKEN)
    assert stage.token() is None
    stage.put(stage.store(), TOKEN)
    assert stage.token() == TOKEN
    assert len(stage.credentials.records()) == 1


@pytest.mark.parametrize("call", range(len(RESTORE_CALLS)))
def test_secret_that_a_crashed_put_restored_can_be_deleted(stage: Stage, call: int) -> None:
    """The restored secret has its old token, so a row leads a DELETE to it after a minute."""
    stage.put(stage.store(), TOKEN)
    stage.delete(stage.store())
    with pytest.raises(Crash):
        stage.put(stage.crashing(call), OTHER)
    assert stage.token() is None
    stage.later = DELETION_SECONDS + 1
    if RESTORE_CALLS.index("RestoreSecret") < call:
        assert stage.credentials.secrets()
        stage.delete(stage.store())
    assert stage.credentials.secrets() == []
    stage.put(stage.store(), OTHER)
    assert stage.token() == OTHER


@pytest.mark.parametrize("call", range(len(CHANGE_CALLS)))
def test_crashed_change_keeps_the_old_token(stage: Stage, call: int) -> None:
    """After a crash the old token is readable, and the repeated change succeeds."""
    stage.put(stage.store(), TOKEN)
    with pytest.raises(Crash):
        stage.put(stage.crashing(call), OTHER)
    assert stage.token() == TOKEN
    stage.put(stage.store(), OTHER)
    assert stage.token() == OTHER
    assert len(stage.credentials.records()) == 2


@pytest.mark.parametrize("call", range(len(DELETE_CALLS)))
def test_crashed_deletion_can_be_repeated(stage: Stage, call: int) -> None:
    """Once a deletion is recorded no token is readable; after a minute it can be repeated."""
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


@pytest.mark.parametrize(("later", "accepted"), [(DELETION_SECONDS - 1, False), (61, True)])
def test_put_after_an_unfinished_deletion_waits(
    stage: Stage, later: int, *, accepted: bool
) -> None:
    """A late call of the deletion could remove the new secret, so a put is refused for a minute."""
    stage.put(stage.store(), TOKEN)
    with pytest.raises(Crash):
        stage.delete(stage.crashing(2))
    stage.later = later
    if accepted:
        stage.put(stage.store(), OTHER)
    else:
        with pytest.raises(RequestFailed, match="store_unavailable"):
            stage.put(stage.store(), OTHER)
    assert stage.token() == (OTHER if accepted else None)


@pytest.mark.parametrize("call", range(len(CHANGE_CALLS)))
def test_change_overtaken_by_another_wins(stage: Stage, call: int) -> None:
    """The token of the change that ends last is in the row and in the secret."""
    stage.put(stage.store(), "the-first-one")
    store = stage.interrupted(call, lambda: stage.put(stage.store(), TOKEN))
    stage.put(store, OTHER)
    assert stage.token() == OTHER
    assert stage.credentials.secret()["token"] == OTHER


@pytest.mark.parametrize("call", range(len(PUT_CALLS)))
def test_first_put_overtaken_by_another_wins(stage: Stage, call: int) -> None:
    """The put that ends last wins, although the secret may exist already."""
    store = stage.interrupted(call, lambda: stage.put(stage.store(), TOKEN))
    stage.put(store, OTHER)
    assert stage.token() == OTHER
    assert stage.credentials.secret()["token"] == OTHER


@pytest.mark.parametrize("call", range(len(CHANGE_CALLS)))
def test_put_overtaken_by_a_deletion_stores_a_new_credential(stage: Stage, call: int) -> None:
    """The new token is readable: the put restores the deleted secret."""
    stage.put(stage.store(), TOKEN)
    store = stage.interrupted(call, lambda: stage.delete(stage.store()))
    stage.put(store, OTHER)
    assert stage.token() == OTHER


@pytest.mark.parametrize("call", range(len(CHANGE_CALLS)))
def test_put_overtaken_by_a_binding_keeps_the_readers(stage: Stage, call: int) -> None:
    """The binding does not change the secret's version, so the row's condition covers it too."""
    stage.put(stage.store(), TOKEN)
    stage.put(stage.interrupted(call, stage.bind), OTHER)
    assert stage.token() == OTHER
    assert stage.credentials.row()["readers"] == {"S": "[]"}


@pytest.mark.parametrize("call", range(len(DELETE_CALLS)))
def test_deletion_with_a_concurrent_put_leaves_no_secret(stage: Stage, call: int) -> None:
    """The put is refused or deleted too, and neither a token nor a secret remains."""
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


def test_put_after_the_deletion_of_the_secret_leaves_none(stage: Stage) -> None:
    """A put that began before the deletion is refused, and the secret that it restored is gone."""
    stage.put(stage.store(), TOKEN)

    def delete_all_but_the_marker() -> None:
        with pytest.raises(Crash):
            stage.delete(stage.crashing(3))

    store = stage.interrupted(CHANGE_CALLS.index("PutSecretValue"), delete_all_but_the_marker)
    with pytest.raises(RequestFailed, match="store_unavailable"):
        stage.put(store, OTHER)
    assert stage.credentials.secrets() == []
    assert stage.token() is None
    with pytest.raises(RequestFailed, match="store_unavailable"):
        stage.put(stage.store(), OTHER)
    stage.later = DELETION_SECONDS + 1
    stage.put(stage.store(), OTHER)
    assert stage.token() == OTHER


def test_put_that_gives_up_after_a_deletion_leaves_no_secret(stage: Stage) -> None:
    """A put overtaken three times, last by a deletion, is refused and leaves no secret."""
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


def test_put_that_gives_up_keeps_the_other_token(stage: Stage) -> None:
    """A put overtaken three times by other puts is refused, and the last of their tokens stays."""
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


def test_two_first_puts_both_succeed(stage: Stage) -> None:
    """The second one meets the secret of the first one, whose row is not written yet."""
    met, done = Event(), Event()

    def first(operation: str) -> None:
        if operation == "TransactWriteItems":
            assert met.wait(10)

    reads: list[str] = []

    def second(operation: str) -> None:
        reads.extend([operation] if operation == "GetItem" else [])
        if operation == "RestoreSecret" or len(reads) == 2:
            met.set()
            assert done.wait(10)

    def put_first() -> None:
        try:
            stage.put(stage.store(before=first), TOKEN)
        finally:
            done.set()

    with ThreadPoolExecutor() as threads:
        earlier = threads.submit(put_first)
        while not stage.credentials.secrets():
            time.sleep(0.01)
        stage.put(stage.store(before=second), OTHER)
        earlier.result()
    assert stage.token() == OTHER


def test_secret_restored_by_two_puts_exists_once(stage: Stage, stored: CredentialsApi) -> None:
    """After a forced deletion the second of two concurrent puts is refused, then succeeds."""
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
def test_lost_answer_has_no_second_effect(
    credentials: CredentialsApi, ada: Credential, operation: str
) -> None:
    """A request that botocore repeats gives one version, one row and one record."""
    credentials.world.aws.faults.follow(operation, LoseAnswer())
    assert credentials.put(ada).status == 201
    assert len(credentials.records()) == 1
    secret = credentials.world.aws.secrets.find(credentials.secrets()[0])
    assert secret is not None
    assert len(secret.versions) == 1


def test_deleted_credential_leaves_no_secret(stored: CredentialsApi, ada: Credential) -> None:
    """Deleting a credential removes its row and its secret; a second deletion is answered 404."""
    assert stored.delete(ada).status == 204
    assert stored.calls() == list(DELETE_CALLS)
    assert stored.rows() == []
    assert stored.secrets() == []
    assert stored.delete(ada).reason == "not_found"


def test_deleted_credential_can_be_stored_again_at_once(
    stored: CredentialsApi, ada: Credential, tess: Credential
) -> None:
    """A put restores the secret that still has the name."""
    stored.delete(ada)
    assert stored.put(ada, token=OTHER).status == 201
    assert stored.token(tess).json["token"] == OTHER
    assert stored.secret()["token"] == OTHER


def test_put_during_a_forced_deletion_waits(stored: CredentialsApi, ada: Credential) -> None:
    """A put is answered 503 while AWS deletes the secret, and creates a new one afterwards."""
    name = stored.secrets()[0]
    stored.world.secrets_manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    assert stored.put(ada, token=OTHER).reason == "store_unavailable"
    stored.world.clock.advance(61)
    assert stored.put(ada, token=OTHER).status == 200
    assert stored.secret()["token"] == OTHER


@pytest.mark.parametrize("damage", ["deleted", "altered"])
def test_missing_secret_is_restored_by_the_same_put(
    stored: CredentialsApi, ada: Credential, tess: Credential, damage: str
) -> None:
    """A read is answered 503, and the same put as before restores the secret."""
    name = stored.secrets()[0]
    if damage == "deleted":
        stored.world.secrets_manager.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    else:
        row = stored.row() | {"version": {"S": str(uuid4())}}
        stored.world.dynamodb.put_item(TableName=ACCESS_TABLE, Item=row)
    assert stored.token(tess).reason == "token_unavailable"
    assert stored.put(ada).status == 200
    assert stored.token(tess).json["token"] == TOKEN


def test_failed_deletion_can_be_repeated(
    stored: CredentialsApi, ada: Credential, tess: Credential
) -> None:
    """A failed deletion is answered 503 and no token is readable.

    The repeated request finishes the deletion and writes no second record.
    """
    stored.world.aws.faults.follow("DeleteSecret", *[RATE_EXCEEDED] * 3)
    assert stored.delete(ada).reason == "store_unavailable"
    assert stored.secrets()
    assert stored.get(ada).status == 404
    assert stored.token(tess).status == 404
    assert stored.delete(ada).status == 204
    assert stored.secrets() == []
    actions = [record["action"] for record in stored.records()]
    assert actions == ["write_credential", "delete_credential"]


def test_hundred_versions_in_a_day_are_the_limit(
    stored: CredentialsApi, ada: Credential, tess: Credential
) -> None:
    """The next put is answered 429 and the token stays; a day later a put succeeds."""
    name = stored.secrets()[0]
    for number in range(99):
        stored.world.clock.advance(1)
        stored.world.aws.secrets.seed(name, f"another version {number}")
    answer = stored.put(ada, token=OTHER)
    assert (answer.status, answer.reason) == (429, "too_many_changes")
    assert answer.headers["retry-after"] == "3600"
    assert stored.token(tess).json["token"] == TOKEN
    stored.world.clock.advance(86_400)
    assert stored.put(ada, token=OTHER).status == 200


def test_put_over_the_limit_keeps_a_deleted_secret_deleted(
    stored: CredentialsApi, ada: Credential
) -> None:
    """A put that AWS refuses after it has restored a deleted secret deletes the secret again."""
    name = stored.secrets()[0]
    for number in range(99):
        stored.world.clock.advance(1)
        stored.world.aws.secrets.seed(name, f"another version {number}")
    assert stored.delete(ada).status == 204
    assert stored.put(ada, token=OTHER).reason == "too_many_changes"
    assert stored.secrets() == []
    assert stored.rows() == []
    stored.world.clock.advance(86_400)
    assert stored.put(ada, token=OTHER).status == 201
    assert stored.secret()["token"] == OTHER


@pytest.mark.parametrize(
    "fault", [RATE_EXCEEDED, INTERNAL_ERROR, Reset(), ACCESS_DENIED], ids=["r", "i", "x", "a"]
)
@pytest.mark.parametrize("operation", ["PutSecretValue", "TransactWriteItems"])
def test_failed_put_keeps_a_deleted_secret_deleted(
    stored: CredentialsApi, ada: Credential, operation: str, fault: Any
) -> None:
    """Whatever fails after a deleted secret was restored, no secret remains without its row."""
    assert stored.delete(ada).status == 204
    stored.world.aws.faults.follow(operation, *[fault] * (1 if fault is ACCESS_DENIED else 3))
    assert stored.put(ada, token=OTHER).status in {500, 503}
    assert stored.secrets() == []
    assert stored.rows() == []
    assert stored.put(ada, token=OTHER).status == 201


def test_restored_secret_that_cannot_be_taken_back_can_be_deleted(
    stored: CredentialsApi, ada: Credential
) -> None:
    """Where AWS does not delete the restored secret either, a later DELETE does."""
    assert stored.delete(ada).status == 204
    stored.world.aws.faults.follow("PutSecretValue", *[RATE_EXCEEDED] * 3)
    stored.world.aws.faults.follow("DeleteSecret", *[RATE_EXCEEDED] * 3)
    assert stored.put(ada, token=OTHER).reason == "store_unavailable"
    assert stored.get(ada).status == 404
    assert stored.delete(ada).status == 204
    assert stored.secrets() == []
    assert stored.rows() == []


def test_lost_answer_to_the_commit_keeps_the_new_secret(
    stored: CredentialsApi, ada: Credential
) -> None:
    """A put whose row was written, but whose answers were lost, leaves the new credential."""
    assert stored.delete(ada).status == 204
    stored.world.aws.faults.follow(
        "TransactWriteItems",
        *[LoseAnswer()] * 3,
        concerns=lambda call: "write_credential" in str(call.document),
    )
    assert stored.put(ada, token=OTHER).reason == "store_unavailable"
    assert stored.get(ada).status == 200
    assert stored.secret()["token"] == OTHER


@pytest.mark.parametrize(
    ("fault", "status"),
    [(RATE_EXCEEDED, 503), (INTERNAL_ERROR, 503), (Reset(), 503), (ACCESS_DENIED, 500)],
    ids=["rate", "error", "reset", "denied"],
)
@pytest.mark.parametrize("operation", ["CreateSecret", "TransactWriteItems"])
def test_put_refused_by_aws_writes_nothing(
    credentials: CredentialsApi, ada: Credential, operation: str, fault: Any, status: int
) -> None:
    """A put fails with 503 where a retry may help, else with 500, and succeeds later."""
    credentials.world.aws.faults.follow(operation, *[fault] * 3)
    answer = credentials.put(ada)
    assert answer.status == status
    assert credentials.rows() == []
    assert credentials.records() == []
    credentials.world.aws.faults.clear()
    assert credentials.put(ada).status == 201


class TestFailClosed:
    """A token whose read cannot be recorded is not answered."""

    @pytest.mark.parametrize(
        "fault", [RATE_EXCEEDED, INTERNAL_ERROR, ACCESS_DENIED, Reset()], ids=["r", "i", "a", "x"]
    )
    def test_unwritable_record_withholds_the_token(
        self, stored: CredentialsApi, tess: Credential, fault: Any
    ) -> None:
        """A failed write of the record is an error, and the secret is not read."""
        stored.world.aws.faults.follow("PutItem", afterwards=fault)
        answer = stored.token(tess)
        assert answer.status in {500, 503}
        assert TOKEN not in answer.body
        assert "GetSecretValue" not in stored.calls()

    def test_record_is_written_before_the_secret_is_read(
        self, stored: CredentialsApi, tess: Credential
    ) -> None:
        """The record is written first, and the secret is read afterwards."""
        assert stored.token(tess).status == 200
        calls = [call for call in stored.calls() if call in {"PutItem", "GetSecretValue"}]
        assert calls == ["PutItem", "GetSecretValue"]

    def test_conflicting_transaction_is_retried(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """A put whose transaction conflicts with another succeeds by a retry."""
        conflict = transaction_cancelled("TransactionConflict", "None")
        credentials.world.aws.faults.follow("TransactWriteItems", conflict)
        assert credentials.put(ada).status == 201
        assert len(credentials.records()) == 1
