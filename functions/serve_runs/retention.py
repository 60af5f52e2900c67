"""How long rows are kept: DynamoDB deletes a row some time after its `expires_at`, at no cost.

A row without it is kept for ever. Deletion usually takes a few days, so readers of runs treat an
expired row as absent.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
"""

from typing import TYPE_CHECKING

from byline.tables.rows import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

EXPIRES_AT = "expires_at"

NOT_EXPIRED = f"(attribute_not_exists({EXPIRES_AT}) OR {EXPIRES_AT} > :now)"
"""The condition that a row has not expired at the time `:now`."""

_DAY_SECONDS = 86_400


def expiry(days: int, *, now: float) -> Item:
    """The attribute of a row that is kept for `days` from `now` on; empty for 0, for ever."""
    return {EXPIRES_AT: seconds(now + days * _DAY_SECONDS)} if days else {}


def is_expired(item: Item, *, now: float) -> bool:
    """Whether a row is absent for its readers, though DynamoDB may not have deleted it yet."""
    return EXPIRES_AT in item and int(item[EXPIRES_AT]["N"]) <= now


def seconds(at: float) -> "AttributeValueTypeDef":
    """The time `at` as an attribute, whole seconds since the epoch."""
    return {"N": str(int(at))}
