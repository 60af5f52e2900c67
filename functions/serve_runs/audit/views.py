"""An audit record as the API shows it."""

from typing import Any

import msgspec

from byline.identity.caller import read_executed_by, who
from byline.tables.rows import Item, number_of


def record_json(item: Item) -> dict[str, Any]:
    """The record, with every field; null where a fact is unknown."""
    text = {name: value.get("S") for name, value in item.items()}
    actor, person = text.get("actor"), text.get("on_behalf_of")
    return {
        "id": text["entry"],
        "at": text["at"],
        "action": text["action"],
        "project": text["project"],
        "resource": {"type": text["resource_type"], "id": text["resource_id"]},
        "principal": text["principal"],
        "source": text.get("source"),
        "verified": item.get("verified", {}).get("BOOL"),
        "actor": actor and read_executed_by(actor),
        "on_behalf_of": person and read_executed_by(person),
        "who": {
            "actor": who(actor, issuer=_issuer(text["principal"])),
            "on_behalf_of": who(person, issuer=_issuer(text.get("answerable"))),
        },
        "chain": msgspec.json.decode(text.get("chain") or "[]"),
        "request_id": text["request_id"],
        "run": text.get("run"),
        "reason": text.get("reason"),
        "exit_code": number_of(item, "exit_code"),
        "readers": msgspec.json.decode(text.get("readers") or "null"),
        "rights": msgspec.json.decode(text.get("rights") or "null"),
    }


def _issuer(principal: str | None) -> str | None:
    """The issuer of a principal's text, which may be of an unknown kind; None for no text."""
    return (principal or "").partition(":")[2].partition("#")[0] or None
