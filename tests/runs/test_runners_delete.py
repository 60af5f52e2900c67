"""Deleting runners: nothing of them is left, nothing of a namesake is taken."""

from dataclasses import replace

import pytest

from byline.refresh.work_units import token_secret_name
from stand_ins.faults import LoseAnswer
from tests.runs.identity_server import Credential
from tests.runs.runners_api import RunnersApi


def secrets_prefix(runners: RunnersApi, runner: str = "nightly") -> list[str]:
    start = token_secret_name(runners.project, runner, 0)[:-1]
    return [name for name in runners.world.aws.secrets.names() if name.startswith(start)]


def test_deleted_runner_is_gone_and_its_secrets_go(runners: RunnersApi, ada: Credential) -> None:
    """Deleting returns 204, then 404 everywhere; the refresher deletes the secrets."""
    runners.put(ada)
    runners.refresh()
    unit = runners.registered_row().work_unit
    assert secrets_prefix(runners)
    runners.world.aws.calls.clear()
    answer = runners.delete(ada)
    assert (answer.status, answer.body) == (204, "")
    assert runners.messages() == [unit]
    assert runners.get(ada).status == runners.delete(ada).status == 404
    listed = runners.api.call("GET", f"/v1/projects/{runners.project}/runners", by=ada)
    assert listed.json["runners"] == []
    runners.refresh(unit)
    assert secrets_prefix(runners) == []


def test_deletion_remembers_who_and_what(
    runners: RunnersApi, ada: Credential, grace: Credential
) -> None:
    """The tombstone keeps the whole row and its actor for a month, and is due for the sweep."""
    runners.put(ada, audience="models")
    row = runners.registered_row()
    runners.delete(grace)
    [left] = runners.tombstones()
    assert left.deleted_at is not None
    assert left.deleted_by == (
        '{"user":{"id":{"subject":"grace"},"spec":'
        '{"firstName":"Grace","lastName":"Hopper","email":"g@example.com"}}}'
    )
    assert (left.due_at, left.shard, left.ttl) == (
        left.deleted_at,
        row.shard,
        left.deleted_at + 2_592_000,
    )
    assert (
        replace(
            left,
            deleted_at=None,
            deleted_by=None,
            ttl=None,
            due_at=row.due_at,
            last_request=row.last_request,
        )
        == row
    )


def test_missing_runner_cannot_be_deleted(runners: RunnersApi, ada: Credential) -> None:
    """404, and nothing is written or sent."""
    answer = runners.delete(ada)
    assert (answer.status, answer.reason) == (404, "not_found")
    assert runners.calls() == ["GetItem"]


def test_namesake_of_a_deleted_runner_starts_above_it(runners: RunnersApi, ada: Credential) -> None:
    """Even where the clock says otherwise: a version of the old one's must never be the new one's,
    nor must the sweep take it."""
    runners.put(ada)
    ahead = replace(runners.registered_row(), generation=9_999_999_999_999)
    runners.store(ahead)
    runners.delete(ada)
    assert runners.put(ada).status == 201
    assert runners.registered_row().generation == ahead.generation + 1


def test_sweep_of_the_old_runner_leaves_the_token_of_the_new_one(
    runners: RunnersApi, nightly: Credential, gpu: Credential
) -> None:
    """Deleted and registered anew at once: in the end the new one has its token and keeps it."""
    runners.put(nightly, subject="gpu")
    runners.refresh()
    runners.delete(nightly)
    runners.put(nightly, subject="gpu")
    unit = runners.registered_row().work_unit
    for _ in range(4):
        runners.world.clock.advance(200)  # forced deletions end, and the second sweep comes
        runners.refresh(unit)
    assert runners.registered_row().last_error is None
    row = runners.registered_row()
    assert runners.world.token(row)["generation"] == row.generation
    assert not [left for left in runners.tombstones() if left.shard is not None]
    assert runners.token(gpu).status == 200


def test_deletion_whose_answer_was_lost_happens_once(runners: RunnersApi, ada: Credential) -> None:
    """204 and one row of it."""
    runners.put(ada)
    runners.world.aws.faults.follow("TransactWriteItems", LoseAnswer())
    assert runners.delete(ada).status == 204
    assert len(runners.tombstones()) == 1


@pytest.mark.parametrize("kind", ["deleted", "floor", "client", "lease"])
def test_no_route_shows_what_is_kept_beside_runners(
    runners: RunnersApi, ada: Credential, kind: str
) -> None:
    """Their partitions have a character that no name has."""
    path = f"/v1/projects/{kind}%23{runners.project}/runners"
    for shown in (path, f"{path}/nightly", f"{path}/nightly/token"):
        answer = runners.api.call("GET", shown, by=ada)
        assert (answer.status, answer.reason) == (400, "invalid_name")
