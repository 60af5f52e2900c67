"""What a worker reads from RunnersTable, and which of its commits count."""

from collections.abc import Iterator
from copy import replace
from typing import Any

import pytest

from refresh_tokens.runner_table import RunnerTable
from stand_ins.faults import LoseAnswer
from tests.refresh.troubles import prepared
from tests.refresh.world import TABLE, World, new_world

LONG = "x" * 100_000
"""Eleven such rows are more than a page of DynamoDB, which is a megabyte."""


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


def test_all_pages_of_due_runners_are_read(world: World) -> None:
    """Also past pages of other projects' runners."""
    row = world.register("nightly")
    for number in range(12):
        other = world.register(f"runner-{number:02}", project="others", registered_by=LONG)
        world.put(replace(other, shard=row.shard, due_at=row.deadline - 60))
    worker = world.worker()
    assert worker.refresh(row.work_unit) == "done"
    assert worker.refreshed == ["nightly"]


def test_shared_token_is_found_on_any_page(world: World) -> None:
    """A shared token is not revoked, on whatever page the other runner is."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    last, deleted = world.register("z-last"), world.register("deleted")
    worker = world.worker()
    worker.refresh(last.work_unit)
    for number in range(12):
        world.register(f"a-{number:02}", client="other", registered_by=LONG)
    row = world.row(deleted.runner)
    assert row is not None
    world.delete(row)
    worker.refresh(last.work_unit)
    assert world.aws.count("DeleteSecret", "done") > 0
    assert world.issuer.revoked == []


def test_rows_are_read_consistently_before_a_mint(world: World) -> None:
    """The index may be behind, so its rows are read again first."""
    row = prepared(world)
    world.aws.calls.clear()
    world.worker().refresh(row.work_unit)
    reads: list[dict[str, Any]] = []
    for call in world.aws.calls:
        if call.operation == "BatchGetItem":
            reads += call.document["RequestItems"].values()
        elif call.operation == "GetItem" or (
            call.operation == "Query" and "IndexName" not in call.document
        ):
            reads.append(call.document)
    assert len(reads) > 2
    assert all(read["ConsistentRead"] for read in reads)
    operations = [call.operation for call in world.aws.calls]
    assert operations.index("Query") < operations.index("BatchGetItem")
    assert operations.index("BatchGetItem") < operations.index("GetSecretValue")


def test_runner_that_is_on_two_pages_of_the_index_is_refreshed_once(world: World) -> None:
    """A row that moves along the index while it is read is on both pages."""
    row = world.register("nightly")
    worker = world.worker()
    pages: list[dict[str, Any]] = []

    def repeat(parsed: dict[str, Any], **_: object) -> None:
        if not pages:
            index = {"shard": {"S": row.shard}, "due_at": {"N": str(row.due_at)}}
            parsed["LastEvaluatedKey"] = row.key | index
            pages.append({"Items": parsed["Items"]})
        elif len(pages) == 1:
            pages.append(parsed)
            parsed["Items"] = pages[0]["Items"]

    worker.clients[0].meta.events.register("after-call.dynamodb.Query", repeat)
    assert worker.refresh(row.work_unit) == "done"
    assert len(pages) == 2
    assert worker.refreshed == ["nightly"]


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    "meanwhile", [{"generation": 7}, {"revision": "changed"}, {"due_at": 1_800_000_000}], ids=str
)
def test_commit_counts_only_for_an_unchanged_row(
    world: World, meanwhile: dict[str, Any], rows: int
) -> None:
    """A row that was refreshed, registered or retried meanwhile is kept; others are written."""
    read, *others = [world.register(f"runner-{number}") for number in range(rows)]
    now = replace(read, **meanwhile)
    world.put(now)
    changes = [(row, replace(row, attempts=3)) for row in (read, *others)]
    assert RunnerTable(world.aws.client("dynamodb"), TABLE).commit(changes) == [read]
    assert world.row(read.runner) == now
    assert [world.row(other.runner) for other in others] == [after for _, after in changes[1:]]


def test_commit_whose_answer_was_lost_counts(world: World) -> None:
    """The SDK repeats the call, and meets the row that it has written itself."""
    row = world.register("nightly")
    client = world.aws.client("dynamodb", retries={"total_max_attempts": 2})
    world.aws.faults.follow("PutItem", LoseAnswer())
    after = replace(row, generation=row.generation + 1)
    assert RunnerTable(client, TABLE).commit([(row, after)]) == []
    assert world.aws.count("PutItem", "ConditionalCheckFailedException") == 1
