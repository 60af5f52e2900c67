"""With an authorization service, the grant is made first, then the service account's row."""

from collections.abc import Callable, Iterator

import pytest

from stand_ins.authorization_service import AuthorizationStandIn, Fails, serve_authorization
from tests.runs.access_rows import ACCOUNTS, AccessRows, acts_for, register, token_of
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb, Meanwhile


@pytest.fixture(scope="module")
def service() -> Iterator[AuthorizationStandIn]:
    with serve_authorization() as service:
        yield service


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    return AccessRows(dynamodb, web)


@pytest.fixture
def api(start_api: Callable[..., RunsApi], service: AuthorizationStandIn) -> RunsApi:
    """The function with registration on."""
    service.graph.calls.clear()
    service.graph.grants.clear()
    service.faults.clear()
    return start_api(AUTHORIZATION_SERVICE_URL=service.url)


@pytest.fixture
def lin(web: Web, access_rows: AccessRows) -> Credential:
    access_rows.grant("project:editor", "lin")
    return web.browser("lin")


@pytest.fixture
def robot(web: Web) -> Credential:
    return web.bearer("robot", client="robot")


def told(service: AuthorizationStandIn) -> list[str]:
    return [call.operation for call in service.graph.calls]


def test_grant_comes_before_the_write(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    service: AuthorizationStandIn,
    dynamodb: DynamoDb,
    web: Web,
) -> None:
    """When the row is written, the service knows already; and it is told whose, and no token."""
    order: list[list[str]] = []
    dynamodb.faults.append(Meanwhile("TransactWriteItems", lambda: order.append(told(service))))
    account = register(api, lin, robot).json
    assert order == [["grant"]]
    [call] = service.graph.calls
    assert call.document == {
        "principal": {"type": "user", "id": "lin", "issuer": web.url},
        "resource": {"type": "api_key", "selector": account["id"]},
        "operation": "create",
    }


@pytest.mark.parametrize(
    ("faults", "refusal"),
    [
        ([Fails(503)] * 4, (503, "grant_unavailable")),
        ([Fails(403)], (502, "grant_refused")),
        ([Fails(200, b"{}")], (502, "grant_refused")),
    ],
)
def test_failed_grant_leaves_nothing(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    service: AuthorizationStandIn,
    access_rows: AccessRows,
    faults: list[Fails],
    refusal: tuple[int, str],
) -> None:
    """A failed grant writes no row, and the same request may be sent again."""
    service.faults.extend(faults)
    before = access_rows.rows()
    refused = register(api, lin, robot)
    assert (refused.status, refused.reason) == refusal
    assert access_rows.rows() == before
    assert acts_for(api, robot) is None
    assert register(api, lin, robot).status == 201


def test_what_is_refused_is_not_granted(
    api: RunsApi, lin: Credential, robot: Credential, web: Web, service: AuthorizationStandIn
) -> None:
    """The service is asked only for what would be written: not for another's, not for no change."""
    register(api, lin, web.bearer("robot", client="web"))
    assert told(service) == []
    register(api, lin, robot)
    register(api, lin, robot)
    register(api, lin, robot, role="project:viewer")
    register(api, web.browser("ada"), robot)
    assert told(service) == ["grant"]


def test_grant_that_lost_the_race_is_taken_back(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    web: Web,
    service: AuthorizationStandIn,
    dynamodb: DynamoDb,
) -> None:
    """Somebody else was quicker: their grant stays, and ours goes."""
    ada = web.browser("ada")
    dynamodb.faults.append(
        Meanwhile("TransactWriteItems", lambda: register(api, ada, robot).status)
    )
    assert register(api, lin, robot).status == 409
    assert told(service) == ["grant", "grant", "revoke"]
    [(who, _, _)] = service.graph.grants
    assert '"ada"' in who


def test_grant_that_another_row_of_the_same_person_needs_is_not_taken_back(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    access_rows: AccessRows,
    service: AuthorizationStandIn,
    dynamodb: DynamoDb,
) -> None:
    """It was registered in another project meanwhile: the grant is that one's too."""
    access_rows.grant("project:editor", "lin", project="gemini")
    elsewhere = {"token": token_of(robot)}
    path = ACCOUNTS.replace("apollo", "gemini")
    dynamodb.faults.append(
        Meanwhile(
            "TransactWriteItems", lambda: api.call("POST", path, by=lin, document=elsewhere).status
        )
    )
    assert register(api, lin, robot).status == 409
    assert told(service) == ["grant", "grant"]


@pytest.mark.parametrize("faults", [[], [Fails(503)], [Fails(403)]])
def test_revoking_is_tried_once_and_changes_no_answer(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    service: AuthorizationStandIn,
    faults: list[Fails],
) -> None:
    """The grant is revoked after the row is deleted, best effort."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    service.faults.extend(faults)
    assert api.call("DELETE", path, by=lin).status == 204
    assert told(service) == ["grant", "revoke"]
    assert acts_for(api, robot) is None
    assert bool(service.graph.grants) == bool(faults)
