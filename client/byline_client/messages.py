"""The messages of a run, read in order and waited for."""

from collections.abc import Callable, Iterator
from typing import Any

from byline_client.conversation import ServiceCall
from byline_client.documents import object_of
from byline_client.errors import ServiceUnavailable

PAGE = 100
"""The longest page of the service."""

WAIT_SECONDS = 20
"""The longest time that the service waits for a message."""


def read_messages(
    ask: Callable[[ServiceCall], Any], path: str, *, after: str | None, wait: int = 0
) -> Iterator[dict[str, Any]]:
    """The messages at `path` after the one with the id `after`, the oldest first.

    `wait`: the seconds to wait where there is none. Raises `ClientError`.
    """
    while True:
        query = {"after": after, "limit": PAGE, "wait": wait or None}
        document = object_of(ask(ServiceCall("GET", path, query=query)), "list of messages")
        messages = document.get("messages")
        if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
            raise ServiceUnavailable("The answer of the service has no list of messages.")
        yield from messages
        after, before = document.get("next_after"), after
        # An answer may have fewer messages than asked for, because its size is bounded.
        if not messages or after in (None, before):
            return
        wait = 0
