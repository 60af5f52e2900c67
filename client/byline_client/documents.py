"""Members of JSON documents from elsewhere."""

from typing import Any

from byline_client.errors import ServiceUnavailable


def object_of(document: Any, what: str, *needed: str) -> dict[str, Any]:
    """An answer that is a JSON object with the texts `needed`.

    Raises `ServiceUnavailable` for anything else; `what` says in words what it should be.
    """
    if not isinstance(document, dict) or not all(text_of(document, each) for each in needed):
        raise ServiceUnavailable(f"The answer of the service is no {what}.")
    return document


def member_of(document: Any, *names: str) -> Any:
    """A member of members; None where one of them is absent."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def text_of(document: Any, name: str) -> str:
    """A member that is a text; empty where it is absent or something else."""
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""
