"""How a run ended, as whoever finished or failed it says: the reason and the exit code."""

import pytest

from tests.runs.identity_server import Credential
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb
from tests.runs.test_run_states import RUNS, run_in

LONGEST = "é" * 1_000


@pytest.mark.parametrize("change", ["finish", "fail"])
@pytest.mark.parametrize(
    ("end", "shown"),
    [
        ({}, (None, None)),
        ({"reason": "a"}, ("a", None)),
        ({"reason": LONGEST, "exit_code": 255}, (LONGEST, 255)),
        ({"exit_code": 7.0}, (None, 7)),
        ({"exit_code": 0}, (None, 0)),
        ({"reason": None, "exit_code": None}, (None, None)),
    ],
)
def test_end_is_on_the_run_and_in_its_audit_record(
    api: RunsApi,
    ada: Credential,
    change: str,
    end: dict[str, object],
    shown: tuple[str | None, int | None],
) -> None:
    """The answer, the run, its list and the audit record of the change have reason and code."""
    run = run_in(api, "running", ada)
    assert (run["reason"], run["exit_code"]) == (None, None)
    ended = api.call("POST", f"{RUNS}/{run['id']}/{change}", by=ada, document=end).json
    assert (ended["reason"], ended["exit_code"]) == shown
    assert api.call("GET", f"{RUNS}/{run['id']}", by=ada).json == ended
    assert api.call("GET", RUNS, by=ada).json["runs"] == [ended]
    audit = api.call("GET", "/v1/projects/apollo/audit", by=ada, query={"run": run["id"]}).json
    records = {
        record["action"]: (record["reason"], record["exit_code"]) for record in audit["records"]
    }
    assert records == {
        "create_run": (None, None),
        "start_run": (None, None),
        f"{change}_run": shown,
    }


@pytest.mark.parametrize("change", ["finish", "fail"])
@pytest.mark.parametrize(
    "end",
    [
        {"reason": ""},
        {"reason": "a" * 1_001},
        {"reason": "two\nlines"},
        {"reason": "\x1b[31mred"},
        {"reason": "a\n"},
        {"reason": 1},
        {"exit_code": -1},
        {"exit_code": 256},
        {"exit_code": "1"},
        {"exit_code": 1.5},
        {"exit_code": True},
        {"code": 1},
        [],
    ],
)
def test_end_that_is_not_valid_changes_nothing(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, change: str, end: object
) -> None:
    """A reason that is empty, too long or has control characters, and another code, are refused."""
    run = run_in(api, "running", ada)
    before = dynamodb.rows()
    answer = api.call("POST", f"{RUNS}/{run['id']}/{change}", by=ada, document=end)
    assert (answer.status, answer.reason) == (400, "invalid_body")
    assert dynamodb.rows() == before


@pytest.mark.parametrize("change", ["finish", "fail"])
def test_repeated_end_changes_nothing(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, change: str
) -> None:
    """The first end stays, whatever a repetition says. It is answered with the state of the run."""
    run = run_in(api, "running", ada)
    path = f"{RUNS}/{run['id']}/{change}"
    state = api.call("POST", path, by=ada, document={"reason": "first", "exit_code": 1}).json
    before = dynamodb.rows()
    for end in ({"reason": "first", "exit_code": 1}, {"reason": "second"}, {}):
        answer = api.call("POST", path, by=ada, document=end)
        assert (answer.status, answer.reason) == (409, "wrong_state")
        assert answer.json["current_status"] == state["status"]
    assert dynamodb.rows() == before
    assert api.call("GET", f"{RUNS}/{run['id']}", by=ada).json["reason"] == "first"


@pytest.mark.parametrize("change", ["start", "cancel"])
def test_change_that_is_no_end_takes_no_reason(api: RunsApi, ada: Credential, change: str) -> None:
    """A reason that would be ignored is refused."""
    run = api.create(ada)
    answer = api.call("POST", f"{RUNS}/{run['id']}/{change}", by=ada, document={"reason": "a"})
    assert (answer.status, answer.reason) == (400, "invalid_body")


def test_reason_of_a_deleted_run_is_in_its_tombstone(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The tombstone keeps the run as it ended, and no route shows it."""
    run = run_in(api, "running", ada)
    api.call("POST", f"{RUNS}/{run['id']}/fail", by=ada, document={"reason": "out of memory"})
    assert api.call("DELETE", f"{RUNS}/{run['id']}", by=ada).status == 204
    [tombstone] = dynamodb.rows()
    assert tombstone["reason"] == {"S": "out of memory"}
