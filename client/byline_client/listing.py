"""Lists of the service, page by page."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from byline_client.conversation import ServiceCall
from byline_client.errors import ServiceUnavailable

PAGE = 100
"""The longest page of the service."""


def listed(
    ask: Callable[[ServiceCall], Any],
    path: str,
    member: str,
    *,
    most: int,
    query: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """At most `most` entries of a list, each as the service has it. Raises `ClientError`."""
    for document in pages(ask, path, member, most=most, query=query):
        yield from document[member]


def pages(
    ask: Callable[[ServiceCall], Any],
    path: str,
    member: str,
    *,
    most: int,
    query: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """The pages of a list, with at most `most` entries in all. Raises `ClientError`."""
    cursor = None
    while most > 0:
        page = {**(query or {}), "limit": min(most, PAGE), "cursor": cursor}
        document = ask(ServiceCall("GET", path, query=page))
        entries = document.get(member) if isinstance(document, dict) else None
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise ServiceUnavailable(f"The answer of the service has no list of {member}.")
        yield {**document, member: entries[:most]}
        most -= len(entries)
        cursor = document.get("next_cursor")
        if cursor is None:
            return
