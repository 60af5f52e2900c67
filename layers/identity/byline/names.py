"""The one rule for every name that ends up in a host, a path or a secret's name.

What does not follow it is refused, never rewritten: names that are taken as they are cannot meet,
and whoever looks for a secret finds it under the name that was given.
"""

import re
from typing import Annotated

from msgspec import Meta

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$(?!\n)"
"""A DNS label in lower case (RFC 1123, 2.1). Python's `$` alone lets a line feed follow."""

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]

_NAME = re.compile(NAME_PATTERN)
_OTHERS = re.compile(r"[^a-z0-9]+")


def is_name(text: str) -> bool:
    """Whether `text` can be the name of a project, a runner or a client."""
    return _NAME.fullmatch(text) is not None


def naming_rule(text: str, *, of: str) -> str:
    """What to tell whoever sent `text`, which is no name `of` a project, a runner or a client.

    It names the legal name that `text` comes to in lower case and with hyphens, if there is one. To
    choose it is left to people: another text may come to the same.
    """
    rule = f"A {of}'s name has 1 to 63 characters: a-z, 0-9 and inner hyphens."
    nearest = _OTHERS.sub("-", text.lower()).strip("-")
    return f"{rule} `{nearest}` would be one." if is_name(nearest) else rule
