"""The sample events of `events/`, and their callers."""

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
    """The document in the file with this name."""
    document: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return document


def names() -> list[str]:
    """The names of all sample requests."""
    return sorted(name for name, _ in requests())
