"""A message as a row of `RunsTable`, and as the API shows it."""

from typing import Any

import msgspec
from ulid import ULID

from byline.identity.caller import read_executed_by, who
from byline.tables.rows import Item, text_of

GAP_SECONDS = 60
"""The age of a message after which a missing predecessor has expired, and is no longer awaited."""

LAST = "-"
"""The sort key of the row with a run's last message id. It sorts before every message."""


def message_json(item: Item) -> dict[str, Any]:
    """A message as the API shows it, with every field; null where a fact is unknown."""
    author, person = (item.get(name, {}).get("S") for name in ("author", "on_behalf_of"))
    issuer = text_of(item, "author_issuer")
    return {
        "id": item["id"]["S"],
        "role": item["role"]["S"],
        "content": msgspec.Raw(item["content"]["S"].encode()),
        "created_at": item["created_at"]["S"],
        "author": author and read_executed_by(author),
        "on_behalf_of": person and read_executed_by(person),
        "who": {
            "author": who(author, issuer=issuer),
            "on_behalf_of": who(person, issuer=text_of(item, "person_issuer") or issuer),
        },
    }


def next_id(last: str | None, *, at: float) -> str:
    """A ULID of the time `at`; where it is not greater than `last`, the ULID after `last`."""
    new = ULID.from_timestamp(at)
    if last is None or str(new) > last:
        return str(new)
    return str(ULID.from_int(int(ULID.from_str(last)) + 1))


def before_a_gap(items: list[Item], *, after: str, now: float) -> list[Item]:
    """The messages up to the first one whose predecessor is not visible yet."""
    seen = after
    for count, item in enumerate(items):
        message = item["id"]["S"]
        is_young = now - ULID.from_str(message).timestamp < GAP_SECONDS
        if is_young and item.get("previous", {}).get("S", "") > seen:
            return items[:count]
        seen = message
    return items


def partition(project: str, run_id: str) -> str:
    """The partition of a run's messages. Names have no `#`, so no two runs share one."""
    return f"messages#{project}#{run_id}"
