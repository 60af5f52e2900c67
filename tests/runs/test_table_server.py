"""The tests' DynamoDB refuses a transaction on a row that another transaction is writing."""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from tests.runs.table_server import TABLE, DynamoDb


def put(dynamodb: DynamoDb, run: str) -> Any:
    """A transaction that writes one row; the code of each reason where it is cancelled."""
    client = dynamodb.client
    item = {"project": {"S": "apollo"}, "id": {"S": run}}
    try:
        client.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": item}}])
    except client.exceptions.TransactionCanceledException as error:
        return {reason["Code"] for reason in error.response["CancellationReasons"]}
    return "written"


def test_transaction_conflicts_only_with_one_on_the_same_row(dynamodb: DynamoDb) -> None:
    """Of three concurrent transactions, two on one row, the second on that row is refused."""
    with ThreadPoolExecutor(3) as threads:
        with dynamodb._engine_lock:
            first = [threads.submit(put, dynamodb, run) for run in ("same", "same")]
            other = threads.submit(put, dynamodb, "other")
            [refused], _ = wait(first, timeout=20, return_when="FIRST_COMPLETED")
            assert refused.result() == {"TransactionConflict"}
            assert not other.done()
        assert other.result() == "written"
    assert sorted(str(each.result()) for each in first) == ["written", "{'TransactionConflict'}"]
    assert put(dynamodb, "same") == "written"
