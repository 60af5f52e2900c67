"""Warnings of a registration: a client's secret that is missing or unusable, several secrets."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from byline.refresh.hints import HINTS
from refresh_tokens.errors import ErrorClass
from serve_runs.runners.warnings import CODES, client_secret_warnings, token_warnings
from stand_ins.aws_server import AwsServer, serve_aws
from stand_ins.refusal import ACCESS_DENIED

NAME = "stage/clients/research/trainer"
VALUE = "S3CRET-of-trainer"


@dataclass(frozen=True)
class LastError:
    """What the row of a token keeps of a failed refresh."""

    error_class: str
    detail: str


@pytest.fixture
def aws() -> Iterator[AwsServer]:
    with serve_aws() as running:
        yield running


def client_of(aws: AwsServer) -> Any:
    return aws.client("secretsmanager")


def test_client_secret_with_a_value_gives_no_warning(aws: AwsServer) -> None:
    """One call tells that it exists, and its value is not read."""
    aws.secrets.seed(NAME, VALUE)
    assert client_secret_warnings(NAME, client=client_of(aws)) == []
    assert [call.operation for call in aws.calls] == ["DescribeSecret"]


def test_missing_client_secret_is_a_warning_with_its_name(aws: AwsServer) -> None:
    """The operator reads which secret to write."""
    [warning] = client_secret_warnings(NAME, client=client_of(aws))
    assert warning["code"] == "client_secret_unusable"
    assert f"no secret `{NAME}`" in warning["detail"]


def test_client_secret_marked_for_deletion_is_a_warning(aws: AwsServer) -> None:
    """It can be restored within its recovery window."""
    aws.secrets.seed(NAME, VALUE)
    aws.observer("secretsmanager").delete_secret(SecretId=NAME, RecoveryWindowInDays=7)
    [warning] = client_secret_warnings(NAME, client=client_of(aws))
    assert "restore it" in warning["detail"]
    assert VALUE not in json.dumps(warning)


def test_client_secret_without_a_value_is_a_warning(aws: AwsServer) -> None:
    """CloudFormation or Terraform created it, and nobody has written its value."""
    aws.observer("secretsmanager").create_secret(Name=NAME)
    [warning] = client_secret_warnings(NAME, client=client_of(aws))
    assert "no value yet" in warning["detail"]


def test_check_that_is_refused_gives_no_warning(
    aws: AwsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The runner is registered all the same, and the log has the error."""
    aws.faults.follow("DescribeSecret", ACCESS_DENIED)
    assert client_secret_warnings(NAME, client=client_of(aws)) == []
    assert "client secret not checked" in caplog.messages


def test_failing_token_is_a_warning_with_its_reason_and_a_hint() -> None:
    """A registration that shares a failing token tells so, without a call."""
    detail = "The client secret has a blank in `issuer`."
    failure = LastError("client_secret_unusable", detail)
    assert token_warnings(failure, slots=None) == [
        {"code": "client_secret_unusable", "detail": f"{detail} {HINTS[failure.error_class]}"}
    ]


@pytest.mark.parametrize("slots", [2, 4])
def test_token_with_several_secrets_is_a_warning(slots: int) -> None:
    """A reader of one name would find an expired token part of the time."""
    [warning] = token_warnings(None, slots=slots)
    assert warning["code"] == "several_secrets"
    assert f"{slots} secrets in turn" in warning["detail"]


@pytest.mark.parametrize("slots", [None, 1])
def test_working_token_with_one_secret_gives_no_warning(slots: int | None) -> None:
    """Nor does one before its first refresh, whose lifetime is unknown."""
    assert token_warnings(None, slots=slots) == []


def test_codes_are_the_error_classes_and_one_more() -> None:
    """A client may match on them."""
    assert set(CODES) == {*get_args(ErrorClass), "several_secrets"}
