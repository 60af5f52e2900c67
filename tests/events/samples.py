"""The sample events as they are in `events/`, and who is in them."""

import json
from typing import Any

from tools.make_events import EVENTS, requests

ADA = {
    "user": {
        "id": {"subject": "user-1815"},
        "spec": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
    }
}
GRACE = {
    "user": {
        "id": {"subject": "user-1906"},
        "spec": {"firstName": "Grace", "lastName": "Hopper"},
    }
}
NIGHTLY_TRAIN = {
    "application": {"id": {"subject": "nightly-train"}, "spec": {"name": "nightly-train"}}
}


def event(name: str) -> dict[str, Any]:
    """The document in the file of that name."""
    document: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return document


def names() -> list[str]:
    """Of all requests."""
    return sorted(name for name, _ in requests())
