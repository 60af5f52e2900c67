"""With an authorization service, the grant is created first, and the service account's row
second."""

from collections.abc import Callable, Iterator
from time import time
from typing import Any

import pytest

from byline.registration.outbox import ENTRY_ATTRIBUTES, REVOCATION
from byline.tables.rows import rfc3339
from stand_ins.authorization_service import AuthorizationStandIn, Fails, serve_authorization
from tests.runs.access_rows import ACCOUNTS, AccessRows, acts_for, register, token_of
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb, Meanwhile


@pytest.fixture(scope="module")
def service() -> Iterator[AuthorizationStandIn]:
    """The authorization service."""
    with serve_authorization() as service:
        yield service


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
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
    """An editor of the project."""
    access_rows.grant("project:editor", "lin")
    return web.browser("lin")


@pytest.fixture
def robot(web: Web) -> Credential:
    """A service account without a role of its own."""
    return web.bearer("robot", client="robot")


def days(number: int) -> str:
    """A time so many days after the next midnight, as bodies and answers have it."""
    return rfc3339((int(time()) // 86_400 + 1 + number) * 86_400)


def revocations(dynamodb: DynamoDb) -> list[dict[str, Any]]:
    """The rows of revocations."""
    return [row for row in dynamodb.rows() if row["project"]["S"].startswith(REVOCATION)]


def operations(service: AuthorizationStandIn) -> list[str]:
    """The operations that the authorization service received."""
    return [call.operation for call in service.graph.calls]


def test_grant_is_created_before_the_row(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    service: AuthorizationStandIn,
    dynamodb: DynamoDb,
    web: Web,
) -> None:
    """The service receives person, service account and operation, and no token."""
    order: list[list[str]] = []
    for _ in range(2):
        dynamodb.faults.append(
            Meanwhile("TransactWriteItems", lambda: order.append(operations(service)))
        )
    account = register(api, lin, robot).json
    assert order == [[], ["grant"]]
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
def test_failed_grant_writes_no_row(
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


def test_refused_or_unchanged_registration_creates_no_grant(
    api: RunsApi, lin: Credential, robot: Credential, web: Web, service: AuthorizationStandIn
) -> None:
    """The service is called only for a registration that would be written."""
    register(api, lin, web.bearer("robot", client="web"))
    assert operations(service) == []
    register(api, lin, robot)
    register(api, lin, robot)
    register(api, lin, robot, role="project:viewer")
    register(api, web.browser("ada"), robot)
    assert operations(service) == ["grant"]


def test_grant_of_a_lost_race_has_a_revocation(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    web: Web,
    service: AuthorizationStandIn,
    dynamodb: DynamoDb,
) -> None:
    """Of two concurrent registrations, the grant of the refused one will be revoked."""
    ada = web.browser("ada")

    def register_first() -> None:
        assert register(api, ada, robot).status == 201

    dynamodb.faults.append(
        Meanwhile(
            "TransactWriteItems",
            lambda: dynamodb.faults.append(Meanwhile("TransactWriteItems", register_first)),
        )
    )
    assert register(api, lin, robot).status == 409
    assert operations(service) == ["grant", "grant"]
    assert [row["person"]["S"] for row in revocations(dynamodb)] == [f"user:{web.url}#lin"]


def test_concurrent_registrations_in_two_projects_have_a_grant_each(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    access_rows: AccessRows,
    service: AuthorizationStandIn,
    dynamodb: DynamoDb,
) -> None:
    """The grant of one does not depend on the other's."""
    access_rows.grant("project:editor", "lin", project="gemini")
    same_token = {"token": token_of(robot)}
    path = ACCOUNTS.replace("apollo", "gemini")

    def register_first() -> None:
        assert api.call("POST", path, by=lin, document=same_token).status == 201

    dynamodb.faults.append(
        Meanwhile(
            "TransactWriteItems",
            lambda: dynamodb.faults.append(Meanwhile("TransactWriteItems", register_first)),
        )
    )
    assert register(api, lin, robot).status == 201
    assert len({call.document["resource"]["selector"] for call in service.graph.calls}) == 2
    assert operations(service) == ["grant", "grant"]
    assert revocations(dynamodb) == []


def test_deletion_leaves_a_revocation_and_makes_no_call(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    service: AuthorizationStandIn,
    dynamodb: DynamoDb,
    web: Web,
) -> None:
    """RegisterResourcesFunction revokes the grant. The service cannot delay or fail the answer."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    assert revocations(dynamodb) == []
    assert api.call("DELETE", path, by=lin).status == 204
    assert operations(service) == ["grant"]
    assert acts_for(api, robot) is None
    [row] = revocations(dynamodb)
    assert row["person"]["S"] == f"user:{web.url}#lin"
    assert row.keys() >= {*ENTRY_ATTRIBUTES}


def test_service_account_of_another_project_has_no_grant(
    start_api: Callable[..., RunsApi],
    service: AuthorizationStandIn,
    access_rows: AccessRows,
    robot: Credential,
    dynamodb: DynamoDb,
    web: Web,
) -> None:
    """Only the projects in `RegistrationProjects` are registered with the service."""
    service.graph.calls.clear()
    access_rows.grant("project:editor", "lin")
    api = start_api(AUTHORIZATION_SERVICE_URL=service.url, REGISTRATION_PROJECTS="gemini, zeus")
    lin = web.browser("lin")
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    assert api.call("DELETE", path, by=lin).status == 204
    assert operations(service) == []
    assert revocations(dynamodb) == []


def test_grant_has_the_configured_shape(
    start_api: Callable[..., RunsApi],
    service: AuthorizationStandIn,
    access_rows: AccessRows,
    robot: Credential,
    web: Web,
) -> None:
    """With `RegistrationPrincipal` = `flat`, a grant names the person as agentex does."""
    service.graph.calls.clear()
    access_rows.grant("project:editor", "lin")
    api = start_api(
        AUTHORIZATION_SERVICE_URL=service.url,
        REGISTRATION_PRINCIPAL="flat",
        REGISTRATION_ACCOUNT_ID="acct-1",
    )
    assert register(api, web.browser("lin"), robot).status == 201
    assert service.graph.calls[-1].document["principal"] == {
        "user_id": "lin",
        "service_account_id": None,
        "account_id": "acct-1",
    }


class TestRegistrationSwitchedOff:
    """While `AuthorizationServiceUrl` is empty, existing grants still follow their accounts."""

    @pytest.fixture
    def off(self, start_api: Callable[..., RunsApi]) -> RunsApi:
        """The function after registration was switched off."""
        return start_api()

    @pytest.mark.parametrize("later", [None, days(3)])
    def test_end_that_moves_moves_the_revocation(
        self,
        api: RunsApi,
        off: RunsApi,
        lin: Credential,
        robot: Credential,
        dynamodb: DynamoDb,
        later: str | None,
    ) -> None:
        """The grant would end at the old time, once registration is on again."""
        assert register(api, lin, robot, expires_at=days(1)).status == 201
        more = {} if later is None else {"expires_at": later}
        assert register(off, lin, robot, **more).json["expires_at"] == later
        due = [row["unregistered_since"]["S"] for row in revocations(dynamodb)]
        assert due == ([] if later is None else [later])

    def test_end_that_is_given_later_has_a_revocation(
        self, api: RunsApi, off: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb
    ) -> None:
        """The grant ends with the account, whichever release of the settings gave it an end."""
        assert register(api, lin, robot).status == 201
        assert register(off, lin, robot, expires_at=days(2)).status == 200
        assert [row["unregistered_since"]["S"] for row in revocations(dynamodb)] == [days(2)]

    def test_deletion_leaves_a_revocation(
        self,
        api: RunsApi,
        off: RunsApi,
        lin: Credential,
        robot: Credential,
        dynamodb: DynamoDb,
        service: AuthorizationStandIn,
    ) -> None:
        """It is carried out when registration is on again. Until then nothing calls the service."""
        path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
        assert off.call("DELETE", path, by=lin).status == 204
        [row] = revocations(dynamodb)
        assert row.keys() >= {*ENTRY_ATTRIBUTES}
        assert operations(service) == ["grant"]

    def test_account_without_a_grant_has_no_revocation(
        self, off: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb
    ) -> None:
        """What was registered while registration is off is not known to the service."""
        path = f"{ACCOUNTS}/{register(off, lin, robot, expires_at=days(1)).json['id']}"
        assert register(off, lin, robot, expires_at=days(2)).status == 200
        assert off.call("DELETE", path, by=lin).status == 204
        assert revocations(dynamodb) == []
