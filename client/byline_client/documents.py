"""Members of JSON documents from elsewhere."""

from typing import Any


def text_of(document: Any, name: str) -> str:
    """A member that is a text; empty where it is absent or something else."""
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""
