"""What a client's declarative applies made is kept under a name, for all who apply it."""

from typing import Any

import pytest

from serve_runs.apply_sets.requests import MAX_CHANGES, MAX_MARK, MAX_MEMBERS
from tests.runs.access_rows import PROJECT, AccessRows
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, Meanwhile

TEAM = f"{PROJECT}/apply-sets/team"
TRAINER = {"kind": "Runner", "key": "trainer"}
PLANNER = {"kind": "Agent", "key": "planner"}


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


def change(api: RunsApi, by: Credential, path: str = TEAM, **body: Any) -> Answer:
    """Change the members of a set."""
    return api.call("POST", f"{path}/members", by=by, document=body)


def test_members_are_kept_for_everyone_who_applies(
    api: RunsApi, ada: Credential, access_rows: AccessRows
) -> None:
    """A set is the members that were added and not removed, and each change is recorded."""
    assert api.call("GET", TEAM, by=ada).status == 404
    answer = change(api, ada, add=[TRAINER, PLANNER])
    assert (answer.status, answer.json["members"]) == (200, [PLANNER, TRAINER])
    assert api.call("GET", TEAM, by=ada).json == answer.json
    assert change(api, ada, add=[TRAINER], remove=[PLANNER]).json["members"] == [TRAINER]
    assert api.call("GET", f"{PROJECT}/apply-sets/other", by=ada).status == 404
    records = access_rows.records("write_apply_set")
    assert [record["resource_id"] for record in records] == [{"S": "team"}] * 2


def test_set_is_in_no_index(api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """A change writes up to 200 KB of members once. A row of before leaves the index then."""
    change(api, ada, add=[TRAINER])
    [row] = [row for row in dynamodb.rows(ACCESS_TABLE) if "members" in row]
    dynamodb.client.put_item(TableName=ACCESS_TABLE, Item=row | {"project": {"S": "apollo"}})
    assert indexed(dynamodb) == {row["entry"]["S"]}
    assert api.call("GET", TEAM, by=ada).json["project"] == "apollo"
    assert change(api, ada, add=[PLANNER]).json["project"] == "apollo"
    assert indexed(dynamodb) == set()


def indexed(dynamodb: DynamoDb) -> set[str]:
    """The sort keys of apply sets in any index of the table."""
    table = dynamodb.client.describe_table(TableName=ACCESS_TABLE)["Table"]
    names = [index["IndexName"] for index in table["GlobalSecondaryIndexes"]]
    pages = [dynamodb.client.scan(TableName=ACCESS_TABLE, IndexName=name) for name in names]
    return {row["entry"]["S"] for page in pages for row in page["Items"] if "members" in row}


def test_member_has_the_mark_that_was_added_last(api: RunsApi, ada: Credential) -> None:
    """A member is there once, and is removed whatever its mark is."""
    marked = {**TRAINER, "mark": "2026-11-27T08:00:00.000Z"}
    change(api, ada, add=[TRAINER, PLANNER])
    assert change(api, ada, add=[marked]).json["members"] == [PLANNER, marked]
    assert change(api, ada, add=[TRAINER]).json["members"] == [PLANNER, TRAINER]
    change(api, ada, add=[marked])
    assert change(api, ada, remove=[TRAINER]).json["members"] == [PLANNER]


def test_same_members_again_write_nothing(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A repeated change is answered 200 with the same body, and without a record."""
    first = change(api, ada, add=[TRAINER])
    writes = len(dynamodb.writes())
    again = change(api, ada, add=[TRAINER], remove=[PLANNER])
    assert (again.status, again.json) == (200, first.json)
    assert change(api, ada).json == first.json
    assert len(dynamodb.writes()) == writes


def test_set_without_members_leaves_no_row(
    api: RunsApi, ada: Credential, access_rows: AccessRows
) -> None:
    """The removal of the last member removes the set, and is recorded."""
    change(api, ada, add=[TRAINER])
    assert change(api, ada, remove=[TRAINER]).json["members"] == []
    assert api.call("GET", TEAM, by=ada).status == 404
    assert len(access_rows.records("write_apply_set")) == 2
    assert change(api, ada, remove=[TRAINER]).status == 200
    assert len(access_rows.records("write_apply_set")) == 2


def test_change_meets_another_one(api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """Two applies at the same time lose no member."""
    dynamodb.faults.append(Meanwhile("TransactWriteItems", lambda: change(api, ada, add=[PLANNER])))
    assert change(api, ada, add=[TRAINER]).json["members"] == [PLANNER, TRAINER]


@pytest.mark.parametrize(
    ("role", "status"),
    [(None, 404), ("project:viewer", 404), ("project:editor", 404), ("project:admin", 200)],
)
def test_only_admins_change_sets(
    api: RunsApi,
    web: Web,
    ada: Credential,
    access_rows: AccessRows,
    role: str | None,
    status: int,
) -> None:
    """A member tells a later apply what it may delete, so its adder must be able to delete it."""
    change(api, ada, add=[TRAINER])
    if role:
        access_rows.grant(role, "eve")
    eve = web.browser("eve")
    assert change(api, eve, add=[PLANNER]).status == status
    assert api.call("GET", TEAM, by=eve).status == status


@pytest.mark.parametrize(
    "body",
    [
        {"add": [{"kind": "Run", "key": "x"}]},
        {"add": [{"kind": "Runner", "key": ""}]},
        {"add": [{"kind": "Runner", "key": "a\nb"}]},
        {"add": [{"kind": "Runner", "key": "x" * 2000}]},
        {"add": [{**TRAINER, "mark": "x" * (MAX_MARK + 1)}]},
        {"add": [{**TRAINER, "mark": "a\nb"}]},
        {"add": [{"kind": "Runner", "key": str(number)} for number in range(MAX_CHANGES + 1)]},
        {"members": []},
    ],
)
def test_invalid_member_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, body: dict[str, Any]
) -> None:
    """The answer is 400, and nothing is written."""
    refused = change(api, ada, **body)
    assert (refused.status, refused.reason) == (400, "invalid_body")
    assert dynamodb.writes() == []


def test_set_has_a_bound(api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """The last member within the bound is added, and the next one is refused."""
    for start in range(0, MAX_MEMBERS, MAX_CHANGES):
        part = [{"kind": "Runner", "key": str(start + each)} for each in range(MAX_CHANGES)]
        assert change(api, ada, add=part).status == 200
    writes = len(dynamodb.writes())
    refused = change(api, ada, add=[PLANNER])
    assert (refused.status, refused.reason) == (400, "invalid_body")
    assert f"at most {MAX_MEMBERS} members" in refused.json["detail"]
    assert len(dynamodb.writes()) == writes
    path = f"{PROJECT}/apply-sets/long"
    long = [{"kind": "Runner", "key": f"{number:0900}"} for number in range(240)]
    parts = [change(api, ada, path, add=long[start : start + 60]) for start in range(0, 240, 60)]
    assert [part.status for part in parts] == [200, 200, 200, 400]
