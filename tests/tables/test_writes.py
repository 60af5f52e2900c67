"""Conditional writes retry conflicts, name failed conditions, and may safely be repeated."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from byline.aws import is_passing
from byline.tables.rows import (
    WAIT_SECONDS,
    WRITE_ATTEMPTS,
    ConditionFailed,
    Contended,
    Item,
    Refused,
    write_row,
    write_together,
)
from stand_ins.faults import LoseAnswer
from stand_ins.refusal import RATE_EXCEEDED, Refusal, transaction_cancelled
from tests.tables.conftest import Table, key

CONFLICT = transaction_cancelled("TransactionConflict", "None")
ROW_CONFLICT = Refusal("TransactionConflictException", "Transaction is ongoing for the item")


def create(table: Table, item: Item, *, show: bool = False) -> Any:
    """A put of a row that must not exist; `show` asks for the row that does."""
    put: dict[str, Any] = {
        "TableName": table.name,
        "Item": item,
        "ConditionExpression": "attribute_not_exists(id)",
    }
    return {"Put": put | ({"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if show else {})}


def create_both(table: Table, *, show: bool = False) -> Refused:
    """Create the rows `a` and `b` together."""
    actions = {name: create(table, key(name), show=show) for name in ("a", "b")}
    return write_together(table.client, actions, sleep=table.sleep)


def assert_waits(table: Table, number: int) -> None:
    """So many waits, each with up to twice the length of the one before."""
    assert len(table.waits) == number
    limits = [WAIT_SECONDS * 2**retry for retry in range(number)]
    assert all(0 <= wait <= limit for wait, limit in zip(table.waits, limits, strict=True))


class TestTogether:
    """Several rows in one transaction."""

    def test_all_actions_are_carried_out(self, table: Table) -> None:
        """An empty result means that every row was written, in one call."""
        assert create_both(table) == {}
        assert (table.get("a"), table.get("b")) == (key("a"), key("b"))
        assert len(table.calls) == 1

    def test_failed_condition_is_named_and_nothing_is_written(self, table: Table) -> None:
        """The result has the name of the refused action and the row that DynamoDB found."""
        found: Item = {**key("b"), "owner": {"S": "grace"}}
        table.put(found)
        assert create_both(table, show=True) == {"b": found}
        assert table.get("a") is None
        assert (len(table.calls), table.waits) == (1, [])

    def test_refused_action_that_asks_for_no_row_has_an_empty_one(self, table: Table) -> None:
        """The name alone tells that the condition did not hold."""
        table.put(key("a"), key("b"))
        assert create_both(table) == {"a": {}, "b": {}}

    @pytest.mark.parametrize(
        "reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]
    )
    def test_passing_reason_is_retried_after_a_jittered_wait(
        self, table: Table, reason: str
    ) -> None:
        """The transaction succeeds in a later attempt, and the caller does not notice."""
        cancelled = transaction_cancelled("None", reason)
        table.aws.faults.follow("TransactWriteItems", cancelled, cancelled)
        assert create_both(table) == {}
        assert len(table.calls) == 3
        assert_waits(table, 2)

    def test_failed_condition_beside_a_conflict_is_not_retried(self, table: Table) -> None:
        """A retry would meet the same row, so the refusal is reported at once."""
        cancelled = transaction_cancelled("TransactionConflict", "ConditionalCheckFailed")
        table.aws.faults.follow("TransactWriteItems", cancelled)
        assert create_both(table) == {"b": {}}
        assert len(table.calls) == 1

    def test_lasting_conflict_is_contended(self, table: Table) -> None:
        """After the last attempt the error says that nothing was written."""
        table.aws.faults.follow("TransactWriteItems", afterwards=CONFLICT)
        with pytest.raises(Contended):
            create_both(table)
        assert len(table.calls) == WRITE_ATTEMPTS
        assert_waits(table, WRITE_ATTEMPTS - 1)
        assert table.get("a") is None

    def test_conflict_before_the_last_attempt_is_no_error(self, table: Table) -> None:
        """The last attempt counts like any other."""
        conflicts = [CONFLICT] * (WRITE_ATTEMPTS - 1)
        table.aws.faults.follow("TransactWriteItems", *conflicts)
        assert create_both(table) == {}

    def test_other_reason_is_raised_and_not_retried(self, table: Table) -> None:
        """An item that is too large, for example, is too large at the next attempt as well."""
        table.aws.faults.follow("TransactWriteItems", transaction_cancelled("ValidationError"))
        with pytest.raises(table.client.exceptions.TransactionCanceledException):
            create_both(table)
        assert len(table.calls) == 1

    def test_throttled_call_passes_through_as_an_error_that_may_pass(self, table: Table) -> None:
        """botocore has retried it, and the caller answers 503."""
        table.aws.faults.follow("TransactWriteItems", afterwards=RATE_EXCEEDED)
        with pytest.raises(ClientError) as error:
            create_both(table)
        assert is_passing(error.value)

    def test_lost_answer_is_recognised_as_ones_own(self, table: Table) -> None:
        """The repeated call has the same token, so its conditions do not meet its own rows."""
        table.aws.faults.follow("TransactWriteItems", LoseAnswer())
        assert create_both(table) == {}
        assert len(table.calls) == 2
        assert len({call.document["ClientRequestToken"] for call in table.calls}) == 1
        assert table.waits == []


class TestOneRow:
    """A single conditional put, update or delete."""

    def write(self, table: Table, **put: Any) -> Any:
        request = {**create(table, key("a"))["Put"], **put}
        return write_row(table.client, lambda: table.client.put_item(**request), sleep=table.sleep)

    def test_answer_of_the_write_is_returned(self, table: Table) -> None:
        """The caller reads the old or new row from it."""
        table.put({**key("a"), "n": {"N": "1"}})
        answer = self.write(
            table, ConditionExpression="attribute_exists(id)", ReturnValues="ALL_OLD"
        )
        assert answer["Attributes"] == {**key("a"), "n": {"N": "1"}}

    def test_failed_condition_is_raised_and_not_retried(self, table: Table) -> None:
        """The row stays as it was."""
        table.put({**key("a"), "n": {"N": "1"}})
        with pytest.raises(ConditionFailed):
            self.write(table)
        assert table.get("a") == {**key("a"), "n": {"N": "1"}}
        assert (len(table.calls), table.waits) == (1, [])

    def test_conflict_with_a_transaction_is_retried(self, table: Table) -> None:
        """A transaction on the same row ends within milliseconds."""
        table.aws.faults.follow("PutItem", ROW_CONFLICT)
        self.write(table)
        assert table.get("a") == key("a")
        assert_waits(table, 1)

    def test_lasting_conflict_is_contended(self, table: Table) -> None:
        """After the last attempt the error says that nothing was written."""
        table.aws.faults.follow("PutItem", afterwards=ROW_CONFLICT)
        with pytest.raises(Contended):
            self.write(table)
        assert table.get("a") is None
        assert_waits(table, WRITE_ATTEMPTS - 1)

    def test_lost_answer_succeeds_where_the_condition_accepts_ones_own_row(
        self, table: Table
    ) -> None:
        """botocore repeats the call, whose condition then meets the row that it wrote."""
        table.aws.faults.follow("PutItem", LoseAnswer())
        own = {
            "Item": {**key("a"), "writer": {"S": "me"}},
            "ConditionExpression": "attribute_not_exists(id) OR writer = :me",
            "ExpressionAttributeValues": {":me": {"S": "me"}},
        }
        self.write(table, **own)
        assert table.aws.count("PutItem", "done") == 2

    def test_lost_answer_looks_like_a_failed_condition_otherwise(self, table: Table) -> None:
        """A caller with such a condition must compare the row after `ConditionFailed`."""
        table.aws.faults.follow("PutItem", LoseAnswer())
        with pytest.raises(ConditionFailed):
            self.write(table)
        assert table.get("a") == key("a")

    def test_other_error_passes_through(self, table: Table) -> None:
        """An error of DynamoDB is not taken for a failed condition."""
        table.aws.faults.follow("PutItem", Refusal("AccessDeniedException"))
        with pytest.raises(ClientError, match="AccessDenied"):
            self.write(table)
