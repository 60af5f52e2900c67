"""The bodies and queries of messages; docs/openapi.json is generated from them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from byline.names import RunId
from serve_runs.errors import RequestFailed

MAX_CONTENT_BYTES = 32_768
"""The longest `content` as JSON. A row with it stays far below DynamoDB's limit of 400 KB."""

MAX_LEVELS = 32
"""The deepest nesting of `content`, so that readers' JSON parsers accept it too."""

MAX_WAIT_SECONDS = 20

MessageRole = Literal["user", "runner"]
ContentText = Annotated[str, Meta(min_length=1, max_length=MAX_CONTENT_BYTES)]


class PostMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message to post. `role`: only the run's own runner may post as `runner`, and it may not
    post as `user`. The author is never in the body: it follows from the credential."""

    role: MessageRole
    content: ContentText | dict[str, Any]


class ListMessages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The messages to list, from the query. `wait`: the seconds to wait where no message exists."""

    after: RunId | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    wait: Annotated[int, Meta(ge=0, le=MAX_WAIT_SECONDS)] = 0


def content_text(message: PostMessage) -> str:
    """The content as JSON, as it is stored. Raises `RequestFailed` (`invalid_body`)."""
    if _levels(message.content, most=MAX_LEVELS) > MAX_LEVELS:
        raise RequestFailed("invalid_body", f"`content` has at most {MAX_LEVELS} levels.")
    encoded = msgspec.json.encode(message.content)
    if len(encoded) > MAX_CONTENT_BYTES:
        raise RequestFailed("invalid_body", f"`content` has at most {MAX_CONTENT_BYTES} bytes.")
    return encoded.decode()


def sorted_text(message: PostMessage) -> str:
    """The content as JSON with sorted members, to compare it with another one."""
    return msgspec.json.encode(message.content, order="sorted").decode()


def _levels(value: Any, *, most: int) -> int:
    """The levels of nesting of `value`, counted up to one more than `most`."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    if most == 0:
        return 1
    return 1 + max((_levels(each, most=most - 1) for each in inner), default=0)
