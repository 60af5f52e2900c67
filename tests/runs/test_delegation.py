"""An agent with a delegated token: it and its person are recorded, and both need the right."""

import json
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from byline.identity.caller import Principal
from serve_runs.access.control import Access, RoleAssignment, question
from serve_runs.access.decisions import POLICIES, Decisions, Resource
from serve_runs.access.standing import ActsFor
from tests.runs.access_rows import PROJECT, RUNS, AccessRows, creation_status, register
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb

NO_JOB = {"link": None, "started_for": None}
PLANNER_SEES: dict[str, Any] = {"kind": "application", "subject": "planner", "name": "planner"}


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`: `lin` is an editor of `apollo`, which allows `planner`."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "lin")
    rows.allow("planner")
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


@pytest.mark.parametrize("own", ["nothing", "role", "registration", "admin of all projects"])
def test_agent_without_a_permission_may_do_nothing(
    api: RunsApi, web: Web, dynamodb: DynamoDb, own: str
) -> None:
    """Somebody's token is no permission, and what the agent may do by its own token counts not."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "lin")
    agent = "planner"
    if own == "role":
        rows.grant("project:editor", agent, kind="application")
    elif own == "registration":
        answer = register(api, web.browser("lin"), web.bearer(agent, client=agent))
        assert answer.status == 201
    elif own == "admin of all projects":
        agent = "nightly"
    token = delegated(web, act={"sub": agent})
    assert creation_status(api, token) == 404
    assert api.call("GET", RUNS, by=token).status == 404
    assert api.call("GET", "/v1/runs", by=token, query={"created_by": "lin"}).json["runs"] == []
    assert creation_status(api, web.bearer("lin")) == 201


def test_permission_counts_in_its_project_alone(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """Another project in which the person has a role does not allow the agent."""
    access_rows.grant("project:editor", "lin", project="gemini")
    assert api.call("POST", "/v1/projects/gemini/runs", by=delegated(web)).status == 404


def test_permission_does_not_count_for_the_agents_own_token(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """Without a person the agent has only the roles that were granted to the application."""
    own = web.bearer("planner", client="planner")
    assert creation_status(api, own) == 404
    access_rows.grant("project:viewer", "planner", kind="application")
    assert creation_status(api, own) == 403
    assert creation_status(api, delegated(web)) == 201


def test_ended_permission_counts_as_absent(api: RunsApi, web: Web, access_rows: AccessRows) -> None:
    """An agent whose permission has ended may do nothing."""
    access_rows.allow("planner", end=1_000_000_000)
    assert creation_status(api, delegated(web)) == 404


def test_runners_own_right_needs_its_own_token(web: Web) -> None:
    """With a person's token a runner reads neither its token nor posts its messages."""
    runner = Principal("application", web.url, "gpu")
    lin = Principal("user", web.url, "lin")
    editor = frozenset({"project:editor"})
    assignments = (RoleAssignment(runner, editor), RoleAssignment(lin, editor))
    for context, is_own in (({}, True), ({"agent_allowed": True}, False)):
        request = {"source": "bearer", "verified": True} | context
        access = Access("apollo", assignments, ActsFor(lin, "{}"), request)
        own = access.resource("Runner", "gpu", own=runner)
        assert access.may("read_runner_token", own) == is_own
        run = access.resource("Run", "r", executor=runner)
        assert access.may("post_runner_message", run) == is_own


@pytest.mark.parametrize("allowed", [{}, {"agent_allowed": True}], ids=["own", "delegated"])
def test_runner_posts_no_user_message_in_its_run_with_any_token(
    web: Web, allowed: dict[str, bool]
) -> None:
    """A person's token does not let a runner tell its own run what to do; in others it may post."""
    runner = Principal("application", web.url, "gpu")
    lin = Principal("user", web.url, "lin")
    editor = frozenset({"project:editor"})
    assignments = (RoleAssignment(runner, editor), RoleAssignment(lin, editor))
    request = {"source": "bearer", "verified": True} | allowed
    access = Access("apollo", assignments, ActsFor(lin, "{}"), request)
    assert not access.may("post_user_message", access.resource("Run", "r", executor=runner))
    assert access.may("post_user_message", access.resource("Run", "r"))


def test_operators_policy_for_an_agent_needs_the_permission(tmp_path: Path, web: Web) -> None:
    """A policy that permits an action to an application by name is no permission."""
    for file in POLICIES.glob("*.cedar*"):
        copy(file, tmp_path)
    agent = Principal("application", web.url, "planner")
    name = f'Byline::Application::"{agent.name}"'
    (tmp_path / "operators.cedar").write_text(f"permit (principal == {name}, action, resource);")
    policies = Decisions(tmp_path)
    for allowed in (True, False):
        context = {"source": "bearer", "verified": True, "agent_allowed": allowed}
        project = Resource("Project", "apollo")
        asked = question(agent, "create_run", project, roles=(), context=context)
        assert policies.decide(asked) == allowed


def test_agent_has_no_more_rights_than_its_own_role(
    api: RunsApi, web: Web, access_rows: AccessRows
) -> None:
    """An admin's agent that is an editor grants no role and registers no service account."""
    access_rows.grant("project:admin", "lin")
    agent = delegated(web)
    binding = {"role": "project:admin", "subject": "friend"}
    granted = api.call("PUT", f"{PROJECT}/role-bindings", by=agent, document=binding)
    assert granted.status == 403
    access_rows.allow("planner", "project:admin")
    assert register(api, agent, web.bearer("helper", client="helper")).status in (403, 404)


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
