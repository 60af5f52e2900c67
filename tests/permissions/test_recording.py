"""The recording notes what IAM looks at, for each call that the code of a function makes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from byline.registration.principals import flat
from byline.tables.rows import read_rows
from register_resources.pending import PendingRegistrations, RunKey
from tests.permissions.accesses import RETURN_VALUES, SELECT, Access, accesses
from tests.permissions.recording import ROOT, function_of, missing, recorded, together
from tests.register.world import SteppingClient, nothing

KEY = {"project": {"S": "apollo"}, "id": {"S": "1"}}


def accesses_of(operation: str, **call: Any) -> list[Access]:
    """What IAM decides about a call of DynamoDB by RunsFunction."""
    return [*accesses("serve_runs", "dynamodb", operation, call)]


def test_transaction_is_decided_by_its_members() -> None:
    """Each member is an action of its own, with its own key."""
    row = {"scope": {"S": "audit#apollo"}, "entry": {"S": "1"}}
    members = [
        {"Put": {"TableName": "AccessTable", "Item": row}},
        {"Delete": {"TableName": "RunsTable", "Key": KEY}},
    ]
    assert accesses_of("TransactWriteItems", TransactItems=members) == [
        Access("serve_runs", "dynamodb:PutItem", "AccessTable", ("audit#*",)),
        Access("serve_runs", "dynamodb:DeleteItem", "RunsTable", ("*",)),
    ]


def test_update_names_the_attributes_of_all_its_expressions() -> None:
    """Aliases are resolved, and a nested attribute counts as its top-level one."""
    [update] = accesses_of(
        "UpdateItem",
        TableName="RunsTable",
        Key=KEY,
        UpdateExpression="SET #status = :new, labels.team = :team REMOVE runner",
        ConditionExpression="attribute_exists(id) AND last_request = :before",
        ExpressionAttributeNames={"#status": "status"},
    )
    names = {"project", "id", "status", "labels", "runner", "last_request"}
    assert update.attributes == names
    assert update.conditions == ((RETURN_VALUES, "NONE"),)


def test_query_of_an_index_has_the_key_of_the_index() -> None:
    """The leading key of a query is the partition key of the index that it reads."""
    [query] = accesses_of(
        "Query",
        TableName="AccessTable",
        IndexName="by-person",
        KeyConditionExpression="answerable = :person AND entry < :before",
        ExpressionAttributeValues={":person": {"S": "user:ada"}, ":before": {"S": "2"}},
    )
    assert query.resource == "AccessTable/index/by-person"
    assert query.keys == ("*",)
    assert query.conditions == ((SELECT, "ALL_PROJECTED_ATTRIBUTES"),)


def test_unknown_call_is_noted_with_its_action() -> None:
    """A call that the recording does not know appears as one that no role allows."""
    [scan] = accesses_of("Scan", TableName="RunsTable")
    assert scan == Access("serve_runs", "dynamodb:Scan", "RunsTable")


class Callers:
    """A client of DynamoDB that notes which function calls it, and finds nothing."""

    def __init__(self) -> None:
        self.functions: list[str] = []

    def get_item(self, **_: Any) -> dict[str, Any]:
        """Note the caller."""
        self.functions.append(function_of(sys._getframe(1)))
        return {}

    def batch_get_item(self, **_: Any) -> dict[str, Any]:
        """Note the caller."""
        self.functions.append(function_of(sys._getframe(1)))
        return {"Responses": {}}


def test_call_belongs_to_the_function_whose_code_makes_it() -> None:
    """It is found in a thread too, and through a client that passes on a test's steps."""
    client: Any = Callers()
    rows = PendingRegistrations(client, "RunsTable", shape=flat("x"))
    stepping: Any = SteppingClient(client, nothing)
    key = RunKey("apollo", "1")
    rows.read(key)
    PendingRegistrations(stepping, "RunsTable", shape=flat("x")).read(key)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(rows.read, key).result()
    assert set(client.functions) == {"register_resources"}


def test_call_of_a_test_is_not_recorded() -> None:
    """A test reads and writes tables as it likes, also by the layer's code."""
    client: Any = Callers()
    keys: Any = [KEY]
    client.get_item()
    read_rows(client, "RunsTable", keys, tries=1)
    assert client.functions == ["", ""]


def test_call_by_the_layer_alone_is_noted() -> None:
    """A thread that runs the layer's code directly hides its function, which is an error."""
    client: Any = Callers()
    keys: Any = [KEY]
    with ThreadPoolExecutor(1) as threads:
        threads.submit(read_rows, client, "RunsTable", keys, tries=1).result()
    assert client.functions == ["byline"]


def test_call_and_attribute_that_the_file_lacks_are_found() -> None:
    """A new action, key prefix or attribute is missing in the file until it is recorded."""
    known = together(recorded())
    [update, *_] = [each for each in recorded() if each.action == "dynamodb:UpdateItem"]
    scan = Access("serve_runs", "dynamodb:Scan", "RunsTable")
    wider = Access(
        update.function,
        update.action,
        update.resource,
        update.keys,
        update.conditions,
        frozenset({"unheard_of"}),
    )
    assert missing(together([update]), known) == []
    assert missing(together([scan, wider]), known) == [scan, wider]


def test_run_without_a_recorded_call_fails() -> None:
    """`make test` fails where the file lists a call that no test makes."""
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "tests/permissions/test_recording.py",
            "-k",
            "unknown",
        ],
        cwd=ROOT,
        env={**os.environ, "BYLINE_AWS_CALLS": "complete"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 passed" in answer.stdout
    assert "made by no test: Access(function='serve_runs'" in answer.stdout
