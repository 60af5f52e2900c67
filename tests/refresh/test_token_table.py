"""What a worker reads from RunnersTable, and which of its commits count."""

from collections.abc import Iterator
from copy import replace
from dataclasses import fields
from typing import Any

import pytest

from byline.refresh.token_rows import TokenRow
from refresh_tokens.token_table import WRITTEN, TokenTable
from stand_ins.faults import LoseAnswer
from tests.refresh.troubles import prepared
from tests.refresh.world import TABLE, World, new_world

LONG = "x" * 100_000
"""Eleven such rows are more than a page of DynamoDB, which is a megabyte."""

OF_THE_API = {"runners", "asked_at", "asks_since", "asks", "retired_at"}
OF_THE_KEY = {"project", "client", "id", "audience", "resource", "scope", "isolated_for"}


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


def test_all_pages_of_due_tokens_are_read(world: World) -> None:
    """Also past pages of other projects' tokens."""
    row = world.register("nightly")
    for number in range(12):
        other = world.register(f"runner-{number:02}", isolated=True, project="others")
        due_at = row.deadline - 60
        world.put(replace(other, shard=row.shard, due_at=due_at, created_at=LONG))
    worker = world.worker()
    assert worker.refresh(row.work_unit) == "done"
    assert worker.refreshed == ["scheduler"]


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
    assert len(reads) >= 2
    assert all(read["ConsistentRead"] for read in reads)
    operations = [call.operation for call in world.aws.calls]
    assert operations.index("Query") < operations.index("BatchGetItem")
    assert operations.index("BatchGetItem") < operations.index("GetSecretValue")


def test_token_that_is_on_two_pages_of_the_index_is_refreshed_once(world: World) -> None:
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
    assert worker.refreshed == ["scheduler"]


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    "meanwhile", [{"generation": 7}, {"id": "another"}, {"due_at": 1_800_000_000}], ids=str
)
def test_commit_counts_only_for_an_unchanged_row(
    world: World, meanwhile: dict[str, Any], rows: int
) -> None:
    """A row that was refreshed, made anew or made due meanwhile is kept; others are written."""
    names = [f"runner-{number}" for number in range(rows)]
    read, *others = world.register_all(names)
    now = replace(read, **meanwhile)
    world.put(now)
    changes = [(row, replace(row, attempts=3)) for row in (read, *others)]
    assert TokenTable(world.aws.client("dynamodb"), TABLE).commit(changes) == [read]
    assert world.row(names[0]) == now
    assert [world.row(name) for name in names[1:]] == [after for _, after in changes[1:]]


@pytest.mark.parametrize("rows", [1, 2])
def test_commit_keeps_what_the_api_has_changed(world: World, rows: int) -> None:
    """Runners that came while a token was minted are counted, and a request is not forgotten."""
    read = world.register_all(f"runner-{number}" for number in range(rows))
    api: dict[str, Any] = dict.fromkeys(OF_THE_API - {"retired_at"}, 7)
    for row in read:
        world.put(replace(row, **api))
    changes = [(row, replace(row, due_at=row.deadline + 60, slot=1, attempts=0)) for row in read]
    assert TokenTable(world.aws.client("dynamodb"), TABLE).commit(changes) == []
    for number, (_, after) in enumerate(changes):
        assert world.row(f"runner-{number}") == replace(after, **api)


def test_every_attribute_is_written_by_one_of_the_api_and_the_refresher() -> None:
    """A new attribute has an owner, too. Both would overwrite each other's changes."""
    names = {field.name for field in fields(TokenRow)}
    assert names == {*WRITTEN, *OF_THE_API, *OF_THE_KEY, "created_at"}
    assert not OF_THE_API & set(WRITTEN)


def test_commit_whose_answer_was_lost_counts(world: World) -> None:
    """The SDK repeats the call, and meets the row that it has written itself."""
    row = world.register("nightly")
    client = world.aws.client("dynamodb", retries={"total_max_attempts": 2})
    world.aws.faults.follow("UpdateItem", LoseAnswer())
    after = replace(row, generation=row.generation + 1)
    assert TokenTable(client, TABLE).commit([(row, after)]) == []
    assert world.aws.count("UpdateItem", "ConditionalCheckFailedException") == 1
