"""Fixtures of RunsFunction with a real DynamoDB protocol, a key server and a search for tokens."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count

import pytest

from byline.aws import secrets_manager, sqs
from serve_runs.calls import Api
from tests.identity.alb_tokens import segments_of
from tests.refresh.world import SECRETS, World, new_world
from tests.runs.credentials_api import CredentialsApi
from tests.runs.identity_server import Credential, Web, serve_identities
from tests.runs.runners_api import RunnersApi
from tests.runs.runs_api import RunsApi, build_function, log_to_standard_output
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, serve_dynamodb


@pytest.fixture(scope="session")
def dynamodb_server() -> Iterator[DynamoDb]:
    """A DynamoDB server for all tests."""
    with serve_dynamodb() as server:
        yield server


@pytest.fixture
def dynamodb(dynamodb_server: DynamoDb) -> DynamoDb:
    """The DynamoDB server with empty tables."""
    dynamodb_server.reset()
    return dynamodb_server


@pytest.fixture(scope="session")
def web() -> Iterator[Web]:
    """The load balancer's signing keys of the region, and a token issuer."""
    with serve_identities() as server:
        yield server


@pytest.fixture(scope="session")
def cold_start(dynamodb_server: DynamoDb, web: Web) -> Callable[..., Api]:
    """Builds the function with changed variables, once for equal variables."""

    @cache
    def load(changes: tuple[tuple[str, str], ...]) -> Api:
        environment = {
            **web.environment(),
            "RUNS_TABLE": TABLE,
            "RUNNERS_TABLE": "RunnersTable",
            "ACCESS_TABLE": ACCESS_TABLE,
            "SECRET_PREFIX": SECRETS.prefix,
            "POWERTOOLS_SERVICE_NAME": "stage",
            "REFRESH_QUEUE_URL": f"{dynamodb_server.url}/123456789012/RefreshQueue",
            "AWS_ENDPOINT_URL": dynamodb_server.url,
            **dict(changes),
        }
        return build_function(environment)

    return lambda **changes: load(tuple(changes.items()))


LogLines = Callable[[], list[str]]


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str], web: Web) -> Iterator[LogLines]:
    """Returns all lines logged so far. At the end, no line may contain a part of a token."""
    lines: list[str] = []

    def read() -> list[str]:
        captured = capsys.readouterr()
        lines.extend((captured.out + captured.err).splitlines())
        return lines

    yield read
    text = "\n".join(read())
    assert not [segment for segment in segments_of(web.tokens) if segment in text]


@pytest.fixture
def start_api(
    cold_start: Callable[..., Api], dynamodb: DynamoDb, web: Web, log_lines: LogLines
) -> Iterator[Callable[..., RunsApi]]:
    """Builds the function with changed variables and empty tables."""
    del dynamodb, log_lines
    started: list[RunsApi] = []

    def start(**changes: str) -> RunsApi:
        api = RunsApi(cold_start(**changes))
        log_to_standard_output()
        started.append(api)
        return api

    yield start
    text = "".join(answer for api in started for answer in api.answers)
    assert not [segment for segment in segments_of(web.tokens) if segment in text]
    web.tokens.clear()


@pytest.fixture
def api(start_api: Callable[..., RunsApi]) -> RunsApi:
    """The function as it is deployed."""
    return start_api()


@pytest.fixture
def ada(web: Web) -> Credential:
    """A person who signed in by browser."""
    return web.browser("ada", given_name="Ada", family_name="Lovelace", email="ada@example.com")


@pytest.fixture
def grace(web: Web) -> Credential:
    """Another person who signed in by browser."""
    return web.browser("grace", given_name="Grace", family_name="Hopper", email="g@example.com")


@pytest.fixture
def nightly(web: Web) -> Credential:
    """A service account with a Bearer token."""
    return web.bearer("nightly", client="nightly")


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """AWS with its limits, and the issuer of runners' tokens."""
    with new_world() as world:
        yield world


@pytest.fixture(scope="session")
def queue_url(world: World) -> str:
    """The URL of the refresh queue."""
    url: str = world.aws.observer("sqs").create_queue(QueueName="RefreshQueue")["QueueUrl"]
    return url


_projects = count(1)


@pytest.fixture
def start_runners(
    cold_start: Callable[..., Api],
    world: World,
    queue_url: str,
    web: Web,
    log_lines: LogLines,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., RunnersApi]]:
    """Builds the function with changed variables and a project with a client and no runners.

    At the end, no answer, log line or call may contain a token where it does not belong.
    """
    # The clients are cached, and read the endpoint from the environment when they are built.
    monkeypatch.setenv("AWS_ENDPOINT_URL", world.aws.url)
    started: list[RunnersApi] = []

    def start(**changes: str) -> RunnersApi:
        function = cold_start(
            AWS_ENDPOINT_URL=world.aws.url, REFRESH_QUEUE_URL=queue_url, **changes
        )
        log_to_standard_output()
        runners = RunnersApi(RunsApi(function), world, f"apollo-{next(_projects)}")
        world.give_client(project=runners.project)
        started.append(runners)
        return runners

    sqs.cache_clear()
    secrets_manager.cache_clear()
    world.aws.faults.clear()
    world.aws.calls.clear()
    yield start
    sqs.cache_clear()
    secrets_manager.cache_clear()
    text = "".join(answer for runners in started for answer in runners.api.answers)
    assert not [segment for segment in segments_of(web.tokens) if segment in text]
    web.tokens.clear()
    assert not world.aws.secrets.texts.occur_in(log_lines())
    assert not world.aws.leaks()


@pytest.fixture
def runners(start_runners: Callable[..., RunnersApi]) -> RunnersApi:
    """The function as it is deployed, with a project that has no runners."""
    return start_runners()


@pytest.fixture
def credentials(runners: RunnersApi, web: Web) -> CredentialsApi:
    """The same with a project that has no credentials, and the full quota of one second."""
    runners.world.catch_up()
    return CredentialsApi(runners, web.url)


@pytest.fixture
def gpu(web: Web) -> Credential:
    """The service account of a runner."""
    return web.bearer("gpu", client="gpu")
