"""Reads of many rows tell found, absent and unread rows apart."""

from collections.abc import Sequence

import pytest
from botocore.exceptions import ClientError

from byline.tables.rows import (
    KEYS_PER_CALL,
    READ_ATTEMPTS,
    WAIT_SECONDS,
    BatchRead,
    Item,
    RowsUnread,
    read_rows,
)
from stand_ins.refusal import Refusal
from tests.tables.conftest import Table, key


def read(table: Table, *names: str, tries: int = READ_ATTEMPTS) -> BatchRead:
    keys = [key(name) for name in names]
    return read_rows(table.client, table.name, keys, tries=tries, sleep=table.sleep)


def names_of(items: Sequence[Item]) -> set[str]:
    return {item["id"]["S"] for item in items}


def left_out(table: Table, *names: str, found: Sequence[Item] = ()) -> Refusal:
    """An answer of DynamoDB that leaves these keys out, for lack of throughput."""
    unprocessed = {table.name: {"Keys": [key(name) for name in names], "ConsistentRead": True}}
    members = {"Responses": {table.name: list(found)}, "UnprocessedKeys": unprocessed}
    return Refusal("", status=200, members=members)


def asked_for(table: Table) -> list[set[str]]:
    """The ids that each call asked for."""
    return [names_of(call.document["RequestItems"][table.name]["Keys"]) for call in table.calls]


def test_row_without_an_item_is_absent_and_not_unread(table: Table) -> None:
    """DynamoDB answered for the key, so the row does not exist."""
    table.put({**key("a"), "n": {"N": "1"}})
    answer = read(table, "a", "b")
    assert answer == BatchRead(items=({**key("a"), "n": {"N": "1"}},), unread=())
    assert answer.complete() == answer.items


def test_no_keys_make_no_call(table: Table) -> None:
    """DynamoDB refuses an empty list of keys."""
    assert read(table) == BatchRead((), ())
    assert table.calls == []


def test_key_that_occurs_twice_is_read_once(table: Table) -> None:
    """DynamoDB refuses a list with duplicate keys."""
    table.put(key("a"))
    assert read(table, "a", "b", "a").items == (key("a"),)
    assert asked_for(table) == [{"a", "b"}]


def test_over_a_hundred_keys_are_read_in_several_calls(table: Table) -> None:
    """Each call asks for at most a hundred keys, and all rows come back."""
    names = [f"{number:03}" for number in range(KEYS_PER_CALL + 1)]
    table.put(*map(key, names))
    assert names_of(read(table, *names).complete()) == set(names)
    assert sorted(map(len, asked_for(table))) == [1, KEYS_PER_CALL]


def test_exactly_a_hundred_keys_are_read_in_one_call(table: Table) -> None:
    """The limit of BatchGetItem is used in full."""
    read(table, *(str(number) for number in range(KEYS_PER_CALL)))
    assert len(table.calls) == 1


def test_keys_left_out_are_read_again_after_a_jittered_wait(table: Table) -> None:
    """Only these keys are asked for again, and each wait may be twice as long as the last."""
    table.put(key("a"), key("b"))
    answers = [left_out(table, "a", found=[key("b")]), left_out(table, "a")]
    table.aws.faults.follow("BatchGetItem", *answers)
    assert names_of(read(table, "a", "b").complete()) == {"a", "b"}
    assert asked_for(table) == [{"a", "b"}, {"a"}, {"a"}]
    first, second = table.waits
    assert 0 <= first <= WAIT_SECONDS
    assert 0 <= second <= 2 * WAIT_SECONDS


def test_key_left_out_at_every_attempt_is_unread_and_not_absent(table: Table) -> None:
    """The other rows are still returned, and `complete` raises instead of leaving a row out."""
    table.put(key("a"), key("b"))
    first = left_out(table, "a", found=[key("b")])
    table.aws.faults.follow("BatchGetItem", first, afterwards=left_out(table, "a"))
    answer = read(table, "a", "b")
    assert answer == BatchRead(items=(key("b"),), unread=(key("a"),))
    assert len(table.calls) == READ_ATTEMPTS
    with pytest.raises(RowsUnread):
        answer.complete()


def test_unread_keys_of_one_call_do_not_stop_the_next(table: Table) -> None:
    """The second hundred keys are read although a key of the first hundred is unread."""
    names = [f"{number:03}" for number in range(KEYS_PER_CALL + 1)]
    table.put(key(names[-1]))
    table.aws.faults.follow("BatchGetItem", left_out(table, names[0]))
    answer = read(table, *names, tries=1)
    assert answer == BatchRead(items=(key(names[-1]),), unread=(key(names[0]),))
    assert table.waits == []


def test_read_is_strongly_consistent_unless_the_caller_saves_half(table: Table) -> None:
    """A row that was just written is found; an eventually consistent read may miss it."""
    read(table, "a")
    read_rows(table.client, table.name, [key("a")], consistent=False)
    requests = [call.document["RequestItems"][table.name] for call in table.calls]
    assert [request["ConsistentRead"] for request in requests] == [True, False]


def test_error_of_dynamodb_passes_through(table: Table) -> None:
    """A refused call is an error, and no row is reported as absent."""
    table.aws.faults.follow("BatchGetItem", Refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        read(table, "a")
