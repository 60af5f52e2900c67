"""The actions of transactions that change runners and their tokens. No calls are made here.

A change of a runner's pointer is one transaction: the runner's row, and the tokens that it leaves
and enters. So a token exists exactly as long as runners point to it. Each condition compares the
row with the state that was read. Where one fails, the caller reads again.
"""

from typing import TYPE_CHECKING, Any

from byline.refresh.runner_rows import RunnerRow, runner_item
from byline.refresh.token_rows import TokenRow, token_item
from byline.tables.rows import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_CHANGED = ("due_at", "next_try_at", "asked_at", "asks_since", "asks")
"""The attributes of an existing token that the API sets or removes. The refresher has the rest."""

_ABSENT = "attribute_not_exists(runner)"
_ONE: Any = {"N": "1"}


def put_runner(
    table: str, after: RunnerRow, *, before: RunnerRow | None
) -> "TransactWriteItemTypeDef":
    """Put the runner's row, which is absent or as it was read in `before`."""
    if before is None:
        return _put(table, runner_item(after))
    return {
        "Put": {
            "TableName": table,
            "Item": runner_item(after),
            "ConditionExpression": "revision = :revision",
            "ExpressionAttributeValues": {":revision": {"S": before.revision}},
        }
    }


def delete_runner(table: str, item: Item) -> "TransactWriteItemTypeDef":
    """Delete the runner's row if it has the revision of `item`, which may be unreadable."""
    condition, values = _as_read(item, "revision")
    delete: Any = {
        "TableName": table,
        "Key": {name: item[name] for name in ("project", "runner")},
        "ConditionExpression": f"attribute_exists(runner) AND {condition}",
    }
    if values:  # DynamoDB refuses an empty map
        delete["ExpressionAttributeValues"] = values
    return {"Delete": delete}


def write_token(
    table: str, after: TokenRow, *, before: TokenRow | None
) -> "TransactWriteItemTypeDef":
    """Put a new token (`before` is None), or update the attributes of one that differ.

    The number of runners is added to, so that concurrent registrations need no retry.
    """
    if before is None:
        return _put(table, token_item(after))
    values: dict[str, Any] = {":id": {"S": before.id}}
    conditions, steps = ["id = :id"], []
    item, old = token_item(after), token_item(before)
    changed = [name for name in _CHANGED if item.get(name) != old.get(name)]
    if sets := [name for name in changed if name in item]:
        steps.append("SET " + ", ".join(f"{name} = :{name}" for name in sets))
        values |= {f":{name}": item[name] for name in sets}
    if removed := [name for name in changed if name not in item]:
        steps.append("REMOVE " + ", ".join(removed))
    if changed:
        # A refresh that ended meanwhile decides anew, and so does another request for one.
        for name in ("generation", "due_at", "asked_at"):
            condition, value = _as_read(old, name)
            conditions.append(condition)
            values |= value
    if after.runners != before.runners:
        steps.append("ADD runners :joined")
        values[":joined"] = {"N": str(after.runners - before.runners)}
    if after.runners < before.runners:
        conditions.append("runners > :one")
        values[":one"] = _ONE
    return {
        "Update": {
            "TableName": table,
            "Key": before.key,
            "UpdateExpression": " ".join(steps),
            "ConditionExpression": " AND ".join(conditions),
            "ExpressionAttributeValues": values,
        }
    }


def leave_token(
    table: str, after: TokenRow, *, before: TokenRow
) -> "dict[str, TransactWriteItemTypeDef]":
    """Take one runner from a token. With its last runner, its row moves to the retired ones.

    Then its generation and slots must be as read: the retired row names the secrets to delete.
    """
    if after.is_live:
        return {"left token": write_token(table, after, before=before)}
    item = token_item(before)
    conditions, values = ["id = :id", "runners = :one"], {":id": item["id"], ":one": _ONE}
    for name in ("generation", "slots"):
        condition, value = _as_read(item, name)
        conditions.append(condition)
        values |= value
    return {
        "left token": {
            "Delete": {
                "TableName": table,
                "Key": before.key,
                "ConditionExpression": " AND ".join(conditions),
                "ExpressionAttributeValues": values,
            }
        },
        "retired token": _put(table, token_item(after)),
    }


def _put(table: str, item: Item) -> "TransactWriteItemTypeDef":
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": _ABSENT}}


def _as_read(item: Item, name: str) -> tuple[str, Item]:
    """The condition that the attribute `name` is as in `item`, and its value."""
    if name not in item:
        return f"attribute_not_exists({name})", {}
    return f"{name} = :old_{name}", {f":old_{name}": item[name]}
