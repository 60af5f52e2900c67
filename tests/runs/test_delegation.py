"""An agent with a delegated token: it and its person are recorded, and both need the right."""

import json
from typing import Any

import pytest

from tests.runs.access_rows import PROJECT, RUNS, AccessRows, creation_status, register
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb

NO_JOB = {"link": None, "started_for": None}
PLANNER_SEES: dict[str, Any] = {"kind": "application", "subject": "planner", "name": "planner"}


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`: `lin` and the agent `planner` are editors of `apollo`."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "lin")
    rows.grant("project:editor", "planner", kind="application")
    return rows


def delegated(web: Web, person: str = "lin", act: Any = None, **claims: Any) -> Credential:
    """The token with which the agent `planner` acts for a person."""
    names = {"given_name": person.title(), "email": f"{person}@example.com"}
    return web.bearer(
        person, client="planner-client", act=act or {"sub": "planner"}, **names, **claims
    )


def test_run_has_the_agent_and_the_person(api: RunsApi, web: Web, access_rows: AccessRows) -> None:
    """`executed_by` is the agent, `on_behalf_of` the person; the record has the chain too."""
    chain = {"sub": "planner", "act": {"sub": "tool"}}
    run = api.create(delegated(web, act=chain))
    assert run["executed_by"]["application"]["id"] == {"subject": "planner"}
    assert run["on_behalf_of"]["user"]["id"] == {"subject": "lin"}
    assert run["creator_service_account_id"] == "planner"
    assert run["creator_user_id"] is None
    assert run["who"]["executed_by"] == {
        **PLANNER_SEES, "issuer": web.url, "email": None, "through": "planner-client", **NO_JOB
    }  # fmt: skip
    assert run["who"]["on_behalf_of"] == {
        "kind": "user",
        "issuer": web.url,
        "subject": "lin",
        "name": "Lin",
        "email": "lin@example.com",
        "through": None,
        **NO_JOB,
    }
    [row] = access_rows.records("create_run")
    assert row["principal"]["S"] == f"application:{web.url}#planner"
    assert row["answerable"]["S"] == f"user:{web.url}#lin"
    query = {"run": run["id"]}
    [record] = api.call("GET", f"{PROJECT}/audit", by=web.browser("ada"), query=query).json[
        "records"
    ]
    assert record["chain"] == [{"issuer": web.url, "subject": "tool"}]
    assert record["who"]["actor"]["subject"] == "planner"
    assert record["who"]["on_behalf_of"]["subject"] == "lin"


def test_whoami_shows_the_agent_and_the_person(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """The caller is the agent. The person is the one of the token, without a registration."""
    del access_rows
    answer = api.call("GET", "/v1/whoami", by=delegated(web)).json
    assert (answer["kind"], answer["source"]) == ("application", "bearer")
    assert answer["executed_by"]["application"]["id"] == {"subject": "planner"}
    assert answer["on_behalf_of"]["user"]["id"] == {"subject": "lin"}
    assert answer["who"]["on_behalf_of"]["name"] == "Lin"


def test_agent_loses_its_rights_with_the_persons(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """The next request is refused once the person has no role."""
    agent = delegated(web)
    assert creation_status(api, agent) == 201
    access_rows.revoke("project:editor", "lin")
    assert creation_status(api, agent) == 404


def test_agent_without_a_role_of_its_own_may_do_nothing(
    api: RunsApi, web: Web, dynamodb: DynamoDb
) -> None:
    """Somebody's token is no permission: the project decides which agents act in it."""
    AccessRows(dynamodb, web).grant("project:editor", "lin")
    assert creation_status(api, delegated(web)) == 404
    assert creation_status(api, web.bearer("lin")) == 201


def test_agent_has_no_more_rights_than_its_own_role(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """An admin's agent that is an editor grants no role and registers no service account."""
    access_rows.grant("project:admin", "lin")
    agent = delegated(web)
    binding = {"role": "project:admin", "subject": "friend"}
    granted = api.call("PUT", f"{PROJECT}/role-bindings", by=agent, document=binding)
    assert granted.status == 403
    access_rows.grant("project:admin", "planner", kind="application")
    assert register(api, agent, web.bearer("helper", client="helper")).status in (403, 404)


def test_role_of_a_registration_counts_only_for_its_person(
    api: RunsApi, web: Web, dynamodb: DynamoDb
) -> None:
    """Grace registered the agent for herself. That gives no right with Lin's token."""
    rows = AccessRows(dynamodb, web)
    for person in ("lin", "grace"):
        rows.grant("project:editor", person)
    assert (
        register(api, web.browser("grace"), web.bearer("planner", client="planner")).status == 201
    )
    assert creation_status(api, delegated(web, "grace")) == 201
    assert creation_status(api, delegated(web, "lin")) == 404


def test_registered_agent_acts_for_the_person_of_its_token(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """The token says for whom the agent acts now, whoever registered it."""
    access_rows.grant("project:editor", "grace")
    assert (
        register(api, web.browser("grace"), web.bearer("planner", client="planner")).status == 201
    )
    run = api.create(delegated(web, "lin"))
    assert run["on_behalf_of"]["user"]["id"] == {"subject": "lin"}


def test_delegated_token_registers_no_service_account(
    api: RunsApi, web: Web, access_rows: AccessRows, ada: Credential
) -> None:
    """Whoever sees a delegated token cannot tie its agent to themselves."""
    before = len(access_rows.rows())
    refused = register(api, ada, delegated(web))
    assert (refused.status, refused.reason) == (422, "invalid_service_account_token")
    assert len(access_rows.rows()) == before


def test_idempotency_key_is_of_the_agent_and_the_person(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """One key of an agent gives each person a run of their own."""
    access_rows.grant("project:editor", "grace")
    key = (("idempotency-key", "one"),)
    first, again, other = (
        api.call("POST", RUNS, by=delegated(web, person), headers=key)
        for person in ("lin", "lin", "grace")
    )
    assert (first.status, again.status, other.status) == (201, 200, 201)
    assert first.json["id"] == again.json["id"] != other.json["id"]


def test_run_that_the_agent_ends_shows_the_agent(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """Every later action records the agent, and its record the person."""
    run = api.create(web.bearer("lin"))
    agent = delegated(web)
    answer = api.call("POST", f"{RUNS}/{run['id']}/cancel", by=agent)
    assert answer.json["cancelled_by"]["application"]["id"] == {"subject": "planner"}
    [record] = access_rows.records("cancel_run")
    assert json.loads(record["on_behalf_of"]["S"])["user"]["id"] == {"subject": "lin"}


def test_number_of_reads_is_that_of_a_registered_service_account(
    api: RunsApi, web: Web, access_rows: AccessRows, dynamodb: DynamoDb
) -> None:
    """The person's roles cost one read, as for every application that acts for a person."""
    del access_rows
    agent = delegated(web)
    api.create(agent)
    dynamodb.calls.clear()
    api.create(agent)
    assert [call.operation for call in dynamodb.calls] == [
        "BatchGetItem",
        "BatchGetItem",
        "TransactWriteItems",
    ]


def test_client_of_a_person_is_shown_and_gives_no_right(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """A person's command line tool is not an agent: the person is the caller, `through` it."""
    del access_rows
    run = api.create(web.bearer("lin", client="planner"))
    assert run["executed_by"]["user"]["id"] == {"subject": "lin"}
    assert run["on_behalf_of"] is None
    assert run["who"]["executed_by"]["through"] == "planner"


def test_names_of_a_delegated_token_are_the_persons(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """The person's profile is remembered, and the agent gets no names of the person."""
    access_rows.grant("project:editor", "kay")
    run = api.create(web.bearer("kay"))
    api.create(delegated(web, "kay"))
    read = api.call("GET", f"{RUNS}/{run['id']}", by=web.browser("ada")).json
    assert read["who"]["executed_by"]["name"] == "Kay"
    assert read["executed_by"]["user"]["spec"]["email"] == "kay@example.com"
