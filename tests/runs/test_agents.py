"""A project's admin allows agents to act for whoever's token they carry."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from byline.identity.caller import Principal
from serve_runs.access.control import agent_key
from serve_runs.agents.views import listed_key
from tests.runs.access_rows import PROJECT, AccessRows, creation_status
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, Meanwhile

AGENTS = f"{PROJECT}/agents"
PLANNER = f"{AGENTS}/planner"


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`: `lin` is an editor of `apollo`."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "lin")
    return rows


@pytest.fixture
def agent(web: Web, access_rows: AccessRows) -> Credential:
    """The token with which the agent `planner` acts for `lin`."""
    del access_rows
    return web.bearer("lin", client="planner-client", act={"sub": "planner"})


def allow(api: RunsApi, by: Credential, path: str = PLANNER, **body: Any) -> Answer:
    """Allow an agent in the project."""
    return api.call("PUT", path, by=by, document=body)


def test_allowed_agent_acts_for_the_person_of_its_token(
    api: RunsApi, web: Web, ada: Credential, agent: Credential, access_rows: AccessRows
) -> None:
    """Until its permission is deleted. Both changes are in the audit trail."""
    assert creation_status(api, agent) == 404
    answer = allow(api, ada)
    assert (answer.status, answer.headers["location"]) == (201, PLANNER)
    assert answer.json == {
        "name": "planner",
        "project": "apollo",
        "issuer": web.url,
        "subject": "planner",
        "roles": ["project:editor"],
        "expires_at": None,
        "created_at": answer.json["created_at"],
        "updated_at": answer.json["created_at"],
    }
    assert api.call("GET", PLANNER, by=ada).json == answer.json
    run = api.create(agent)
    assert run["on_behalf_of"]["user"]["id"] == {"subject": "lin"}
    assert api.call("DELETE", PLANNER, by=ada).status == 204
    assert creation_status(api, agent) == 404
    assert api.call("GET", PLANNER, by=ada).status == 404
    assert api.call("DELETE", PLANNER, by=ada).status == 404
    for action in ("allow_agent", "delete_agent"):
        [record] = access_rows.records(action)
        assert record["resource_id"] == {"S": "planner"}
        assert record["principal"] == {"S": f"user:{web.url}#ada"}


def test_agent_needs_the_role_and_its_person_too(
    api: RunsApi, ada: Credential, agent: Credential, access_rows: AccessRows
) -> None:
    """Neither of the two may do more than the other."""
    allow(api, ada, roles=["project:viewer"])
    assert creation_status(api, agent) == 403
    changed = allow(api, ada, roles=["project:editor", "credential:reader"])
    assert changed.status == 200
    assert changed.json["roles"] == ["credential:reader", "project:editor"]
    assert creation_status(api, agent) == 201
    access_rows.revoke("project:editor", "lin")
    assert creation_status(api, agent) == 404
    assert len(access_rows.records("allow_agent")) == 2


def test_same_permission_again_changes_nothing(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, access_rows: AccessRows
) -> None:
    """The second put is answered 200 with the same body, and nothing is written."""
    del access_rows
    first = allow(api, ada, roles=["project:editor"])
    writes = len(dynamodb.writes())
    again = allow(api, ada)
    assert (again.status, again.json) == (200, first.json)
    assert len(dynamodb.writes()) == writes


def test_put_needs_no_body(api: RunsApi, ada: Credential, access_rows: AccessRows) -> None:
    """The name in the path is the subject at the only trusted issuer."""
    del access_rows
    assert api.call("PUT", PLANNER, by=ada).json["subject"] == "planner"


@pytest.mark.parametrize(
    ("role", "statuses"),
    [
        (None, (404, 404, 404)),
        ("project:viewer", (403, 200, 403)),
        ("project:editor", (403, 200, 403)),
        ("project:admin", (200, 200, 204)),
    ],
)
def test_only_admins_allow_agents(
    api: RunsApi,
    web: Web,
    ada: Credential,
    access_rows: AccessRows,
    role: str | None,
    statuses: tuple[int, int, int],
) -> None:
    """Who may read the project sees its agents, and its admins decide."""
    allow(api, ada, roles=["project:viewer"])
    if role:
        access_rows.grant(role, "eve")
    eve = web.browser("eve")
    put = allow(api, eve).status
    assert (put, api.call("GET", AGENTS, by=eve).status) == statuses[:2]
    assert api.call("DELETE", PLANNER, by=eve).status == statuses[2]


def test_agent_that_is_an_admin_needs_an_admin_as_its_person(
    api: RunsApi, ada: Credential, agent: Credential
) -> None:
    """An agent with the role of an admin does not allow itself more than its person may."""
    allow(api, ada, roles=["project:admin"])
    assert allow(api, agent, f"{AGENTS}/other").status == 403


def test_role_binding_of_an_agent_does_not_widen_its_permission(
    api: RunsApi, web: Web, ada: Credential, agent: Credential, access_rows: AccessRows
) -> None:
    """An agent that is allowed as a viewer edits nothing with a person's token, as an editor of
    its own neither. By its own token it is that editor."""
    allow(api, ada, roles=["project:viewer"])
    access_rows.grant("project:editor", "planner", kind="application")
    own = web.bearer("planner", client="planner")
    run = api.create(own)["id"]
    path = f"/v1/projects/apollo/runs/{run}"
    assert api.call("GET", path, by=agent).status == 200
    for method, of in (("POST", f"{path}/start"), ("DELETE", path)):
        answer = api.call(method, of, by=agent)
        assert (answer.status, answer.reason) == (403, "forbidden")
    assert creation_status(api, agent) == 403
    assert api.call("POST", f"{path}/start", by=own).status == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"roles": []}, "invalid_body"),
        ({"roles": ["project:owner"]}, "invalid_body"),
        ({"role": "project:editor"}, "invalid_body"),
        ({"subject": "a\u202eb"}, "invalid_body"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "invalid_body"),
        ({"subject": "x" * 513, "issuer": "https://issuer.example"}, "invalid_body"),
    ],
)
def test_invalid_permission_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, body: dict[str, Any], reason: str
) -> None:
    """The answer is 400, and nothing is written."""
    refused = allow(api, ada, **body)
    assert (refused.status, refused.reason) == (400, reason)
    assert dynamodb.writes() == []


def test_agent_has_one_name_and_a_name_one_agent(
    api: RunsApi, ada: Credential, agent: Credential, access_rows: AccessRows
) -> None:
    """Else the deletion of a name would leave another permission of its agent."""
    del access_rows
    assert allow(api, ada).status == 201
    for path, body in ((f"{AGENTS}/other", {"subject": "planner"}), (PLANNER, {"subject": "x"})):
        refused = allow(api, ada, path, **body)
        assert (refused.status, refused.reason) == (409, "already_registered")
    assert creation_status(api, agent) == 201


def test_permission_that_has_ended_is_replaced(
    api: RunsApi, ada: Credential, agent: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """It is in no answer, and another agent takes the name."""
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert allow(api, ada, expires_at=end).json["expires_at"] is not None
    assert creation_status(api, agent) == 201
    planner = Principal("application", web.url, "planner")
    for key in (agent_key(planner, "apollo"), listed_key("apollo", "planner")):
        dynamodb.client.update_item(
            TableName=ACCESS_TABLE,
            Key=key,
            UpdateExpression="SET expires_at = :past",
            ConditionExpression="attribute_exists(expires_at)",
            ExpressionAttributeValues={":past": {"N": "1000000000"}},
        )
    assert creation_status(api, agent) == 404
    assert api.call("GET", AGENTS, by=ada).json["agents"] == []
    assert api.call("GET", PLANNER, by=ada).status == 404
    assert allow(api, ada, subject="another").status == 201
    assert creation_status(api, agent) == 404
    assert allow(api, ada, f"{AGENTS}/planner-2", subject="planner").status == 201
    assert creation_status(api, agent) == 201


def test_pages_have_every_agent_once(api: RunsApi, ada: Credential) -> None:
    """Agents are listed by name, and none of another project."""
    for name in ("c", "a", "b"):
        allow(api, ada, f"{AGENTS}/{name}")
    allow(api, ada, "/v1/projects/gemini/agents/d")
    found: list[str] = []
    query = {"limit": "2"}
    while True:
        page = api.call("GET", AGENTS, by=ada, query=query).json
        found += [one["name"] for one in page["agents"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == ["a", "b", "c"]


def test_deletion_meets_a_change(
    api: RunsApi, ada: Credential, agent: Credential, dynamodb: DynamoDb, access_rows: AccessRows
) -> None:
    """A permission that changes during its deletion is read again and deleted."""
    del access_rows
    allow(api, ada)
    dynamodb.faults.append(
        Meanwhile("TransactWriteItems", lambda: allow(api, ada, roles=["project:viewer"]))
    )
    assert api.call("DELETE", PLANNER, by=ada).status == 204
    assert creation_status(api, agent) == 404
