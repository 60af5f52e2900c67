"""What a request about messages may say, checked on the way in.

The shapes here are the API's: `docs/openapi.json` is generated from them.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from byline.names import RunId
from serve_runs.web.problems import Problem

MAX_CONTENT_BYTES = 32_768
"""Of `content` as JSON. With what stands around it a row stays far below DynamoDB's 400 KB."""

MAX_LEVELS = 32
"""How deep `content` may be nested: a reader's parser has to get through it too."""

MAX_WAIT_SECONDS = 20

Role = Literal["user", "runner"]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_CONTENT_BYTES)]


class PostMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message to post. `role`: as whom; only the run's own runner may speak as `runner`, and it
    may not speak as `user`. Who posts it is never in the body: it follows from the credential.
    """

    role: Role
    content: Text | dict[str, Any]


class ListMessages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages, from the query. `wait`: how many seconds to wait for one where there is
    none."""

    after: RunId | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    wait: Annotated[int, Meta(ge=0, le=MAX_WAIT_SECONDS)] = 0


def content_text(message: PostMessage) -> str:
    """The content as JSON, as it is stored. Raises `Problem` 400."""
    if _levels(message.content, most=MAX_LEVELS) > MAX_LEVELS:
        raise Problem(400, "invalid_body", f"`content` has at most {MAX_LEVELS} levels.")
    encoded = msgspec.json.encode(message.content)
    if len(encoded) > MAX_CONTENT_BYTES:
        raise Problem(400, "invalid_body", f"`content` has at most {MAX_CONTENT_BYTES} bytes.")
    return encoded.decode()


def _levels(value: Any, *, most: int) -> int:
    """How deep `value` is nested, counted up to one more than `most`."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    if most == 0:
        return 1
    return 1 + max((_levels(each, most=most - 1) for each in inner), default=0)
