"""`who`: every person and application of an answer, with issuer and a readable name."""

import json

import pytest

from tests.identity.alb_tokens import ABSENT
from tests.runs.access_rows import ACCOUNTS, PROJECT, RUNS, AccessRows, register
from tests.runs.identity_server import Credential, Web, shown
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import RUNNERS_TABLE, TABLE, DynamoDb

ADA = {"name": "Ada Lovelace", "email": "ada@example.com"}


def test_run_shows_everybody_with_issuer_and_name(api: RunsApi, web: Web, ada: Credential) -> None:
    """The creator and whoever ended it, in the answers to a change, a read and a list."""
    run = api.create(ada)
    by_token = web.bearer("grace", client="cli", name="Grace Hopper")
    ended = api.call("POST", f"{RUNS}/{run['id']}/cancel", by=by_token).json
    expected = {
        "executed_by": shown(web, "ada", **ADA),
        "on_behalf_of": None,
        "started_by": None,
        "started_on_behalf_of": None,
        "finished_by": None,
        "finished_on_behalf_of": None,
        "cancelled_by": shown(web, "grace", name="Grace Hopper", through="cli"),
        "cancelled_on_behalf_of": None,
    }
    assert ended["who"] == expected
    assert api.call("GET", f"{RUNS}/{run['id']}", by=ada).json["who"] == expected
    [listed] = api.call("GET", RUNS, by=ada).json["runs"]
    assert listed["who"] == expected


@pytest.mark.parametrize(
    ("changes", "actor"),
    [
        (("start",), "started"),
        (("start", "finish"), "finished"),
        (("fail",), "finished"),
        (("cancel",), "cancelled"),
    ],
)
def test_run_shows_on_whose_behalf_each_change_was_made(
    api: RunsApi, web: Web, ada: Credential, dynamodb: DynamoDb, changes: list[str], actor: str
) -> None:
    """Grace's helper changes Ada's run, and Ada's own run is not taken for Grace's."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "grace")
    rows.grant("project:viewer", "vera")
    helper = web.bearer("helper", client="helper")
    register(api, web.browser("grace", given_name="Grace", family_name="Hopper"), helper)
    run = api.create(ada)
    for change in changes:
        changed = api.call("POST", f"{RUNS}/{run['id']}/{change}", by=helper).json
    read = api.call("GET", f"{RUNS}/{run['id']}", by=web.browser("vera")).json
    assert read == changed
    person = f"{actor}_on_behalf_of"
    assert read[f"{actor}_by"]["application"]["id"] == {"subject": "helper"}
    assert read[person]["user"]["id"] == {"subject": "grace"}
    assert read["who"][f"{actor}_by"]["kind"] == "application"
    assert read["who"][person]["name"] == "Grace Hopper"
    assert (read["on_behalf_of"], read["who"][person]["issuer"]) == (None, web.url)


@pytest.mark.parametrize(("change", "actor"), [("cancel", "cancelled"), ("fail", "finished")])
def test_persons_own_change_is_on_nobodys_behalf(
    api: RunsApi, web: Web, ada: Credential, dynamodb: DynamoDb, change: str, actor: str
) -> None:
    """Ada ends a run that is for Grace: the run is for Grace, and its end for nobody else."""
    AccessRows(dynamodb, web).grant("project:editor", "grace")
    helper = web.bearer("helper", client="helper")
    register(api, web.browser("grace"), helper)
    run = api.create(helper)
    ended = api.call("POST", f"{RUNS}/{run['id']}/{change}", by=ada).json
    assert ended["on_behalf_of"]["user"]["id"] == {"subject": "grace"}
    assert (ended[f"{actor}_on_behalf_of"], ended["who"][f"{actor}_on_behalf_of"]) == (None, None)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"given_name": "Lin", "family_name": "Lee", "name": "L. L."}, "Lin Lee"),
        ({"family_name": "Lee", "name": "L. L."}, "Lee"),
        ({"name": "Lin Lee", "preferred_username": "lin@acme.example"}, "Lin Lee"),
        ({"preferred_username": "lin@acme.example"}, "lin@acme.example"),
        ({}, "248289"),
        ({"name": "\u0639\u0644\u06cc\u200c\u0631"}, "\u0639\u0644\u06cc\u200c\u0631"),
        ({"name": "Jean\u00a0Luc"}, "Jean Luc"),
        ({"name": "\u202eadA"}, "adA"),
    ],
)  # fmt: skip
def test_person_has_the_most_readable_name_of_the_token(
    api: RunsApi, web: Web, dynamodb: DynamoDb, claims: dict[str, str], name: str
) -> None:
    """A person of an issuer without given and family name is not a number, on both ways."""
    AccessRows(dynamodb, web).grant("project:editor", "248289")
    nameless = dict.fromkeys(("given_name", "family_name", "email"), ABSENT)
    browser = web.browser("248289", **{**nameless, **claims})
    for caller in (browser, web.bearer("248289", **claims)):
        assert api.create(caller)["who"]["executed_by"]["name"] == name
        answer = api.call("GET", "/v1/whoami", by=caller).json
        assert answer["who"]["executed_by"]["name"] == name


def test_later_name_is_shown_in_a_row_without_one(
    api: RunsApi, web: Web, dynamodb: DynamoDb
) -> None:
    """The person's profile completes `who` as it completes `executed_by`."""
    AccessRows(dynamodb, web).grant("project:editor", "later")
    run = api.create(web.bearer("later"))
    named = web.browser("later", given_name="Lin", family_name="Lee", email="lin@example.com")
    read = api.call("GET", f"{RUNS}/{run['id']}", by=named).json
    expected = shown(web, "later", name="Lin Lee", email="lin@example.com", through="web")
    assert read["who"]["executed_by"] == expected


def test_message_shows_its_author_and_the_issuer(
    api: RunsApi, web: Web, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The author of a message is one of an issuer, and so is the person that it is for."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "robot", kind="application")
    robot = web.bearer("robot", client="robot")
    register(api, ada, robot)
    run = api.create(ada)
    path = f"{RUNS}/{run['id']}/messages"
    message = {"role": "user", "content": "hello"}
    posted = api.call("POST", path, by=robot, document=message).json
    expected = {
        "author": shown(web, "robot", kind="application"),
        "on_behalf_of": shown(web, "ada", **ADA),
    }
    assert posted["who"] == expected
    [listed] = api.call("GET", path, by=ada).json["messages"]
    assert listed["who"] == expected


def test_service_account_shows_its_person(api: RunsApi, web: Web, ada: Credential) -> None:
    """A list of service accounts says whose they are."""
    register(api, ada, web.bearer("helper", client="helper"))
    [account] = api.call("GET", ACCOUNTS, by=ada).json["service_accounts"]
    assert account["who"] == {"acts_for": shown(web, "ada", **ADA)}


def test_tombstone_has_the_issuer_of_whoever_deleted_the_run(
    api: RunsApi, web: Web, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The last row of a deleted run identifies who deleted it, and for whom."""
    AccessRows(dynamodb, web).grant("project:editor", "robot", kind="application")
    robot = web.bearer("robot", client="robot")
    register(api, ada, robot)
    run = api.create(robot)
    assert api.call("DELETE", f"{RUNS}/{run['id']}", by=robot).status == 204
    [row] = [row for row in dynamodb.rows() if "deleted_at" in row]
    assert row["deleted_by_issuer"] == {"S": web.url}
    assert json.loads(row["deleted_on_behalf_of"]["S"])["user"]["id"] == {"subject": "ada"}
    assert row["deleted_on_behalf_of_issuer"] == row["on_behalf_of_issuer"] == {"S": web.url}


def test_row_of_an_earlier_version_is_shown(
    api: RunsApi, web: Web, ada: Credential, dynamodb: DynamoDb
) -> None:
    """An identity with Flyte's members alone has the issuer of its row, and a name."""
    run = api.create(web.bearer("grace", client="cli", name="Grace Hopper"))
    old = json.dumps({"user": {"id": {"subject": "grace"}, "spec": {"lastName": "Hopper"}}})
    dynamodb.client.update_item(
        TableName=TABLE,
        Key={"project": {"S": "apollo"}, "id": {"S": run["id"]}},
        UpdateExpression="SET executed_by = :old",
        ExpressionAttributeValues={":old": {"S": old}},
    )
    read = api.call("GET", f"{RUNS}/{run['id']}", by=ada).json
    assert read["who"]["executed_by"] == shown(web, "grace", name="Hopper")


def test_executed_by_keeps_its_members(api: RunsApi, web: Web, dynamodb: DynamoDb) -> None:
    """What `who` adds is stored in the same text, and not part of `executed_by`."""
    AccessRows(dynamodb, web).grant("project:editor", "lin")
    run = api.create(web.bearer("lin", client="cli", name="Lin Lee"))
    assert run["executed_by"] == {"user": {"id": {"subject": "lin"}}}
    path = f"{PROJECT}/audit"
    [record] = api.call("GET", path, by=web.browser("ada"), query={"run": run["id"]}).json[
        "records"
    ]
    assert record["actor"] == run["executed_by"]
    assert record["who"]["actor"] == run["who"]["executed_by"]


def test_runs_of_a_client_are_listed(api: RunsApi, web: Web, dynamodb: DynamoDb) -> None:
    """`through` finds the runs of people and agents who used a client, in a project and across."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "lin")
    rows.allow("planner")
    by_cli = api.create(web.bearer("lin", client="cli"))["id"]
    by_agent = api.create(web.bearer("lin", client="cli", act={"sub": "planner"}))["id"]
    api.create(web.bearer("lin", client="notebook"))
    api.create(web.browser("lin"))
    lin = web.browser("lin")

    def listed(path: str, **query: str) -> set[str]:
        return {run["id"] for run in api.call("GET", path, by=lin, query=query).json["runs"]}

    assert listed(RUNS, through="cli") == {by_cli, by_agent}
    assert listed(RUNS, through="cli", status="pending") == {by_cli, by_agent}
    assert listed("/v1/runs", through="cli", created_by="me") == {by_cli}
    assert listed(RUNS, through="other") == set()


def test_runner_shows_who_registered_it(api: RunsApi, web: Web, ada: Credential) -> None:
    """With issuer and name, in the answers to the registration, a read and a list."""
    path = f"{PROJECT}/runners/gpu-1"
    expected = {"registered_by": shown(web, "ada", **ADA)}
    assert api.call("PUT", path, by=ada, document={"client": "trainer"}).json["who"] == expected
    assert api.call("GET", path, by=ada).json["who"] == expected
    [listed] = api.call("GET", f"{PROJECT}/runners", by=ada).json["runners"]
    assert listed["who"] == expected


def test_runner_of_an_earlier_version_is_shown_without_issuer(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The row has no issuer, so none is invented."""
    path = f"{PROJECT}/runners/gpu-1"
    api.call("PUT", path, by=ada, document={"client": "trainer"})
    key = {"project": {"S": "apollo"}, "runner": {"S": "gpu-1"}}
    dynamodb.client.update_item(
        TableName=RUNNERS_TABLE, Key=key, UpdateExpression="REMOVE registered_by_issuer"
    )
    found = api.call("GET", path, by=ada).json
    assert found["who"]["registered_by"]["issuer"] is None
    assert found["registered_by"]["user"]["id"] == {"subject": "ada"}


def test_later_name_is_shown_in_messages_and_audit_records(
    api: RunsApi, web: Web, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The person's profile completes them as it completes runs."""
    AccessRows(dynamodb, web).grant("project:editor", "nameless")
    nameless = web.bearer("nameless")
    run = api.create(nameless)
    messages = f"{RUNS}/{run['id']}/messages"
    api.call("POST", messages, by=nameless, document={"role": "user", "content": "hello"})
    named = web.browser("nameless", given_name="Lin", family_name="Lee", email="lin@example.com")
    assert api.call("GET", "/v1/whoami", by=named).status == 200
    expected = shown(web, "nameless", name="Lin Lee", email="lin@example.com", through="web")
    [message] = api.call("GET", messages, by=ada).json["messages"]
    assert message["who"]["author"] == expected
    assert message["author"]["user"]["spec"]["lastName"] == "Lee"
    audit = f"{PROJECT}/audit"
    for record in api.call("GET", audit, by=ada, query={"run": run["id"]}).json["records"]:
        assert record["who"]["actor"] == expected
