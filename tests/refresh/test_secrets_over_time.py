"""Secrets over time: late reads, waves of new tokens, and sweeps."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import replace
from typing import Any

import pytest

from byline.refresh.timing import MintedToken
from byline.refresh.token_rows import TokenRow
from refresh_tokens.sweeper import MOST_SLOTS, SWEEP_AGAIN_SECONDS
from refresh_tokens.token_writer import TokenWriter, WriteLimiter
from stand_ins.faults import Afterwards, Meanwhile
from stand_ins.refusal import ACCESS_DENIED
from tests.refresh.troubles import assert_consistent
from tests.refresh.world import LEASE_SECONDS, SECRETS, World, new_world

NIGHTLY = ("nightly",)


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


def refreshed(world: World, row: TokenRow) -> TokenRow:
    """The row after a time slice, with a token."""
    assert world.worker().refresh(row.work_unit) == "done"
    after = world.live(row.key)
    assert after is not None
    assert world.token(after)["token"]
    return after


# First generations


def test_first_generation_takes_one_call(world: World) -> None:
    """Its secret is created at once, because another call would use the account's writes."""
    refreshed(world, world.register("nightly"))
    assert (world.aws.count("CreateSecret"), world.aws.count("PutSecretValue")) == (1, 0)


def test_refresh_takes_one_write_once_its_secrets_exist(world: World) -> None:
    """The second generation creates the second secret; later ones are put."""
    row = refreshed(world, world.register("nightly"))
    for _ in range(3):
        world.clock.advance(600)
        row = refreshed(world, row)
    assert (world.aws.count("CreateSecret", "done"), world.aws.count("PutSecretValue", "done")) == (
        2,
        2,
    )


def test_first_generation_is_put_into_an_existing_secret(world: World) -> None:
    """A secret that was created by hand is taken over."""
    row = world.register("nightly")
    for slot in range(2):
        world.aws.secrets.seed(world.secret(row, slot), "made by hand")
    refreshed(world, row)
    assert_consistent(world, runners=NIGHTLY)


def test_secret_deleted_by_hand_is_created_again(world: World) -> None:
    """Until its name is free the refresh fails, and is retried."""
    row = refreshed(world, world.register("nightly"))
    for slot in range(2):
        name = world.secret(row, slot)
        if world.aws.secrets.find(name):
            world.secrets_manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    world.clock.advance(540)
    worker = world.worker()
    worker.refresh(row.work_unit)
    world.clock.advance(130)
    worker.refresh(row.work_unit)
    assert_consistent(world, runners=NIGHTLY)


def test_many_new_tokens_keep_the_quotas(present: World) -> None:
    """Two workers at the write limit: no call is throttled, and all tokens are minted."""
    present.give_client(project="others")
    names = [f"runner-{number}" for number in range(50)]
    units = {
        present.register_all(names, project=project)[0].work_unit
        for project in ("payments", "others")
    }
    workers = [
        present.worker(pace=WriteLimiter(20, now=time.monotonic, sleep=time.sleep)) for _ in units
    ]
    with ThreadPoolExecutor(2) as processes:
        outcomes = list(processes.map(lambda worker, unit: worker.refresh(unit), workers, units))
    assert outcomes == ["done", "done"]
    assert [len(worker.refreshed) for worker in workers] == [50, 50]
    assert present.aws.count("CreateSecret") == present.aws.count("CreateSecret", "done") == 100


# Tokens that were written before


def test_token_written_long_ago_is_committed_and_replaced(world: World) -> None:
    """A worker wrote it and crashed half an hour ago, so it has expired."""
    row = world.register("nightly")
    world.aws.faults.follow("UpdateItem", afterwards=ACCESS_DENIED)
    with pytest.raises(Exception, match="AccessDenied"):
        world.worker().refresh(row.work_unit)
    world.aws.faults.clear()
    world.clock.advance(1_800)
    assert world.worker().refresh(row.work_unit) == "done"
    after = world.row("nightly")
    assert after is not None
    assert after.generation == row.generation + 2
    assert_consistent(world, runners=NIGHTLY)


def test_late_writer_finds_the_version_of_its_own_generation(world: World) -> None:
    """It commits that version's times, and not those of the newest version."""
    limiter = WriteLimiter(1_000, now=time.monotonic, sleep=time.sleep)
    client = world.aws.client("secretsmanager")
    writer = TokenWriter(client, names=SECRETS, limiter=limiter, kms_key="")
    name = SECRETS.token("payments", "scheduler", "token-1", 0)
    now = int(world.clock())
    first, newer, late = (
        MintedToken(text=text, issued_at=now + age, lifetime=900)
        for text, age in (("first", 0), ("newer", 30), ("late", 60))
    )
    assert writer.write(name, first, generation=2).token == "first"
    assert writer.write(name, newer, generation=3).token == "newer"
    found = writer.write(name, late, generation=2)
    assert (found.token, found.generation) == ("first", 2)
    assert found.expires_at.timestamp() == first.expires_at
    assert world.current(name)["token"] == "newer"


@pytest.mark.parametrize("value", ["no JSON", '{"token": 5}', '{"token": "t0ken"}'])
def test_unreadable_version_is_kept_and_not_quoted(world: World, value: str) -> None:
    """The refresh fails, and the version's text is in no log."""
    row = world.register("nightly")
    put = world.worker()
    put.refresh(row.work_unit)
    spoil(world, value)
    world.put(row)
    worker = world.worker()
    worker.refresh(row.work_unit)
    assert worker.failed == [("scheduler", "store_refused")]
    assert not world.aws.secrets.texts.occur_in(world.rows())


def spoil(world: World, value: str) -> None:
    """Change the value of the only token's secret, under the same version."""
    (name,) = [name for name in world.aws.secrets.names() if "/tokens/" in name]
    secret = world.aws.secrets.find(name)
    assert secret is not None
    ((version_id, version),) = secret.versions.items()
    spoilt = replace(version, content={"SecretString": value})
    world.aws.secrets.keep(replace(secret, versions={version_id: spoilt}))


# Reading the table


def test_keys_that_dynamodb_leaves_out_are_read_again(world: World) -> None:
    """A throttled table answers some keys and names the rest."""
    rows = world.register_all(f"runner-{number}" for number in range(5))
    worker = world.worker()
    left_out: list[int] = []

    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        items = parsed.get("Responses", {}).get("RunnersTable", [])
        if len(left_out) < 3 and len(items) > 1:
            left_out.append(len(items))
            keys = [{name: item[name] for name in ("project", "runner")} for item in items[1:]]
            parsed["UnprocessedKeys"] = {"RunnersTable": {"Keys": keys, "ConsistentRead": True}}
            del items[1:]

    worker.clients[0].meta.events.register("after-call.dynamodb.BatchGetItem", leave_out)
    assert worker.refresh(rows[0].work_unit) == "done"
    assert left_out == [5, 4, 3]
    assert sorted(worker.refreshed) == [f"runner-{number}" for number in range(5)]


def test_keys_that_are_always_left_out_stop_no_other(world: World) -> None:
    """They stay due for the next tick."""
    rows = world.register_all(f"runner-{number}" for number in range(3))
    worker = world.worker()

    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        items = parsed["Responses"]["RunnersTable"]
        keys = [{name: item[name] for name in ("project", "runner")} for item in items]
        kept = [key for key in keys if key == rows[1].key]
        items[:] = [item for item in items if item["runner"] != rows[1].key["runner"]]
        if kept:
            parsed["UnprocessedKeys"] = {"RunnersTable": {"Keys": kept, "ConsistentRead": True}}

    worker.clients[0].meta.events.register("after-call.dynamodb.BatchGetItem", leave_out)
    assert worker.refresh(rows[0].work_unit) == "done"
    assert sorted(worker.refreshed) == ["runner-0", "runner-2"]
    assert world.aws.count("BatchGetItem") < 20
    assert world.worker().refresh(rows[0].work_unit) == "done"
    assert_consistent(world, runners=("runner-0", "runner-1", "runner-2"))


def test_row_that_cannot_be_committed_is_tried_once(world: World) -> None:
    """It is not tried again until the time is over."""
    rows = world.register_all(f"runner-{number}" for number in range(3))
    worker = world.worker()

    def spoil_commit(params: dict[str, Any], **_: object) -> None:
        if params["Key"] == rows[1].key:
            params["ExpressionAttributeValues"][":id"] = {"S": "of another token"}

    def spoil_commits(params: dict[str, Any], **_: object) -> None:
        for item in params["TransactItems"]:
            spoil_commit(item["Update"])

    events = worker.clients[0].meta.events
    events.register("provide-client-params.dynamodb.UpdateItem", spoil_commit)
    events.register("provide-client-params.dynamodb.TransactWriteItems", spoil_commits)
    assert worker.refresh(rows[0].work_unit) == "done"
    assert sorted(worker.refreshed) == ["runner-0", "runner-2"]
    assert world.aws.count("Query") < 6


def test_late_index_causes_no_refresh(world: World) -> None:
    """A row that was refreshed, moved or retired since is left alone."""
    row = world.register("nightly")
    moved = world.register("moved", isolated=True)
    late = world.worker()

    def meanwhile() -> None:
        world.worker().refresh(row.work_unit)
        world.dynamodb.delete_item(TableName="RunnersTable", Key=row.key)
        other = "00" if moved.shard != "00" else "01"
        world.put(replace(moved, shard=other))

    world.aws.faults.follow("Query", Afterwards(meanwhile))
    world.clock.advance(LEASE_SECONDS)
    assert late.refresh(row.work_unit) in {"done", "held"}
    assert late.refreshed == []
    assert world.row("nightly") is None


# Sweeps


def test_retired_token_leaves_no_secret(world: World) -> None:
    """The first sweep deletes the secrets of its row, the second all possible ones."""
    row = refreshed(world, world.register("nightly"))
    world.aws.secrets.seed(
        world.secret(row, MOST_SLOTS - 1),
        '{"token":"stray-token","token_type":"Bearer","issued_at":"2026-01-01T00:00:00Z",'
        '"expires_at":"2026-01-01T00:15:00Z","generation":1}',
    )
    world.delete("nightly")
    worker = world.worker()
    worker.refresh(row.work_unit)
    assert all(world.is_deleted(row, slot) for slot in range(2))
    assert not world.is_deleted(row, MOST_SLOTS - 1)
    world.clock.advance(SWEEP_AGAIN_SECONDS - 1)
    worker.refresh(row.work_unit)
    assert not world.is_deleted(row, MOST_SLOTS - 1)
    world.clock.advance(1)
    worker.refresh(row.work_unit)
    assert world.is_deleted(row, MOST_SLOTS - 1)
    (left,) = world.retired()
    assert not {"shard", "due_at"} & left.keys()


def test_unreadable_secret_is_deleted_with_its_token(world: World) -> None:
    """Otherwise its sweep would be retried without end."""
    row = refreshed(world, world.register("nightly"))
    spoil(world, "made by hand")
    world.delete("nightly")
    world.worker().refresh(row.work_unit)
    assert all(world.is_deleted(row, slot) for slot in range(2))


def test_runner_registered_during_a_sweep_gets_another_token(world: World) -> None:
    """Its secrets have other names, so the sweep does not touch them."""
    row = refreshed(world, world.register("nightly"))
    world.delete("nightly")

    def register_and_refresh() -> None:
        world.clock.advance(LEASE_SECONDS)
        world.worker().refresh(world.register("nightly").work_unit)

    world.aws.faults.follow("DeleteSecret", Meanwhile(register_and_refresh))
    world.worker().refresh(row.work_unit)
    assert all(world.is_deleted(row, slot) for slot in range(2))
    assert_consistent(world, runners=NIGHTLY)


def test_live_tokens_are_refreshed_before_sweeps(world: World) -> None:
    """However early the deadlines of the retired tokens were."""
    gone = [f"gone-{number}" for number in range(40)]
    for row in world.register_all(gone):
        world.put(replace(row, deadline=0))
    for name in gone:
        world.delete(name)
    living = world.register("living")
    worker = world.worker()
    assert worker.refresh(living.work_unit) == "done"
    calls = list(enumerate(world.aws.calls))
    commit = next(at for at, call in calls if call.operation == "UpdateItem")
    sweep = next(
        at
        for at, call in calls
        if call.operation == "GetSecretValue" and "/tokens/" in call.document["SecretId"]
    )
    operations = [call.operation for _, call in calls]
    assert operations.index("CreateSecret") < commit < sweep
    assert world.aws.count("DeleteSecret", "ThrottlingException") == 0
