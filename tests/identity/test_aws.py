"""Clients of AWS: which certificates they trust, and which errors may pass.

`byline.aws` sets the private attribute `_verify` of botocore's HTTP session, because botocore has
no public way to change the trusted roots of a client. These tests hold botocore to it.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import certifi
import pytest
import trustme
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.session import get_session

from byline.aws import (
    _session,
    dynamodb,
    error_name,
    error_places,
    is_passing,
    secrets_manager,
    sqs,
    sts,
)
from tests.identity.loopback import Server, answer, serve

type Trust = Callable[[trustme.CA], None]


@pytest.fixture
def amazon() -> trustme.CA:
    """The authority that clients trust first."""
    return trustme.CA()


@pytest.fixture
def other() -> trustme.CA:
    """An authority of which only the full bundle knows."""
    return trustme.CA()


@pytest.fixture(autouse=True)
def own_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A client made for one test, without a bundle that the machine configures."""
    for variable in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    dynamodb.cache_clear()
    yield
    dynamodb.cache_clear()


@pytest.fixture
def full_bundle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trust]:
    """Replaces certifi's bundle by one authority."""
    bundles: list[Any] = []

    def trust(authority: trustme.CA) -> None:
        bundle = authority.cert_pem.tempfile()
        bundles.append(bundle)
        path = bundle.__enter__()
        monkeypatch.setattr(certifi, "where", lambda: path)

    yield trust
    for bundle in bundles:
        bundle.__exit__(None, None, None)


@contextmanager
def dynamodb_of(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with a certificate of `authority`, at which the client looks for DynamoDB."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    json = "Content-Type: application/x-amz-json-1.0\r\n"
    with serve(
        answer(b'{"TableNames": []}', headers=json + "Content-Length: 18\r\n"), tls=context
    ) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://localhost:{server.port}")
        yield server


def test_certificate_of_the_first_roots_is_trusted(
    amazon: trustme.CA, full_bundle: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The roots that a client is made with suffice for AWS's own hosts."""
    full_bundle(amazon)
    with dynamodb_of(amazon, monkeypatch) as server:
        assert dynamodb().list_tables()["TableNames"] == []
    assert len(server.requests) == 1


def test_certificate_of_another_public_root_is_trusted_at_the_second_attempt(
    amazon: trustme.CA, other: trustme.CA, full_bundle: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should AWS change its roots, requests go on with certifi's bundle. No request is lost."""
    full_bundle(amazon)
    with dynamodb_of(other, monkeypatch) as server:
        client = dynamodb()
        full_bundle(other)
        assert client.list_tables()["TableNames"] == []
        assert client.list_tables()["TableNames"] == []
    assert len(server.requests) == 2


def test_certificate_of_an_unknown_root_is_refused(
    amazon: trustme.CA, other: trustme.CA, full_bundle: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the first roots nor the full bundle sign it, so no request is sent."""
    full_bundle(amazon)
    with dynamodb_of(trustme.CA(), monkeypatch) as server:
        client = dynamodb()
        full_bundle(other)
        with pytest.raises(SSLError):
            client.list_tables()
    assert not server.requests


def test_operators_own_bundle_is_never_extended(
    amazon: trustme.CA, other: trustme.CA, full_bundle: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AWS_CA_BUNDLE, a certificate that only the full bundle signs is refused."""
    full_bundle(other)
    with (
        amazon.cert_pem.tempfile() as bundle,
        dynamodb_of(other, monkeypatch) as server,
    ):
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
        with pytest.raises(SSLError):
            dynamodb().list_tables()
    assert not server.requests


def refused(code: str, *, status: int = 400) -> ClientError:
    metadata = {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "PutItem")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    "error",
    [
        refused("ThrottlingException"),
        refused("ProvisionedThroughputExceededException"),
        refused("TransactionConflictException"),
        refused("InternalServerError", status=500),
        ConnectTimeoutError(endpoint_url="-"),
        ReadTimeoutError(endpoint_url="-"),
        EndpointConnectionError(endpoint_url="-"),
    ],
    ids=error_name,
)
def test_trouble_of_aws_or_of_the_network_is_passing(error: ClientError | BotoCoreError) -> None:
    """The same call may succeed later, so the answer is 503."""
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        refused("AccessDeniedException"),
        refused("ValidationException", status=499),
        NoCredentialsError(),
    ],
    ids=error_name,
)
def test_error_of_the_call_itself_is_not_passing(error: ClientError | BotoCoreError) -> None:
    """Every repetition fails the same way."""
    assert not is_passing(error)


def test_name_of_an_error_quotes_nothing_of_its_message() -> None:
    """AWS's code, or the class: a message may hold a secret that was sent."""
    error = ClientError({"Error": {"Code": "ValidationException", "Message": "SECRET"}}, "PutItem")
    assert error_name(error) == "ValidationException"
    assert error_name(ValueError("SECRET")) == "ValueError"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ThrottlingException", "ThrottlingException"),
        ("AWS.SimpleQueueService.QueueNotFound", "AWS.SimpleQueueService.QueueNotFound"),
        ("403", "403"),
        ("ghp_S3CRETofGitHub", "ClientError"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln", "ClientError"),
        ("what was sent: S3CRET", "ClientError"),
        ("", "ClientError"),
        ("A" * 65, "ClientError"),
    ],
)
def test_only_a_code_of_aws_names_an_error(code: str, name: str) -> None:
    """Text that a peer sends in place of a code is not logged."""
    error = ClientError({"Error": {"Code": code, "Message": "S3CRET"}}, "GetItem")
    assert error_name(error) == name


def test_places_of_an_error_are_files_and_lines() -> None:
    """An error's places show where it came from, without its message."""

    def fail() -> None:
        raise ValueError("S3CRET")

    try:
        fail()
    except ValueError as error:
        places = error_places(error)
    assert [place.partition(":")[0] for place in places] == ["test_aws.py", "test_aws.py"]
    assert "S3CRET" not in str(places)


def test_clients_share_a_session_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function's second client does not read botocore's data and the settings again."""
    sessions: list[object] = []

    def counted() -> object:
        sessions.append(get_session())
        return sessions[-1]

    monkeypatch.setattr("byline.aws.get_session", counted)
    _session.cache_clear()
    for client in (dynamodb, sqs, secrets_manager, sts):
        client.cache_clear()
        client()
    assert len(sessions) == 1
