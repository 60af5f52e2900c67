"""Secrets over time: names in use, late reads, waves of new runners, and sweeps."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import replace
from typing import Any

import pytest

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import MintedToken
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


def refreshed(world: World, row: RunnerRow) -> RunnerRow:
    """The runner's row after a time slice, with a token."""
    assert world.worker().refresh(row.work_unit) == "done"
    after = world.row(row.runner)
    assert after is not None
    assert world.token(after)["token"]
    return after


def is_deleted(world: World, runner: str, slot: int) -> bool:
    secret = world.aws.secrets.find(SECRETS.token("payments", runner, slot))
    return secret is None or secret.deletion is not None


# First tokens


def test_first_token_takes_one_call(world: World) -> None:
    """Its secret is created at once, because another call would use the account's writes."""
    refreshed(world, world.register("nightly"))
    assert (world.aws.count("CreateSecret"), world.aws.count("PutSecretValue")) == (1, 0)


def test_refresh_takes_one_write_once_its_secrets_exist(world: World) -> None:
    """The second token creates the second secret; later ones are put."""
    row = refreshed(world, world.register("nightly"))
    for _ in range(3):
        world.clock.advance(600)
        row = refreshed(world, row)
    assert (world.aws.count("CreateSecret", "done"), world.aws.count("PutSecretValue", "done")) == (
        2,
        2,
    )


def test_first_token_is_put_into_an_existing_secret(world: World) -> None:
    """A secret that was created by hand is taken over."""
    for slot in range(2):
        world.aws.secrets.seed(SECRETS.token("payments", "nightly", slot), "made by hand")
    refreshed(world, world.register("nightly"))
    assert_consistent(world, runners=NIGHTLY)


def test_secret_deleted_by_hand_is_created_again(world: World) -> None:
    """Until its name is free the refresh fails, and is retried."""
    row = refreshed(world, world.register("nightly"))
    for slot in range(2):
        name = SECRETS.token("payments", "nightly", slot)
        if world.aws.secrets.find(name):
            world.secrets_manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    world.clock.advance(540)
    worker = world.worker()
    worker.refresh(row.work_unit)
    world.clock.advance(130)
    worker.refresh(row.work_unit)
    assert_consistent(world, runners=NIGHTLY)


def test_many_first_tokens_keep_the_quotas(present: World) -> None:
    """Two workers at the write limit: no call is throttled, and all runners have a token."""
    present.give_client(project="others")
    units = {
        present.register(f"runner-{number}", project=project).work_unit
        for project in ("payments", "others")
        for number in range(50)
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
    world.aws.faults.follow("PutItem", afterwards=ACCESS_DENIED, concerns=_is_commit)
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
    name = SECRETS.token("payments", "nightly", 0)
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
    current = writer.current(name)
    assert current is not None
    assert current.token == "newer"


def _is_commit(call: Any) -> bool:
    return "generation" in call.document["Item"]


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
    assert worker.failed == [("nightly", "store_refused")]
    assert not world.aws.secrets.texts.occur_in(world.rows())


def spoil(world: World, value: str) -> None:
    """Change the value of the only secret of `nightly`, under the same version."""
    (name,) = [name for name in world.aws.secrets.names() if "runners" in name]
    secret = world.aws.secrets.find(name)
    assert secret is not None
    ((version_id, version),) = secret.versions.items()
    spoilt = replace(version, content={"SecretString": value})
    world.aws.secrets.keep(replace(secret, versions={version_id: spoilt}))


# Reading the table


def test_keys_that_dynamodb_leaves_out_are_read_again(world: World) -> None:
    """A throttled table answers some keys and names the rest."""
    rows = [world.register(f"runner-{number}") for number in range(5)]
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
    assert sorted(worker.refreshed) == [row.runner for row in rows]


def test_keys_that_are_always_left_out_stop_no_other(world: World) -> None:
    """They stay due for the next tick."""
    rows = [world.register(f"runner-{number}") for number in range(3)]
    worker = world.worker()

    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        items = parsed["Responses"]["RunnersTable"]
        keys = [{name: item[name] for name in ("project", "runner")} for item in items]
        kept = [key for key in keys if key["runner"]["S"] == "runner-1"]
        items[:] = [item for item in items if item["runner"]["S"] != "runner-1"]
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
    rows = [world.register(f"runner-{number}") for number in range(3)]
    worker = world.worker()

    def spoil_commit(params: dict[str, Any], **_: object) -> None:
        if params["Item"]["runner"] == {"S": "runner-1"} and "generation" in params["Item"]:
            params["ExpressionAttributeValues"][":revision"] = {"S": "of another registration"}

    def spoil_commits(params: dict[str, Any], **_: object) -> None:
        for item in params["TransactItems"]:
            spoil_commit(item["Put"])

    events = worker.clients[0].meta.events
    events.register("provide-client-params.dynamodb.PutItem", spoil_commit)
    events.register("provide-client-params.dynamodb.TransactWriteItems", spoil_commits)
    assert worker.refresh(rows[0].work_unit) == "done"
    assert sorted(worker.refreshed) == ["runner-0", "runner-2"]
    assert world.aws.count("Query") < 6


def test_late_index_causes_no_refresh(world: World) -> None:
    """A row that was refreshed, moved or deleted since is left alone."""
    row = world.register("nightly")
    moved = world.register("moved")
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


def test_deleted_runner_leaves_no_secret(world: World) -> None:
    """The first sweep deletes the secrets of its row, the second all possible ones."""
    row = refreshed(world, world.register("nightly"))
    stray = SECRETS.token("payments", "nightly", MOST_SLOTS - 1)
    world.aws.secrets.seed(
        stray,
        '{"token":"stray-token","token_type":"Bearer","issued_at":"2026-01-01T00:00:00Z",'
        '"expires_at":"2026-01-01T00:15:00Z","generation":1}',
    )
    world.delete(row)
    worker = world.worker()
    worker.refresh(row.work_unit)
    assert all(is_deleted(world, "nightly", slot) for slot in range(2))
    assert not is_deleted(world, "nightly", MOST_SLOTS - 1)
    world.clock.advance(SWEEP_AGAIN_SECONDS - 1)
    worker.refresh(row.work_unit)
    assert not is_deleted(world, "nightly", MOST_SLOTS - 1)
    world.clock.advance(1)
    worker.refresh(row.work_unit)
    assert is_deleted(world, "nightly", MOST_SLOTS - 1)
    (left,) = [item for item in world.rows() if item["project"]["S"] == "deleted#payments"]
    assert not {"shard", "due_at"} & left.keys()


def test_unreadable_secret_is_deleted_with_its_runner(world: World) -> None:
    """Otherwise its sweep would be retried without end."""
    row = refreshed(world, world.register("nightly"))
    spoil(world, "made by hand")
    world.delete(row)
    world.worker().refresh(row.work_unit)
    assert all(is_deleted(world, "nightly", slot) for slot in range(2))


def test_sweep_keeps_the_secrets_of_a_new_runner_of_the_name(world: World) -> None:
    """The new runner overwrites them; deleting them would block the name."""
    row = refreshed(world, world.register("nightly"))
    deleted = world.delete(row)
    world.clock.advance(1)
    world.register("nightly", audience="elsewhere")
    worker = world.worker()
    worker.refresh(deleted.work_unit)
    assert world.aws.count("DeleteSecret") == 0
    anew = world.row("nightly")
    assert anew is not None
    refreshed(world, anew)
    world.clock.advance(SWEEP_AGAIN_SECONDS)
    worker.refresh(deleted.work_unit)
    assert_consistent(world, runners=NIGHTLY)


def test_runner_registered_during_a_sweep_gets_another_token(world: World) -> None:
    """Its token may have been deleted with the old ones."""
    row = refreshed(world, world.register("nightly"))
    deleted = world.delete(row)
    world.clock.advance(1)

    def register_and_refresh() -> None:
        anew = world.register("nightly", audience="elsewhere")
        world.worker().refresh(anew.work_unit)

    world.aws.faults.follow("DeleteSecret", Meanwhile(register_and_refresh))
    world.worker().refresh(deleted.work_unit)
    anew = world.row("nightly")
    assert anew is not None
    assert anew.due_at is not None
    assert anew.due_at <= world.clock(), "its secret was deleted, and it is not due"
    for _ in range(2):
        world.clock.advance(70)
        world.worker().refresh(anew.work_unit)
    assert_consistent(world, runners=NIGHTLY)


def test_cached_token_of_a_new_runner_is_not_revoked(world: World) -> None:
    """The issuer gave the new runner the same token from a cache."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    row = refreshed(world, world.register("nightly"))
    deleted = world.delete(row)
    world.clock.advance(1)
    world.register("nightly")
    world.worker().refresh(deleted.work_unit)
    assert world.issuer.revoked == []


def test_live_runners_are_refreshed_before_sweeps(world: World) -> None:
    """However early the deadlines of the deleted runners were."""
    living = world.register("living")
    for number in range(40):
        world.delete(replace(world.register(f"gone-{number}"), deadline=0))
    worker = world.worker()
    assert worker.refresh(living.work_unit) == "done"
    operations = [call.operation for call in world.aws.calls]
    commit = next(
        number
        for number, call in enumerate(world.aws.calls)
        if call.operation == "PutItem" and "generation" in call.document["Item"]
    )
    assert operations.index("CreateSecret") < commit
    first_sweep = next(
        number
        for number, call in enumerate(world.aws.calls)
        if call.operation == "GetSecretValue" and "gone-" in call.document["SecretId"]
    )
    assert commit < first_sweep
    assert world.aws.count("DeleteSecret", "ThrottlingException") == 0
