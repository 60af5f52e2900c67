"""Names that are taken, reads that lag, waves and sweeps: what Secrets Manager makes of them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import MintedToken
from byline.refresh.work_units import token_secret_name
from refresh_tokens.sweeper import MOST_SLOTS, SWEEP_AGAIN_SECONDS
from refresh_tokens.token_writer import TokenWriter, WriteLimiter
from stand_ins.faults import Afterwards, Meanwhile
from stand_ins.refusal import ACCESS_DENIED
from tests.refresh.troubles import assert_consistent
from tests.refresh.world import LEASE_SECONDS, World, new_world

NIGHTLY = ("nightly",)


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


def refreshed(world: World, row: RunnerRow) -> RunnerRow:
    """The runner's row after a turn, with a token."""
    assert world.worker().refresh(row.work_unit) == "done"
    after = world.row(row.runner)
    assert after is not None
    assert world.token(after)["token"]
    return after


def is_deleted(world: World, runner: str, slot: int) -> bool:
    secret = world.aws.secrets.find(token_secret_name("payments", runner, slot))
    return secret is None or secret.deletion is not None


# First tokens


def test_first_token_takes_one_write(world: World) -> None:
    """Its secret is not there yet, and asking costs a part of the account's writes."""
    refreshed(world, world.register("nightly"))
    assert (world.aws.count("CreateSecret"), world.aws.count("PutSecretValue")) == (1, 0)


def test_refresh_takes_one_write_once_its_slots_are_there(world: World) -> None:
    """The second token of two slots makes the second secret; from then on there are puts alone."""
    row = refreshed(world, world.register("nightly"))
    for _ in range(3):
        world.clock.advance(600)
        row = refreshed(world, row)
    assert (world.aws.count("CreateSecret", "done"), world.aws.count("PutSecretValue", "done")) == (
        2,
        2,
    )


def test_first_token_into_a_secret_that_is_there_is_put(world: World) -> None:
    """A secret that somebody made by hand is taken over, not stumbled over."""
    for slot in range(2):
        world.aws.secrets.seed(token_secret_name("payments", "nightly", slot), "made by hand")
    refreshed(world, world.register("nightly"))
    assert_consistent(world, runners=NIGHTLY)


def test_secret_that_is_deleted_by_hand_is_made_anew(world: World) -> None:
    """Once its name is free: until then the refresh is refused, and tried again."""
    row = refreshed(world, world.register("nightly"))
    for slot in range(2):
        name = token_secret_name("payments", "nightly", slot)
        if world.aws.secrets.find(name):
            world.secrets_manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    world.clock.advance(540)
    worker = world.worker()
    worker.refresh(row.work_unit)
    world.clock.advance(130)
    worker.refresh(row.work_unit)
    assert_consistent(world, runners=NIGHTLY)


def test_wave_of_first_tokens_keeps_the_quotas(present: World) -> None:
    """Two workers at the planned pace: nobody is throttled, and all have their tokens."""
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


# What was put before


def test_token_that_was_put_long_ago_is_committed_and_replaced_at_once(world: World) -> None:
    """A worker put and died, and nobody came for half an hour: its token is dead by now."""
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


def test_writer_that_comes_late_finds_its_own_version_not_the_newest(world: World) -> None:
    """What it commits must tell of the generation that it stands for: first writer wins."""
    limiter = WriteLimiter(1_000, now=time.monotonic, sleep=time.sleep)
    writer = TokenWriter(world.aws.client("secretsmanager"), limiter=limiter)
    name = token_secret_name("payments", "nightly", 0)
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
def test_version_that_nobody_can_read_is_left_alone(world: World, value: str) -> None:
    """Whoever wrote that under our version's id: it is refused, and its text told to nobody."""
    row = world.register("nightly")
    put = world.worker()
    put.refresh(row.work_unit)
    spoil(world, value)
    world.put(row)
    worker = world.worker()
    worker.refresh(row.work_unit)
    assert worker.postponed == [("nightly", "store_refused")]
    assert not world.aws.secrets.texts.occur_in(world.rows())


def spoil(world: World, value: str) -> None:
    """Change what the only secret of `nightly` holds, under the same version."""
    (name,) = [name for name in world.aws.secrets.names() if "runners" in name]
    secret = world.aws.secrets.find(name)
    assert secret is not None
    ((version_id, version),) = secret.versions.items()
    spoilt = replace(version, content={"SecretString": value})
    world.aws.secrets.keep(replace(secret, versions={version_id: spoilt}))


# Reading the table


def test_keys_that_a_busy_table_leaves_out_are_read_again(world: World) -> None:
    """DynamoDB answers what it could read, and names the rest."""
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


def test_keys_that_are_always_left_out_do_not_hold_the_worker(world: World) -> None:
    """They stay due for the next tick; the others are refreshed."""
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


def test_row_that_cannot_be_moved_does_not_hold_the_worker(world: World) -> None:
    """A row whose commit never holds is tried once a turn, not until the time is over."""
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


def test_index_that_is_behind_is_not_believed(world: World) -> None:
    """What was refreshed, moved or deleted since the index saw it is left alone."""
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


def test_deleted_runner_leaves_no_secret_and_its_row_says_so(world: World) -> None:
    """At once what its row tells of, later all that there can be."""
    row = refreshed(world, world.register("nightly"))
    stray = token_secret_name("payments", "nightly", MOST_SLOTS - 1)
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


def test_secret_that_nobody_can_read_goes_with_its_runner(world: World) -> None:
    """Otherwise its sweep would be tried for ever."""
    row = refreshed(world, world.register("nightly"))
    spoil(world, "made by hand")
    world.delete(row)
    world.worker().refresh(row.work_unit)
    assert all(is_deleted(world, "nightly", slot) for slot in range(2))


def test_sweep_leaves_the_secrets_of_a_runner_of_the_same_name(world: World) -> None:
    """Registered anew, it writes over them; deleting them would block its name."""
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


def test_runner_registered_while_its_predecessor_is_swept_gets_another_token(world: World) -> None:
    """One that went with the old ones is replaced, as soon as the name can be used again."""
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
    assert anew.due_at <= world.clock(), "its secret is gone, and nobody knows"
    for _ in range(2):
        world.clock.advance(70)
        world.worker().refresh(anew.work_unit)
    assert_consistent(world, runners=NIGHTLY)


def test_token_of_a_runner_registered_anew_is_not_revoked(world: World) -> None:
    """An issuer that hands out cached tokens has given the new one the same."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    row = refreshed(world, world.register("nightly"))
    deleted = world.delete(row)
    world.clock.advance(1)
    world.register("nightly")
    world.worker().refresh(deleted.work_unit)
    assert world.issuer.revoked == []


def test_sweep_of_many_lets_the_living_go_first(world: World) -> None:
    """However urgent the tokens of the deleted runners were."""
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
