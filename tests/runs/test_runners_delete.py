"""Deleting runners: their secrets are removed, and those of later runners with the name stay."""

from copy import replace

import pytest

from stand_ins.faults import LoseAnswer
from tests.refresh.world import SECRETS
from tests.runs.identity_server import Credential
from tests.runs.runners_api import RunnersApi


def secrets_of(runners: RunnersApi, runner: str = "nightly") -> list[str]:
    """The names of a runner's secrets."""
    start = SECRETS.token(runners.project, runner, 0)[:-1]
    return [name for name in runners.world.aws.secrets.names() if name.startswith(start)]


def test_deleted_runner_is_not_found_and_its_secrets_are_deleted(
    runners: RunnersApi, ada: Credential
) -> None:
    """A deletion is answered 204, then 404, and RefreshTokensFunction deletes the secrets."""
    runners.put(ada)
    runners.refresh()
    unit = runners.registered_row().work_unit
    assert secrets_of(runners)
    runners.world.aws.calls.clear()
    answer = runners.delete(ada)
    assert (answer.status, answer.body) == (204, "")
    assert runners.messages() == [unit]
    assert runners.get(ada).status == runners.delete(ada).status == 404
    listed = runners.api.call("GET", f"/v1/projects/{runners.project}/runners", by=ada)
    assert listed.json["runners"] == []
    runners.refresh(unit)
    assert secrets_of(runners) == []


def test_tombstone_has_the_row_and_the_actor(
    runners: RunnersApi, ada: Credential, grace: Credential
) -> None:
    """The tombstone has the whole row and its actor for 30 days, and is due for the sweep."""
    runners.put(ada, audience="models")
    row = runners.registered_row()
    runners.delete(grace)
    [tombstone] = runners.tombstones()
    assert tombstone.deleted_at is not None
    assert tombstone.deleted_by == (
        '{"user":{"id":{"subject":"grace"},"spec":'
        '{"firstName":"Grace","lastName":"Hopper","email":"g@example.com"}}}'
    )
    assert (tombstone.due_at, tombstone.shard, tombstone.ttl) == (
        tombstone.deleted_at,
        row.shard,
        None,
    )
    assert (
        replace(
            tombstone,
            deleted_at=None,
            deleted_by=None,
            ttl=None,
            due_at=row.due_at,
            last_request=row.last_request,
        )
        == row
    )


def test_deletion_of_a_missing_runner_is_not_found(runners: RunnersApi, ada: Credential) -> None:
    """The answer is 404, and nothing is written or sent."""
    answer = runners.delete(ada)
    assert (answer.status, answer.reason) == (404, "not_found")
    assert runners.calls() == ["GetItem"]


def test_runner_with_the_name_of_a_deleted_one_has_a_higher_generation(
    runners: RunnersApi, ada: Credential
) -> None:
    """The generation exceeds the old one's, so the sweep keeps the new runner's secrets."""
    runners.put(ada)
    row_ahead = replace(runners.registered_row(), generation=9_999_999_999_999)
    runners.store(row_ahead)
    runners.delete(ada)
    assert runners.put(ada).status == 201
    assert runners.registered_row().generation == row_ahead.generation + 1


def test_sweep_of_a_deleted_runner_keeps_the_token_of_the_new_one(
    runners: RunnersApi, nightly: Credential, gpu: Credential
) -> None:
    """A runner that is deleted and registered again gets its token and keeps it."""
    runners.put(nightly, subject="gpu")
    runners.refresh()
    runners.delete(nightly)
    runners.put(nightly, subject="gpu")
    unit = runners.registered_row().work_unit
    for _ in range(4):
        runners.world.clock.advance(200)  # forced deletions end, and the second sweep is due
        runners.refresh(unit)
    assert runners.registered_row().last_error is None
    row = runners.registered_row()
    assert runners.world.token(row)["generation"] == row.generation
    assert not [tombstone for tombstone in runners.tombstones() if tombstone.shard is not None]
    assert runners.token(gpu).status == 200


def test_deletion_with_a_lost_answer_happens_once(runners: RunnersApi, ada: Credential) -> None:
    """The answer is 204, and one tombstone exists."""
    runners.put(ada)
    runners.world.aws.faults.follow("TransactWriteItems", LoseAnswer())
    assert runners.delete(ada).status == 204
    assert len(runners.tombstones()) == 1


@pytest.mark.parametrize("kind", ["deleted", "floor", "client", "lease"])
def test_partitions_beside_runners_are_no_project_names(
    runners: RunnersApi, ada: Credential, kind: str
) -> None:
    """A partition of other rows has a character that no project name has."""
    path = f"/v1/projects/{kind}%23{runners.project}/runners"
    for path_of_row in (path, f"{path}/nightly", f"{path}/nightly/token"):
        answer = runners.api.call("GET", path_of_row, by=ada)
        assert (answer.status, answer.reason) == (400, "invalid_name")
