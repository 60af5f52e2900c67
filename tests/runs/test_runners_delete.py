"""Deleting runners: a token ends with its last runner, and its secrets with it."""

from copy import replace

import pytest

from serve_runs.access.projects import project_key
from stand_ins.faults import LoseAnswer
from tests.refresh.world import TABLE
from tests.runs.identity_server import Credential
from tests.runs.runners_api import RunnersApi
from tests.runs.table_server import ACCESS_TABLE


def test_last_runner_of_a_token_takes_its_secrets_with_it(
    runners: RunnersApi, ada: Credential
) -> None:
    """A deletion is answered 204, then 404, and RefreshTokensFunction deletes the secrets."""
    runners.put(ada)
    runners.refresh()
    token = runners.token_row()
    assert runners.secrets_of(token)
    runners.world.aws.calls.clear()
    answer = runners.delete(ada)
    assert (answer.status, answer.body) == (204, "")
    assert runners.messages() == [token.work_unit]
    assert runners.get(ada).status == runners.delete(ada).status == 404
    listed = runners.api.call("GET", f"/v1/projects/{runners.project}/runners", by=ada)
    assert listed.json["runners"] == []
    runners.refresh(token.work_unit)
    assert runners.secrets_of(token) == []


def test_deletion_of_one_of_several_runners_leaves_the_token_to_the_others(
    runners: RunnersApi, nightly: Credential, gpu: Credential
) -> None:
    """Nothing is revoked, swept or sent, and the other runner reads the same token."""
    for name in ("nightly", "weekly"):
        runners.put(nightly, name, subject="gpu")
    runners.refresh()
    token, text = runners.token_row(), runners.token(gpu).json["token"]
    runners.world.aws.calls.clear()
    assert runners.delete(nightly).status == 204
    assert runners.messages() == []
    assert runners.token_row("weekly") == replace(token, runners=1)
    assert runners.retired() == []
    assert runners.token(gpu, "weekly").json["token"] == text
    assert runners.token(gpu).status == 404


def test_retired_token_has_its_row_and_is_due(runners: RunnersApi, ada: Credential) -> None:
    """The retired row has all that a sweep needs, and no end of life before it."""
    runners.put(ada, audience="models")
    runners.refresh()
    token = runners.token_row()
    runners.delete(ada)
    [retired] = runners.retired()
    assert retired.retired_at is not None
    assert (retired.due_at, retired.runners, retired.ttl) == (retired.retired_at, 0, None)
    assert replace(retired, retired_at=None, runners=1, due_at=token.due_at) == token


def test_deletion_of_a_missing_runner_is_not_found(runners: RunnersApi, ada: Credential) -> None:
    """The answer is 404, and nothing is written or sent."""
    answer = runners.delete(ada)
    assert (answer.status, answer.reason) == (404, "not_found")
    assert runners.calls() == ["GetItem"]


def test_runner_that_is_registered_again_has_a_new_token_with_new_secrets(
    runners: RunnersApi, nightly: Credential, gpu: Credential
) -> None:
    """The sweep of the old token, however late, finds none of the new one's secrets."""
    runners.put(nightly, subject="gpu")
    runners.refresh()
    old = runners.token_row()
    runners.delete(nightly)
    runners.put(nightly, subject="gpu")
    new = runners.token_row()
    assert new.id != old.id
    for _ in range(4):
        runners.world.clock.advance(200)  # forced deletions end, and the second sweep is due
        runners.refresh(new.work_unit)
    new = runners.token_row()
    assert new.last_error is None
    assert runners.world.token(new)["generation"] == new.generation
    assert runners.secrets_of(old) == []
    assert not [token for token in runners.retired() if token.shard is not None]
    assert runners.token(gpu).status == 200


def test_deletion_with_a_lost_answer_happens_once(runners: RunnersApi, ada: Credential) -> None:
    """The answer is 204, and one runner has left the token."""
    for name in ("nightly", "weekly", "daily"):
        runners.put(ada, name)
    runners.world.aws.faults.follow("TransactWriteItems", LoseAnswer())
    assert runners.delete(ada).status == 204
    assert runners.token_row("weekly").runners == 2


@pytest.mark.parametrize(
    "spoiled",
    [{"created_at": {"N": "7"}}, {"revision": {"N": "7"}}, {"isolated": {"N": "7"}}],
    ids=str,
)
def test_runner_whose_row_is_unreadable_can_be_deleted(
    runners: RunnersApi, ada: Credential, spoiled: dict[str, dict[str, str]]
) -> None:
    """The row is found by its key, and its token is left as by any other runner."""
    runners.put(ada)
    [item] = runners.items()
    runners.world.aws.observer("dynamodb").put_item(TableName=TABLE, Item={**item, **spoiled})
    token = runners.live()[0]
    assert runners.get(ada).status == 500
    assert runners.delete(ada).status == 204
    assert runners.get(ada).status == 404
    assert [retired.id for retired in runners.retired()] == [token.id]


@pytest.mark.parametrize("kind", ["tokens", "retired", "client", "lease"])
def test_partitions_beside_runners_are_no_project_names(
    runners: RunnersApi, ada: Credential, kind: str
) -> None:
    """A partition of other rows has a character that no project name has."""
    path = f"/v1/projects/{kind}%23{runners.project}/runners"
    for path_of_row in (path, f"{path}/nightly", f"{path}/nightly/token"):
        answer = runners.api.call("GET", path_of_row, by=ada)
        assert (answer.status, answer.reason) == (400, "invalid_name")


def test_project_row_stays_after_the_last_runner(runners: RunnersApi, ada: Credential) -> None:
    """Retired rows expire after a month. Then the project would be new, and its next creator could
    get tokens with the client secrets that it has."""
    assert runners.put(ada).status == 201
    assert runners.delete(ada).status == 204
    key = project_key(runners.project)
    answer = runners.world.dynamodb.get_item(TableName=ACCESS_TABLE, Key=key)
    assert answer["Item"] == key | {"admins": {"N": "0"}}
