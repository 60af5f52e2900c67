"""The stand-in for Secrets Manager keeps AWS's rules and limits."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from stand_ins.aws_server import AwsServer, serve_aws
from stand_ins.clock import Clock
from stand_ins.listener import HttpRequest
from stand_ins.moto_services import MotoServices
from stand_ins.rates import UNLIMITED, busiest
from stand_ins.refusal import Refused
from stand_ins.secret_store import Behaviour, SecretStore
from stand_ins.secrets_manager import SecretsManager
from tests.required import needs_moto

NAME = "byline/runners/payments/nightly/0"
DAY = 86_400


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def behaviour() -> Behaviour:
    """Tests that need another behaviour override it with `parametrize`."""
    return Behaviour()


@pytest.fixture
def aws(clock: Clock, behaviour: Behaviour) -> Iterator[AwsServer]:
    with serve_aws(clock=clock, behaviour=behaviour) as aws:
        yield aws


@pytest.fixture
def client(aws: AwsServer) -> Iterator[Any]:
    client = aws.client("secretsmanager", max_pool_connections=32)
    yield client
    client.close()


def behaving(**manners: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("behaviour", [Behaviour(**manners)], ids=[""])


def refused(call: Any, **document: Any) -> str:
    """The code of AWS's refusal, which has status 400."""
    with pytest.raises(ClientError) as refusal:
        call(**document)
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    code: str = refusal.value.response["Error"]["Code"]
    return code


def token(generation: int) -> str:
    return str(uuid5(UUID(int=0), f"{NAME}#{generation}"))


def put(client: Any, value: str, *, version: str | None = None, name: str = NAME) -> str:
    answer = client.put_secret_value(
        SecretId=name, SecretString=value, ClientRequestToken=version or str(uuid4())
    )
    version_id: str = answer["VersionId"]
    return version_id


def stages(client: Any) -> dict[str, list[str]]:
    labels: dict[str, list[str]] = client.describe_secret(SecretId=NAME)["VersionIdsToStages"]
    return labels


# Values and versions


def test_created_secret_is_read_by_name_and_by_arn(client: Any) -> None:
    """Name and ARN find the same secret with its value."""
    created = client.create_secret(Name=NAME, SecretString="first", ClientRequestToken=token(1))
    for secret_id in (NAME, created["ARN"]):
        read = client.get_secret_value(SecretId=secret_id)
        assert (read["SecretString"], read["VersionId"]) == ("first", token(1))
        assert read["VersionStages"] == ["AWSCURRENT"]


def test_put_moves_current_and_previous_in_one_step(client: Any) -> None:
    """The new version is current, the one before it previous; older ones have no label."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    put(client, "2", version=token(2))
    put(client, "3", version=token(3))
    assert stages(client) == {token(3): ["AWSCURRENT"], token(2): ["AWSPREVIOUS"]}
    previous = client.get_secret_value(SecretId=NAME, VersionStage="AWSPREVIOUS")
    assert previous["SecretString"] == "2"
    assert client.get_secret_value(SecretId=NAME, VersionId=token(1))["SecretString"] == "1"


def test_put_with_known_token_and_value_changes_nothing(aws: AwsServer, client: Any) -> None:
    """A repeated put has no effect, even after a newer version."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    put(client, "2", version=token(2))
    put(client, "1", version=token(1))
    assert aws.secrets.current(NAME) == "2"
    assert stages(client) == {token(2): ["AWSCURRENT"], token(1): ["AWSPREVIOUS"]}
    assert [write.version for write in aws.secrets.writes] == [token(1), token(2)]


def test_put_with_known_token_and_other_value_is_refused(aws: AwsServer, client: Any) -> None:
    """The first writer of a version wins."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    document = {"SecretId": NAME, "ClientRequestToken": token(1)}
    assert refused(client.put_secret_value, **document, SecretString="other") == (
        "ResourceExistsException"
    )
    assert aws.secrets.current(NAME) == "1"


def test_update_with_known_token_is_refused_whatever_the_value(client: Any) -> None:
    """Unlike a put, an update cannot be repeated."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    document = {"SecretId": NAME, "ClientRequestToken": token(1), "SecretString": "1"}
    assert refused(client.update_secret, **document) == "ResourceExistsException"
    client.update_secret(SecretId=NAME, SecretString="2", ClientRequestToken=token(2))
    assert stages(client) == {token(2): ["AWSCURRENT"], token(1): ["AWSPREVIOUS"]}


def test_create_is_repeated_with_the_same_token_only(client: Any) -> None:
    """With another token the name is taken."""
    document = {"Name": NAME, "SecretString": "1", "ClientRequestToken": token(1)}
    arn = client.create_secret(**document)["ARN"]
    assert client.create_secret(**document)["ARN"] == arn
    for spoilt in ({"SecretString": "other"}, {"ClientRequestToken": token(2)}):
        assert refused(client.create_secret, **{**document, **spoilt}) == "ResourceExistsException"


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 513])
def test_invalid_name_is_refused(aws: AwsServer, name: str) -> None:
    """A name has 1 to 512 of AWS's characters."""
    client = aws.client("secretsmanager", parameter_validation=False)
    assert refused(client.create_secret, Name=name) == "ValidationException"
    client.create_secret(Name="x" * 512)


def test_missing_secret_is_refused_with_400(client: Any) -> None:
    """Not 404: AWS's JSON protocol answers 400."""
    assert refused(client.get_secret_value, SecretId=NAME) == "ResourceNotFoundException"
    assert (
        refused(client.put_secret_value, SecretId=NAME, SecretString="1")
        == "ResourceNotFoundException"
    )


def test_secret_without_a_version_has_no_value(client: Any) -> None:
    """A secret may be created empty, and its first version is current."""
    client.create_secret(Name=NAME)
    assert refused(client.get_secret_value, SecretId=NAME) == "ResourceNotFoundException"
    client.put_secret_value(
        SecretId=NAME, SecretString="1", ClientRequestToken=token(1), VersionStages=["MINE"]
    )
    assert stages(client) == {token(1): ["AWSCURRENT", "MINE"]}


def test_label_and_version_that_differ_are_refused(client: Any) -> None:
    """A read by both must mean one version."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    put(client, "2", version=token(2))
    document = {"SecretId": NAME, "VersionId": token(1)}
    assert client.get_secret_value(**document, VersionStage="AWSPREVIOUS")["SecretString"] == "1"
    assert (
        refused(client.get_secret_value, **document, VersionStage="AWSCURRENT")
        == "InvalidRequestException"
    )


def test_current_moves_by_label_to_one_version_only(client: Any) -> None:
    """`AWSCURRENT` is moved, and is never on two versions."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    put(client, "2", version=token(2))
    move = {"SecretId": NAME, "VersionStage": "AWSCURRENT", "MoveToVersionId": token(1)}
    for spoilt in ({}, {"RemoveFromVersionId": token(1)}, {"RemoveFromVersionId": token(9)}):
        assert (
            refused(client.update_secret_version_stage, **move, **spoilt)
            == "InvalidParameterException"
        )
    client.update_secret_version_stage(**move, RemoveFromVersionId=token(2))
    assert stages(client) == {token(1): ["AWSCURRENT"], token(2): ["AWSPREVIOUS"]}


def test_current_label_cannot_be_removed(client: Any) -> None:
    """A secret always has a current version; other labels can be removed."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    put(client, "2", version=token(2))
    document = {"SecretId": NAME, "VersionStage": "AWSCURRENT", "RemoveFromVersionId": token(2)}
    assert refused(client.update_secret_version_stage, **document) == "InvalidParameterException"
    client.update_secret_version_stage(
        SecretId=NAME, VersionStage="AWSPREVIOUS", RemoveFromVersionId=token(1)
    )
    assert stages(client) == {token(2): ["AWSCURRENT"]}


def test_twentieth_label_is_accepted_and_the_next_refused(client: Any) -> None:
    """All versions of a secret share 20 labels."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    nineteen = [f"label-{n}" for n in range(19)]
    labelled = {"SecretId": NAME, "SecretString": "2"}
    client.put_secret_value(**labelled, VersionStages=nineteen)
    assert (
        refused(client.put_secret_value, **labelled, VersionStages=[*nineteen, "one-more"])
        == "LimitExceededException"
    )


# Sizes


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_value_of_64_kib_is_accepted_and_a_byte_more_refused(client: Any, letter: str) -> None:
    """The limit is in bytes, not in characters."""
    longest = letter * (65_536 // len(letter.encode()))
    client.create_secret(Name=NAME, SecretString=longest)
    assert client.get_secret_value(SecretId=NAME)["SecretString"] == longest
    for call, document in (
        (client.create_secret, {"Name": f"{NAME}/other"}),
        (client.put_secret_value, {"SecretId": NAME}),
        (client.update_secret, {"SecretId": NAME}),
    ):
        assert refused(call, **document, SecretString=longest + "a") == "ValidationException"


def test_binary_value_of_64_kib_is_accepted_and_a_byte_more_refused(client: Any) -> None:
    """The limit is on the bytes, not on their Base64."""
    client.create_secret(Name=NAME, SecretBinary=b"\0" * 65_536)
    assert client.get_secret_value(SecretId=NAME)["SecretBinary"] == b"\0" * 65_536
    document = {"SecretId": NAME, "SecretBinary": b"\0" * 65_537}
    assert refused(client.put_secret_value, **document) == "ValidationException"


@pytest.mark.parametrize("length", [32, 64])
def test_token_at_its_limits_is_accepted(client: Any, length: int) -> None:
    """32 to 64 characters; the token becomes the version's id."""
    client.create_secret(Name=NAME)
    assert put(client, "1", version="t" * length) == "t" * length


@pytest.mark.parametrize("length", [31, 65])
def test_token_past_its_limits_is_refused(aws: AwsServer, length: int) -> None:
    """One character too few, and one too many."""
    client = aws.client("secretsmanager", parameter_validation=False)
    client.create_secret(Name=NAME)
    document = {"SecretId": NAME, "SecretString": "1", "ClientRequestToken": "t" * length}
    assert refused(client.put_secret_value, **document) == "ValidationException"
    assert aws.secrets.writes == []


def test_request_without_a_token_is_refused(clock: Clock) -> None:
    """SDKs create one; the service requires it."""
    service = SecretsManager(SecretStore(clock=clock))
    service.answer("CreateSecret", {"Name": NAME})
    with pytest.raises(Refused, match="InvalidRequestException"):
        service.answer("PutSecretValue", {"SecretId": NAME, "SecretString": "1"})


@pytest.mark.parametrize("values", [{}, {"SecretString": "1", "SecretBinary": b"1"}])
def test_put_of_no_value_or_of_two_is_refused(client: Any, values: dict[str, Any]) -> None:
    """A version is a text or bytes."""
    client.create_secret(Name=NAME)
    assert refused(client.put_secret_value, SecretId=NAME, **values) == "InvalidParameterException"


# The quota of versions


@behaving(quotas=UNLIMITED)
def test_hundredth_version_of_a_day_is_accepted_and_the_next_refused(
    aws: AwsServer, client: Any, clock: Clock
) -> None:
    """A write every four minutes fails after six and a half hours."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    for generation in range(2, 101):
        clock.advance(240)
        put(client, str(generation), version=token(generation))
    clock.advance(240)
    document = {"SecretId": NAME, "SecretString": "101", "ClientRequestToken": token(101)}
    for call in (client.put_secret_value, client.update_secret):
        assert refused(call, **document) == "LimitExceededException"
    assert aws.secrets.current(NAME) == "100"
    put(client, "100", version=token(100))  # a repeated version needs no room
    assert aws.secrets.most_writes_in_a_day() == {NAME: 100}


@behaving(quotas=UNLIMITED)
def test_version_makes_room_when_it_is_a_day_old_and_not_a_second_before(
    client: Any, clock: Clock
) -> None:
    """Versions younger than 24 hours are kept; then the oldest one is removed."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    for generation in range(2, 101):
        clock.advance(1)
        put(client, str(generation), version=token(generation))
    clock.advance(DAY - 99 - 1)
    document = {"SecretId": NAME, "SecretString": "101", "ClientRequestToken": token(101)}
    assert refused(client.put_secret_value, **document) == "LimitExceededException"
    clock.advance(1)
    client.put_secret_value(**document)
    gone = {"SecretId": NAME, "VersionId": token(1)}
    assert refused(client.get_secret_value, **gone) == "ResourceNotFoundException"
    assert client.get_secret_value(SecretId=NAME, VersionId=token(2))["SecretString"] == "2"


@behaving(quotas=UNLIMITED)
def test_hundred_newest_versions_are_kept_however_old(client: Any, clock: Clock) -> None:
    """Age alone removes no version."""
    client.create_secret(Name=NAME)
    for generation in range(1, 105):
        clock.advance(2 * DAY)
        put(client, str(generation), version=token(generation))
    kept = client.list_secret_version_ids(SecretId=NAME, IncludeDeprecated=True)["Versions"]
    assert [version["VersionId"] for version in kept] == [token(n) for n in range(5, 105)]
    labelled = client.list_secret_version_ids(SecretId=NAME)["Versions"]
    assert [version["VersionId"] for version in labelled] == [token(103), token(104)]


@behaving(quotas=UNLIMITED)
def test_labelled_version_is_never_removed(client: Any, clock: Clock) -> None:
    """A label keeps a version past its day and past the hundred."""
    client.create_secret(Name=NAME)
    client.put_secret_value(
        SecretId=NAME, SecretString="1", ClientRequestToken=token(1), VersionStages=["KEEP"]
    )
    for generation in range(2, 103):
        clock.advance(DAY)
        put(client, str(generation), version=token(generation))
    assert client.get_secret_value(SecretId=NAME, VersionStage="KEEP")["SecretString"] == "1"
    gone = {"SecretId": NAME, "VersionId": token(2)}
    assert refused(client.get_secret_value, **gone) == "ResourceNotFoundException"


# Rates


def test_fiftieth_write_of_a_second_is_accepted_and_the_next_refused(
    aws: AwsServer, client: Any, clock: Clock
) -> None:
    """50 in any second; the oldest write leaves room after a second."""
    client.create_secret(Name=NAME)
    for generation in range(50):
        put(client, str(generation))
    clock.advance(0.999)
    document = {"SecretId": NAME, "SecretString": "51", "ClientRequestToken": token(51)}
    assert refused(client.put_secret_value, **document) == "ThrottlingException"
    clock.advance(0.001)
    client.put_secret_value(**document)
    assert aws.secrets.current(NAME) == "51"
    assert aws.secrets.most_writes_in_a_second() == 50
    assert aws.count("PutSecretValue", "ThrottlingException") == 1


def test_puts_updates_and_label_moves_share_their_quota(client: Any) -> None:
    """Calls of one operation count for the others."""
    client.create_secret(Name=NAME)
    first, second = put(client, "1"), put(client, "2")
    for _ in range(16):
        client.update_secret(SecretId=NAME, Description="no version")
        put(client, "2", version=second)
        move = {"SecretId": NAME, "VersionStage": "MINE", "MoveToVersionId": second}
        client.update_secret_version_stage(**move)
    assert refused(client.update_secret, SecretId=NAME) == "ThrottlingException"
    assert refused(client.put_secret_value, SecretId=NAME, SecretString="3") == (
        "ThrottlingException"
    )
    assert refused(client.update_secret_version_stage, **move) == "ThrottlingException"
    assert client.get_secret_value(SecretId=NAME, VersionId=first)["SecretString"] == "1"


@pytest.mark.parametrize(
    ("operation", "document"),
    [
        ("create_secret", {"Name": f"{NAME}/other"}),
        ("delete_secret", {"SecretId": f"{NAME}/other", "ForceDeleteWithoutRecovery": True}),
        ("restore_secret", {"SecretId": NAME}),
        ("list_secret_version_ids", {"SecretId": NAME}),
    ],
)
def test_other_operations_have_50_of_their_own(
    aws: AwsServer, client: Any, operation: str, document: dict[str, Any]
) -> None:
    """Creating and deleting have the same limit, each its own."""
    aws.secrets.seed(NAME, "1")
    call = getattr(client, operation)
    call(**document)
    for _ in range(49):
        with suppress(client.exceptions.ResourceExistsException):
            call(**document)
    assert refused(call, **document) == "ThrottlingException"
    put(client, "2")


def test_refused_write_counts_and_throttled_one_does_not(client: Any, clock: Clock) -> None:
    """A refused call is a request; a throttled call does not prolong the throttling."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    document = {"SecretId": NAME, "SecretString": "other", "ClientRequestToken": token(1)}
    for _ in range(50):
        assert refused(client.put_secret_value, **document) == "ResourceExistsException"
    clock.advance(0.5)
    for _ in range(50):
        assert refused(client.put_secret_value, **document) == "ThrottlingException"
    clock.advance(0.5)
    assert put(client, "2", version=token(2)) == token(2)


def test_sdk_waits_out_a_throttled_second() -> None:
    """botocore retries the throttled call, and nothing is written twice."""
    with serve_aws() as aws:
        aws.secrets.seed(NAME, "1")
        patient = {"mode": "standard", "total_max_attempts": 8}
        with closing(aws.client("secretsmanager", retries=patient)) as client:
            for generation in range(51):
                put(client, str(generation), version=token(generation))
        assert aws.count("PutSecretValue", "ThrottlingException") >= 1
        written = [write.version for write in aws.secrets.writes[1:]]
        assert written == [token(generation) for generation in range(51)]


@pytest.mark.parametrize(("span", "most"), [(1, 2), (2, 3), (2.001, 4), (10, 5)])
def test_busiest_span_holds_its_beginning_and_not_its_end(span: float, most: int) -> None:
    """Two events that are one span apart are not in the same span."""
    assert busiest([9.0, 0.0, 0.5, 1.0, 2.0], span=span) == most


# Deletion


def test_deleted_secret_exists_but_cannot_be_used(client: Any) -> None:
    """In its recovery window every use is refused, and the name is taken."""
    client.create_secret(Name=NAME, SecretString="1", ClientRequestToken=token(1))
    client.delete_secret(SecretId=NAME, RecoveryWindowInDays=7)
    used = {"SecretId": NAME}
    for call, document in (
        (client.get_secret_value, used),
        (client.put_secret_value, {**used, "SecretString": "2"}),
        (client.put_secret_value, {**used, "SecretString": "1", "ClientRequestToken": token(1)}),
        (client.update_secret, {**used, "SecretString": "2"}),
        (client.update_secret_version_stage, {**used, "VersionStage": "MINE"}),
        (client.delete_secret, used),
        (client.create_secret, {"Name": NAME, "SecretString": "2"}),
    ):
        assert refused(call, **document) == "InvalidRequestException"
    assert "DeletedDate" in client.describe_secret(SecretId=NAME)


def test_restored_secret_is_as_it_was(client: Any) -> None:
    """Restoring undoes a deletion, and has no effect on other secrets."""
    client.create_secret(Name=NAME, SecretString="1")
    client.delete_secret(SecretId=NAME)
    for _ in range(2):
        client.restore_secret(SecretId=NAME)
        assert client.get_secret_value(SecretId=NAME)["SecretString"] == "1"


def test_deleted_secret_is_gone_when_its_window_ends(client: Any, clock: Clock) -> None:
    """At the deletion date and not a second before; the name is free for another ARN."""
    arn = client.create_secret(Name=NAME, SecretString="1")["ARN"]
    client.delete_secret(SecretId=NAME, RecoveryWindowInDays=7)
    clock.advance(7 * DAY - 1)
    assert refused(client.get_secret_value, SecretId=NAME) == "InvalidRequestException"
    clock.advance(1)
    assert refused(client.get_secret_value, SecretId=NAME) == "ResourceNotFoundException"
    assert refused(client.restore_secret, SecretId=NAME) == "ResourceNotFoundException"
    client.create_secret(Name=NAME, SecretString="2")
    assert refused(client.get_secret_value, SecretId=arn) == "ResourceNotFoundException"


@behaving(forced_deletion_takes=20)
def test_forced_deletion_is_final_at_once_and_done_later(client: Any, clock: Clock) -> None:
    """The name stays in use for a while, and the secret cannot be restored."""
    client.create_secret(Name=NAME, SecretString="1")
    client.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    clock.advance(19.999)
    for call, document in (
        (client.get_secret_value, {"SecretId": NAME}),
        (client.put_secret_value, {"SecretId": NAME, "SecretString": "2"}),
        (client.restore_secret, {"SecretId": NAME}),
        (client.create_secret, {"Name": NAME, "SecretString": "2"}),
    ):
        assert refused(call, **document) == "InvalidRequestException"
    clock.advance(0.001)
    client.create_secret(Name=NAME, SecretString="2")
    assert client.get_secret_value(SecretId=NAME)["SecretString"] == "2"


@behaving(forced_deletion_takes=20)
def test_forced_deletion_never_fails_and_never_starts_over(client: Any, clock: Clock) -> None:
    """For a secret that is missing, scheduled for deletion or being deleted."""
    forced = {"SecretId": NAME, "ForceDeleteWithoutRecovery": True}
    client.delete_secret(**forced)
    client.create_secret(Name=NAME, SecretString="1")
    client.delete_secret(SecretId=NAME)
    client.delete_secret(**forced)
    clock.advance(15)
    client.delete_secret(**forced)
    clock.advance(5)
    client.create_secret(Name=NAME, SecretString="2")


@pytest.mark.parametrize("days", [7, 30])
def test_recovery_window_at_its_limits_is_accepted(client: Any, clock: Clock, days: int) -> None:
    """7 to 30 days; 30 by default."""
    client.create_secret(Name=NAME, SecretString="1")
    deleted = client.delete_secret(SecretId=NAME, RecoveryWindowInDays=days)
    assert deleted["DeletionDate"].timestamp() == clock() + days * DAY


@pytest.mark.parametrize(
    "window",
    [
        {"RecoveryWindowInDays": 6},
        {"RecoveryWindowInDays": 31},
        {"RecoveryWindowInDays": 7, "ForceDeleteWithoutRecovery": True},
    ],
)
def test_recovery_window_past_its_limits_is_refused(client: Any, window: dict[str, Any]) -> None:
    """A day too few or too many, or a window with a forced deletion; nothing is deleted."""
    client.create_secret(Name=NAME, SecretString="1")
    assert refused(client.delete_secret, SecretId=NAME, **window) == "InvalidParameterException"
    assert client.get_secret_value(SecretId=NAME)["SecretString"] == "1"


# Eventual consistency


@behaving(reads_lag=2)
def test_reader_sees_the_value_before_until_the_lag_is_over(
    aws: AwsServer, client: Any, clock: Clock
) -> None:
    """A read may give the previous version as the current one; writes use the newest."""
    aws.secrets.seed(NAME, "1")
    clock.advance(2)
    put(client, "2", version=token(2))
    assert aws.secrets.current(NAME) == "2"
    clock.advance(1.999)
    late = client.get_secret_value(SecretId=NAME)
    assert (late["SecretString"], late["VersionStages"]) == ("1", ["AWSCURRENT"])
    by_version = {"SecretId": NAME, "VersionId": token(2)}
    assert refused(client.get_secret_value, **by_version) == "ResourceNotFoundException"
    document = {"SecretId": NAME, "SecretString": "other", "ClientRequestToken": token(2)}
    assert refused(client.put_secret_value, **document) == "ResourceExistsException"
    clock.advance(0.001)
    assert client.get_secret_value(SecretId=NAME)["SecretString"] == "2"
    assert client.get_secret_value(**by_version)["SecretString"] == "2"


@behaving(reads_lag=2)
def test_reader_sees_creation_and_deletion_late(client: Any, clock: Clock) -> None:
    """A new secret is missing for a while, and a deleted one still exists."""
    client.create_secret(Name=NAME, SecretString="1")
    assert refused(client.get_secret_value, SecretId=NAME) == "ResourceNotFoundException"
    put(client, "2")
    clock.advance(2)
    assert client.get_secret_value(SecretId=NAME)["SecretString"] == "2"
    client.delete_secret(SecretId=NAME)
    assert client.get_secret_value(SecretId=NAME)["SecretString"] == "2"
    clock.advance(2)
    assert refused(client.get_secret_value, SecretId=NAME) == "InvalidRequestException"


# Concurrency


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads switch so often that missing locks show."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def codes_of_many(service: SecretsManager, documents: list[dict[str, str]]) -> list[str]:
    """Put all of them at once; returns `done` or the refusal's code of each."""

    def write(document: dict[str, str]) -> str:
        try:
            service.answer("PutSecretValue", {"SecretId": NAME, **document})
        except Refused as refused:
            return refused.refusal.code
        return "done"

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(write, documents))


@pytest.mark.usefixtures("hasty_threads")
def test_of_many_writers_of_one_version_one_wins(clock: Clock) -> None:
    """Two workers with one generation leave one token."""
    store = SecretStore(clock=clock, behaviour=Behaviour(quotas=UNLIMITED))
    store.create(NAME)
    for generation in range(20):
        documents = [
            {"ClientRequestToken": token(generation), "SecretString": str(n)} for n in range(32)
        ]
        codes = codes_of_many(SecretsManager(store), documents)
        assert sorted(codes) == ["ResourceExistsException"] * 31 + ["done"]
        assert store.current(NAME) == str(codes.index("done"))


@pytest.mark.usefixtures("hasty_threads")
def test_of_many_versions_at_once_none_is_lost(clock: Clock) -> None:
    """A hundred are kept and logged, and the next are refused."""
    store = SecretStore(clock=clock, behaviour=Behaviour(quotas=UNLIMITED))
    store.create(NAME)
    documents = [{"ClientRequestToken": token(n), "SecretString": str(n)} for n in range(120)]
    codes = codes_of_many(SecretsManager(store), documents)
    assert sorted(codes) == ["LimitExceededException"] * 20 + ["done"] * 100
    secret = store.find(NAME)
    assert secret is not None
    assert len(secret.versions) == len({write.version for write in store.writes}) == 100


def test_of_many_calls_at_once_fifty_pass(aws: AwsServer, client: Any) -> None:
    """The quota loses no count between connections."""
    client.create_secret(Name=NAME)

    def write(generation: int) -> str:
        try:
            return put(client, str(generation), version=token(generation))
        except ClientError as error:
            return str(error.response["Error"]["Code"])

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(write, range(80)))
    assert outcomes.count("ThrottlingException") == 30
    assert {write.version for write in aws.secrets.writes} == {*outcomes} - {"ThrottlingException"}


# Other operations


def test_batch_answers_what_it_finds_and_names_what_it_does_not(client: Any) -> None:
    """Errors of some secrets stand beside the values of others; 20 secrets at most."""
    client.create_secret(Name=NAME, SecretString="1")
    client.create_secret(Name=f"{NAME}/deleted", SecretString="2")
    client.delete_secret(SecretId=f"{NAME}/deleted")
    asked = [NAME, f"{NAME}/deleted", *(f"{NAME}/{n}" for n in range(18))]
    answer = client.batch_get_secret_value(SecretIdList=asked)
    assert [value["SecretString"] for value in answer["SecretValues"]] == ["1"]
    assert [error["ErrorCode"] for error in answer["Errors"]] == [
        "InvalidRequestException",
        *["ResourceNotFoundException"] * 18,
    ]
    too_many = [*asked, NAME]
    assert (
        refused(client.batch_get_secret_value, SecretIdList=too_many) == "InvalidParameterException"
    )


def test_operation_that_is_not_modelled_is_refused(client: Any) -> None:
    """A test that needs another operation must add it to the stand-in first."""
    assert refused(client.list_secrets) == "UnknownOperationException"


def test_value_is_in_no_repr(aws: AwsServer, client: Any) -> None:
    """A failing test may print calls, writes and secrets."""
    client.create_secret(Name=NAME, SecretString="never to be seen")
    shown = repr((aws.calls, aws.secrets.writes, aws.secrets.find(NAME)))
    assert NAME in shown
    assert "never to be seen" not in shown


# The same calls to moto

PUTS = st.fixed_dictionaries(
    {
        "ClientRequestToken": st.integers(1, 3).map(token),
        "SecretString": st.sampled_from(["one", "two"]),
    }
).map(lambda put: ("PutSecretValue", put))
OTHERS = st.sampled_from(["DeleteSecret", "RestoreSecret"]).map(
    lambda operation: (operation, dict[str, str]())
)


@needs_moto("ministack does not make CreateSecret's ClientRequestToken the version's id")
@given(steps=st.lists(PUTS | OTHERS, max_size=12))
@settings(max_examples=30)
def test_stand_in_and_moto_agree_where_moto_is_faithful(
    steps: list[tuple[str, dict[str, str]]],
) -> None:
    """Puts, deletions and restores in any order give the same answers and labels."""
    store = SecretStore(behaviour=Behaviour(quotas=UNLIMITED))
    ours, motos = SecretsManager(store), MotoServices()
    first = {"Name": NAME, "ClientRequestToken": token(1), "SecretString": "one"}
    for operation, document in (("CreateSecret", first), *steps):
        secret = store.find(NAME)
        if secret and secret.deletion and operation == "PutSecretValue":
            continue
        asked = {"SecretId": NAME, **document}
        assert outcome(ours, operation, asked) == outcome(motos, operation, asked)
        for version in ({}, *({"VersionId": token(generation)} for generation in (1, 2, 3))):
            read = {"SecretId": NAME, **version}
            assert outcome(ours, "GetSecretValue", read) == outcome(motos, "GetSecretValue", read)


def outcome(
    service: SecretsManager | MotoServices, operation: str, document: dict[str, Any]
) -> tuple[Any, ...]:
    """An error's code, or the value and its labels."""
    if isinstance(service, SecretsManager):
        try:
            answer = service.answer(operation, document)
        except Refused as refused:
            return (refused.refusal.code,)
    else:
        headers = {
            "Host": "secretsmanager.us-east-1.amazonaws.com",
            "X-Amz-Target": f"secretsmanager.{operation}",
            "Authorization": "AWS4-HMAC-SHA256 Credential=_/_/us-east-1/secretsmanager/_, _",
        }
        answer = json.loads(
            service.answer(HttpRequest("/", headers, json.dumps(document).encode())).body
        )
        if "__type" in answer:
            return (answer["__type"],)
    if operation != "GetSecretValue":
        return ("done",)
    return (answer["VersionId"], answer["SecretString"], *sorted(answer["VersionStages"]))
