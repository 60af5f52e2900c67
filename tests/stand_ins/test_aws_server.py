"""The stand-in for AWS: faults of calls, the other services, and the search for leaked secrets."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from time import monotonic, sleep
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.session import get_session
from moto.core.serialize import get_serializer_class

from stand_ins.aws_server import AwsServer, serve_aws
from stand_ins.clock import Clock
from stand_ins.faults import (
    ANY,
    PASSED,
    Afterwards,
    Delay,
    Fault,
    Hang,
    LoseAnswer,
    Meanwhile,
    Reset,
)
from stand_ins.moto_application import moto_application
from stand_ins.refusal import (
    ACCESS_DENIED,
    INTERNAL_ERROR,
    RATE_EXCEEDED,
    Refusal,
    transaction_cancelled,
)

NAME = "byline/tokens/payments/scheduler/01m6dmbe/0"
TABLE = "RunnersTable"
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJuaWdodGx5In0.c2lnbmF0dXJlLW9mLXRoaXMtdG9rZW4"
IF_NEW = {
    "ConditionExpression": "attribute_not_exists(#project)",
    "ExpressionAttributeNames": {"#project": "project"},
}
VALUE = json.dumps({"token": TOKEN, "token_type": "Bearer", "expires_at": "2030-01-01T00:00:00Z"})


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def aws(clock: Clock) -> Iterator[AwsServer]:
    """A server with one secret, whose value is `old`."""
    with serve_aws(clock=clock) as aws:
        aws.secrets.seed(NAME, "old")
        yield aws


@pytest.fixture
def secrets(aws: AwsServer) -> Iterator[Any]:
    """A client of Secrets Manager that waits one second for an answer."""
    with closing(aws.client("secretsmanager", read_timeout=1)) as client:
        yield client


@pytest.fixture
def dynamodb(aws: AwsServer) -> Iterator[Any]:
    """A client of DynamoDB, and an empty table."""
    with closing(aws.client("dynamodb")) as client:
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "project", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "project", "KeyType": "HASH"}],
        )
        aws.calls.clear()
        yield client


def item(project: str, **attributes: str) -> dict[str, Any]:
    """A row whose attributes are strings."""
    return {"project": {"S": project}, **{name: {"S": text} for name, text in attributes.items()}}


def test_attribute_values_of_every_type_are_read_as_they_were_written(dynamodb: Any) -> None:
    """The stand-in passes plain values through, and moto's own code answers the other ones."""
    key = item("payments")
    row = {
        **key,
        "text": {"S": "a"},
        "number": {"N": "1"},
        "flag": {"BOOL": False},
        "nothing": {"NULL": True},
        "texts": {"SS": ["a", "b"]},
        "numbers": {"NS": ["1", "2"]},
        "bytes": {"B": b"a"},
        "members": {"M": {"text": {"S": "a"}, "bytes": {"B": b"a"}, "empty": {"M": {}}}},
        "values": {"L": [{"N": "1"}, {"B": b"a"}, {"L": []}]},
    }
    dynamodb.put_item(TableName=TABLE, Item=row)
    assert dynamodb.get_item(TableName=TABLE, Key=key)["Item"] == row
    [found] = dynamodb.query(
        TableName=TABLE,
        KeyConditionExpression="project = :project",
        ExpressionAttributeValues={":project": key["project"]},
    )["Items"]
    assert found == row


def test_moto_takes_the_serializer_of_the_stand_in() -> None:
    """moto still selects a serializer by the service, so the one of the stand-in is used."""
    moto_application()
    assert get_serializer_class("dynamodb", "json").__module__ == moto_application.__module__


def get(dynamodb: Any, project: str) -> dict[str, Any] | None:
    """The row of a project, or None."""
    found: dict[str, Any] = dynamodb.get_item(TableName=TABLE, Key=item(project))
    return found.get("Item")


# Faults


@pytest.mark.parametrize(
    ("fault", "status"), [(RATE_EXCEEDED, 400), (INTERNAL_ERROR, 500), (ACCESS_DENIED, 400)]
)
def test_refused_call_gets_the_error_and_changes_nothing(
    aws: AwsServer, secrets: Any, fault: Refusal, status: int
) -> None:
    """The second call gets the code that the script names; the calls around it succeed."""
    aws.faults.follow("PutSecretValue", PASSED, fault)
    secrets.put_secret_value(SecretId=NAME, SecretString="first")
    with pytest.raises(ClientError) as refused:
        secrets.put_secret_value(SecretId=NAME, SecretString="second")
    assert refused.value.response["Error"]["Code"] == fault.code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert aws.secrets.current(NAME) == "first"
    secrets.put_secret_value(SecretId=NAME, SecretString="third")
    assert aws.secrets.current(NAME) == "third"
    assert aws.count("PutSecretValue") == 3
    assert aws.count("PutSecretValue", fault.code) == 1


def test_lost_answer_leaves_the_secret_written(aws: AwsServer, secrets: Any) -> None:
    """The caller gets a connection error although the secret has the new value."""
    aws.faults.follow("PutSecretValue", LoseAnswer())
    with pytest.raises(ConnectionClosedError):
        secrets.put_secret_value(SecretId=NAME, SecretString="new")
    assert aws.secrets.current(NAME) == "new"


def test_sdk_retry_after_a_lost_answer_writes_one_version(aws: AwsServer) -> None:
    """The SDK repeats a put with the same token, so the secret gets one version."""
    aws.faults.follow("PutSecretValue", LoseAnswer())
    with closing(aws.client("secretsmanager", retries={"total_max_attempts": 2})) as client:
        client.put_secret_value(SecretId=NAME, SecretString="new")
    assert [call.outcome for call in aws.calls] == ["done", "done"]
    assert [call.fault for call in aws.calls] == [LoseAnswer(), PASSED]
    assert len(aws.secrets.writes) == 2  # the seed and the put


def test_reset_connection_changes_nothing(aws: AwsServer, secrets: Any) -> None:
    """The connection ends with a TCP reset before the call is handled."""
    aws.faults.follow("PutSecretValue", Reset())
    with pytest.raises(ConnectionClosedError) as reset:
        secrets.put_secret_value(SecretId=NAME, SecretString="new")
    assert "ConnectionResetError" in repr(reset.value.kwargs["error"])
    assert aws.secrets.current(NAME) == "old"


@pytest.mark.parametrize(("fault", "left"), [(Hang(), "old"), (LoseAnswer(60), "new")])
def test_silent_server_makes_the_client_time_out(
    aws: AwsServer, secrets: Any, fault: Fault, left: str
) -> None:
    """The client times out before or after the write, and the server answers the next call."""
    aws.faults.follow("PutSecretValue", fault)
    with pytest.raises(ReadTimeoutError):
        secrets.put_secret_value(SecretId=NAME, SecretString="new")
    assert aws.secrets.current(NAME) == left
    secrets.put_secret_value(SecretId=NAME, SecretString="next")


def test_server_stops_while_calls_hang() -> None:
    """At its end the server does not wait for hanging calls: it closes their connections."""
    with ThreadPoolExecutor(1) as pool:
        with serve_aws() as aws, closing(aws.client("secretsmanager")) as client:
            aws.faults.follow("GetSecretValue", Hang())
            hanging = pool.submit(client.get_secret_value, SecretId=NAME)
            while not aws.calls:
                sleep(0.01)
            started = monotonic()
        with pytest.raises(ConnectionClosedError):
            hanging.result(5)
    assert monotonic() - started < 5


def test_stopped_server_leaves_no_thread() -> None:
    """The server closes connections that clients keep open, and all its threads end."""
    before = set(threading.enumerate())
    with serve_aws() as aws:
        client = aws.client("secretsmanager")
        with pytest.raises(ClientError):
            client.get_secret_value(SecretId=NAME)
        assert len(set(threading.enumerate()) - before) == 2
    started = monotonic()
    while set(threading.enumerate()) - before and monotonic() - started < 5:
        sleep(0.01)
    assert set(threading.enumerate()) <= before
    client.close()


def test_delayed_call_succeeds_late(aws: AwsServer, secrets: Any) -> None:
    """A delayed call is handled and answered after its delay."""
    aws.faults.follow("PutSecretValue", Delay(0.1))
    started = monotonic()
    secrets.put_secret_value(SecretId=NAME, SecretString="new")
    assert monotonic() - started >= 0.1
    assert aws.secrets.current(NAME) == "new"


def test_actions_run_before_and_after_a_call_is_handled(aws: AwsServer, secrets: Any) -> None:
    """A test can run another worker's step before the effect of a call, or before its answer."""
    seen: list[str] = []

    def read_value() -> None:
        seen.append(aws.observer("secretsmanager").get_secret_value(SecretId=NAME)["SecretString"])

    aws.faults.follow("PutSecretValue", Meanwhile(read_value), Afterwards(read_value))
    secrets.put_secret_value(SecretId=NAME, SecretString="new")
    secrets.put_secret_value(SecretId=NAME, SecretString="newer")
    assert seen == ["old", "newer"]


def test_cut_network_fails_all_later_calls_of_all_services(
    aws: AwsServer, secrets: Any, dynamodb: Any
) -> None:
    """A script can simulate a crash: after the second call no call reaches any service."""
    aws.faults.follow(ANY, PASSED, LoseAnswer(), afterwards=Reset())
    dynamodb.put_item(TableName=TABLE, Item=item("a"))
    with pytest.raises(ConnectionClosedError):
        dynamodb.put_item(TableName=TABLE, Item=item("b"))
    for _ in range(2):
        with pytest.raises(ConnectionClosedError):
            secrets.put_secret_value(SecretId=NAME, SecretString="new")
    observer = aws.observer("dynamodb")
    assert get(observer, "a")
    assert get(observer, "b")
    assert aws.secrets.current(NAME) == "old"
    aws.faults.clear()
    secrets.put_secret_value(SecretId=NAME, SecretString="new")


def test_fault_with_a_condition_applies_to_matching_calls_only(
    aws: AwsServer, secrets: Any
) -> None:
    """Calls for one secret fail, and calls for another succeed, in any order."""
    other = "byline/tokens/payments/scheduler/01m6dmbf/0"
    aws.secrets.seed(other, "old")
    aws.faults.follow(
        "PutSecretValue",
        afterwards=RATE_EXCEEDED,
        concerns=lambda call: call.document["SecretId"] == other,
    )
    secrets.put_secret_value(SecretId=NAME, SecretString="new")
    with pytest.raises(ClientError):
        secrets.put_secret_value(SecretId=other, SecretString="new")
    secrets.put_secret_value(SecretId=NAME, SecretString="newer")


def test_concurrent_calls_use_each_step_of_a_script_once(aws: AwsServer) -> None:
    """With calls of eight threads, a script of three errors causes three errors."""
    aws.faults.follow("GetSecretValue", *[INTERNAL_ERROR] * 3)
    with (
        closing(aws.client("secretsmanager", max_pool_connections=8)) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(client.get_secret_value, SecretId=NAME) for _ in range(24)]
    assert sum(call.exception() is not None for call in asked) == 3


# The other services


def test_dynamodb_and_sqs_answer_at_the_same_address(aws: AwsServer, dynamodb: Any) -> None:
    """One address serves every service, and the server records all their calls."""
    dynamodb.put_item(TableName=TABLE, Item=item("a"))
    assert get(dynamodb, "a") == item("a")
    with closing(aws.client("sqs")) as sqs:
        queue = sqs.create_queue(QueueName="units")["QueueUrl"]
        assert queue.startswith(aws.url)
        sqs.send_message(QueueUrl=queue, MessageBody="07")
        assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "07"
    assert [(call.service, call.operation) for call in aws.calls] == [
        ("DynamoDB_20120810", "PutItem"),
        ("DynamoDB_20120810", "GetItem"),
        ("AmazonSQS", "CreateQueue"),
        ("AmazonSQS", "SendMessage"),
        ("AmazonSQS", "ReceiveMessage"),
    ]


def test_error_of_a_service_is_the_outcome_of_the_call(aws: AwsServer, dynamodb: Any) -> None:
    """The outcome of a failed call is the code of its error."""
    dynamodb.put_item(TableName=TABLE, Item=item("a"), **IF_NEW)
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(TableName=TABLE, Item=item("a"), **IF_NEW)
    assert [call.outcome for call in aws.calls] == ["done", "ConditionalCheckFailedException"]


def test_two_servers_share_no_resources(aws: AwsServer, dynamodb: Any) -> None:
    """Each server has its own tables and secrets."""
    dynamodb.put_item(TableName=TABLE, Item=item("a"))
    with serve_aws() as other, closing(other.client("dynamodb")) as client:
        assert client.list_tables()["TableNames"] == []
        assert other.secrets.names() == []
    assert dynamodb.list_tables()["TableNames"] == [TABLE]


def test_repeated_transaction_gets_its_first_answer_for_ten_minutes(
    aws: AwsServer, clock: Clock, dynamodb: Any
) -> None:
    """After a lost answer, a repetition with the same token succeeds for ten minutes."""
    transaction = {
        "ClientRequestToken": "t" * 36,
        "TransactItems": [{"Put": {"TableName": TABLE, "Item": item("a"), **IF_NEW}}],
    }
    aws.faults.follow("TransactWriteItems", LoseAnswer())
    with pytest.raises(ConnectionClosedError):
        dynamodb.transact_write_items(**transaction)
    clock.advance(599)
    dynamodb.transact_write_items(**transaction)
    clock.advance(1)
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(**transaction)


def test_token_of_another_transaction_is_refused(dynamodb: Any) -> None:
    """A client request token of one transaction is refused for another."""
    put_a, put_b = ({"Put": {"TableName": TABLE, "Item": item(name)}} for name in "ab")
    dynamodb.transact_write_items(ClientRequestToken="t" * 36, TransactItems=[put_a])
    with pytest.raises(dynamodb.exceptions.IdempotentParameterMismatchException):
        dynamodb.transact_write_items(ClientRequestToken="t" * 36, TransactItems=[put_b])
    assert get(dynamodb, "b") is None


def test_cancelled_transaction_has_a_reason_for_each_item(aws: AwsServer, dynamodb: Any) -> None:
    """The SDK finds one cancellation reason for each item of the transaction."""
    aws.faults.follow("TransactWriteItems", transaction_cancelled("None", "TransactionConflict"))
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        dynamodb.transact_write_items(
            TransactItems=[{"Put": {"TableName": TABLE, "Item": item(name)}} for name in "ab"]
        )
    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "TransactionConflict"]
    assert get(dynamodb, "a") is None


def test_refused_transaction_restores_every_row(dynamodb: Any) -> None:
    """A transaction whose last condition fails leaves all rows as they were."""
    rows = {name: item(name, state="before") for name in "abc"}
    for row in rows.values():
        dynamodb.put_item(TableName=TABLE, Item=row)
    put, update, remove, new, refused = map(item, "abcde")
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": TABLE, "Item": put}},
                {
                    "Update": {
                        "TableName": TABLE,
                        "Key": update,
                        "UpdateExpression": "SET #state = :after",
                        "ExpressionAttributeNames": {"#state": "state"},
                        "ExpressionAttributeValues": {":after": {"S": "after"}},
                    }
                },
                {"Delete": {"TableName": TABLE, "Key": remove}},
                {"Put": {"TableName": TABLE, "Item": new}},
                {
                    "ConditionCheck": {
                        "TableName": TABLE,
                        "Key": refused,
                        "ConditionExpression": "attribute_exists(#project)",
                        "ExpressionAttributeNames": {"#project": "project"},
                    }
                },
            ]
        )
    codes = [reason["Code"] for reason in cancelled.value.response["CancellationReasons"]]
    assert codes == ["None"] * 4 + ["ConditionalCheckFailed"]
    assert {name: get(dynamodb, name) for name in "abcde"} == {**rows, "d": None, "e": None}


# Leaks


def test_token_in_secrets_manager_is_no_leak(aws: AwsServer, secrets: Any, dynamodb: Any) -> None:
    """A token may be in Secrets Manager, and its times and type anywhere."""
    secrets.put_secret_value(SecretId=NAME, SecretString=VALUE)
    dynamodb.put_item(
        TableName=TABLE, Item=item("a", expires_at="2030-01-01T00:00:00Z", type="Bearer")
    )
    assert len(aws.secrets.texts) > 0
    assert aws.leaks() == []


@pytest.mark.parametrize(
    "leak",
    [
        TOKEN,
        f"token was {TOKEN}!",
        TOKEN.split(".")[1],
        TOKEN.split(".")[2],
        VALUE,
        json.dumps({"value": VALUE}),
        base64.b64encode(f"before {TOKEN} after".encode()).decode(),
    ],
    ids=["token", "inside", "claims", "signature", "value", "nested", "base64"],
)
def test_secret_in_a_table_is_a_leak(
    aws: AwsServer, secrets: Any, dynamodb: Any, leak: str
) -> None:
    """The whole token, a part of it, or its Base64 is found, and the finding does not show it."""
    secrets.put_secret_value(SecretId=NAME, SecretString=VALUE)
    dynamodb.put_item(TableName=TABLE, Item=item("innocent"))
    dynamodb.put_item(TableName=TABLE, Item=item("a", last_error=leak))
    (found,) = aws.leaks()
    assert (found.service, found.operation) == ("DynamoDB_20120810", "PutItem")
    assert leak not in repr(found)


def test_secret_in_a_binary_attribute_is_a_leak(
    aws: AwsServer, secrets: Any, dynamodb: Any
) -> None:
    """The search finds a secret in a binary attribute, which is Base64 in the request."""
    secrets.put_secret_value(SecretId=NAME, SecretString=VALUE)
    dynamodb.put_item(TableName=TABLE, Item={**item("a"), "blob": {"B": VALUE.encode()}})
    assert len(aws.leaks()) == 1


def test_secret_in_a_message_or_a_description_is_a_leak(aws: AwsServer, secrets: Any) -> None:
    """The search covers queues, and members of Secrets Manager that CloudTrail logs."""
    secrets.put_secret_value(SecretId=NAME, SecretString=VALUE)
    with closing(aws.client("sqs")) as sqs:
        queue = sqs.create_queue(QueueName="units")["QueueUrl"]
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"token": TOKEN}))
    secrets.update_secret(SecretId=NAME, Description=TOKEN)
    assert [call.operation for call in aws.leaks()] == ["SendMessage", "UpdateSecret"]


def test_private_key_in_a_table_is_a_leak(aws: AwsServer, dynamodb: Any) -> None:
    """The search finds a key by one line of its PEM, however the line ends are escaped."""
    line = "MC4CAQAwBQYDK2VwBCIEIGpuNm5wY2l0LW5vdC1hLWtleQ=="
    pem = f"-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n"
    aws.secrets.seed("byline/clients/payments/idp", json.dumps({"private_key_pem": pem}))
    dynamodb.put_item(TableName=TABLE, Item=item("a", note=repr(pem)))
    assert len(aws.leaks()) == 1


# A process of its own


def test_server_process_ends_when_its_input_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK finds the server by its variable, calls take the set time, and the process ends."""
    command = (sys.executable, "-m", "stand_ins", "--latency", "0.05", "--unlimited")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
        client: Any = get_session().create_client("secretsmanager")
        with closing(client):
            client.create_secret(Name=NAME, SecretString="1")
            started = monotonic()
            client.get_secret_value(SecretId=NAME)
            assert monotonic() - started >= 0.05
        process.stdin.close()
        assert process.wait(10) == 0
