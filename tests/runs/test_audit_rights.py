"""The records of changes of rights say whose rights, which roles and until when."""

from collections.abc import Callable
from time import time
from typing import Any

import pytest

from byline.tables.rows import rfc3339
from tests.runs.access_rows import ACCOUNTS, PROJECT, AccessRows, register
from tests.runs.audit_api import ask, records
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb

BINDINGS = f"{PROJECT}/role-bindings"
AGENTS = f"{PROJECT}/agents"
END = rfc3339((int(time()) // 86_400 + 2) * 86_400)


@pytest.fixture
def lin(web: Web, dynamodb: DynamoDb) -> Credential:
    """An editor of the project."""
    AccessRows(dynamodb, web).grant("project:editor", "lin")
    return web.browser("lin")


def rights(found: list[dict[str, Any]]) -> list[Any]:
    """The actions and rights of records, the oldest first."""
    return [(record["action"], record["rights"]) for record in reversed(found)]


def test_records_of_an_agent_have_its_roles_and_end(
    api: RunsApi, ada: Credential, web: Web
) -> None:
    """One filter finds all changes of the agent's permission, whatever its roles were."""
    path = f"{AGENTS}/planner"
    api.call("PUT", path, by=ada, document={"roles": ["project:viewer"], "expires_at": END})
    api.call("PUT", path, by=ada, document={"roles": ["project:editor", "credential:reader"]})
    api.call("DELETE", path, by=ada)
    api.call("PUT", f"{AGENTS}/other", by=ada)
    principal = {"principal": f"application:{web.url}#planner", "acts_for": None}
    both = {**principal, "roles": ["credential:reader", "project:editor"], "expires_at": None}
    assert rights(records(api, ada, agent="planner")) == [
        ("allow_agent", {**principal, "roles": ["project:viewer"], "expires_at": END}),
        ("allow_agent", both),
        ("delete_agent", both),
    ]


def test_records_of_a_service_account_have_its_role_end_and_person(
    api: RunsApi, ada: Credential, lin: Credential, web: Web
) -> None:
    """Also the one of its deletion by an admin, for whom it did not act."""
    robot = web.bearer("robot", client="robot")
    account = register(api, lin, robot, role="project:viewer", expires_at=END).json["id"]
    assert api.call("DELETE", f"{ACCOUNTS}/{account}", by=ada).status == 204
    given = {
        "principal": f"application:{web.url}#robot",
        "roles": ["project:viewer"],
        "expires_at": END,
        "acts_for": f"user:{web.url}#lin",
    }
    assert rights(records(api, ada, service_account=account)) == [
        ("create_service_account", given),
        ("delete_service_account", given),
    ]


def test_records_of_a_role_binding_have_principal_and_role(
    api: RunsApi, ada: Credential, web: Web
) -> None:
    """The filter is the id of the records' resource."""
    binding = {"subject": "tess", "role": "project:viewer"}
    api.call("PUT", BINDINGS, by=ada, document=binding)
    api.call("PUT", BINDINGS, by=ada, document={**binding, "role": "project:editor"})
    api.call("DELETE", BINDINGS, by=ada, query=binding)
    tess = f"user:{web.url}#tess"
    given = {
        "principal": tess,
        "roles": ["project:viewer"],
        "expires_at": None,
        "acts_for": None,
    }
    found = records(api, ada, role_binding=f"project:viewer {tess}")
    assert rights(found) == [("grant_role", given), ("revoke_role", given)]
    assert {record["resource"]["id"] for record in found} == {f"project:viewer {tess}"}


def test_records_of_an_offboarding_have_the_rights_that_it_took(
    start_api: Callable[..., RunsApi], dynamodb: DynamoDb, web: Web
) -> None:
    """The role of the person, and the account that acted for it."""
    del dynamodb
    api = start_api(PROJECT_ADMINS="ada")
    ada, lin = web.browser("ada"), web.browser("lin")
    binding = {"subject": "lin", "role": "project:editor"}
    assert api.call("PUT", BINDINGS, by=ada, document=binding).status == 201
    account = register(api, lin, web.bearer("robot", client="robot")).json["id"]
    assert api.call("POST", "/v1/people/lin/offboard", by=ada).status in {200, 202}
    person = f"user:{web.url}#lin"
    revoked, _ = records(api, ada, role_binding=f"project:editor {person}")
    assert (revoked["action"], revoked["rights"]["principal"]) == ("revoke_role", person)
    deleted, _ = records(api, ada, service_account=account)
    assert (deleted["action"], deleted["rights"]["acts_for"]) == ("delete_service_account", person)


def test_record_of_a_run_has_no_rights(api: RunsApi, ada: Credential) -> None:
    """A run gives none, and a record of an earlier version does not say which it gave."""
    run = api.create(ada)["id"]
    assert rights(records(api, ada, run=run)) == [("create_run", None)]


@pytest.mark.parametrize(
    "query",
    [
        {"agent": "no name"},
        {"service_account": "short"},
        {"role_binding": ""},
        {"role_binding": "x" * 2_000},
        {"agent": "planner", "run": "01JD9XK3T5ZQ8W7V6R5N4M3K2J"},
    ],
)
def test_invalid_filter_is_refused(api: RunsApi, ada: Credential, query: dict[str, str]) -> None:
    """A list has one subject, and its text has the form of that subject's ids."""
    answer = ask(api, ada, **query)
    assert (answer.status, answer.reason) == (400, "invalid_parameter")
