"""The rules for names of projects, runners and clients, and for the ids of runs.

Names end up in hosts, paths and names of secrets. A name that breaks the rule is refused and never
rewritten. So two different names cannot become the same one, and a secret is found under the name
that was given.
"""

import re
from typing import Annotated

from msgspec import Meta

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$(?!\n)"
"""A DNS label in lower case (RFC 1123, 2.1). Python's `$` alone lets a line feed follow."""

RUN_ID_PATTERN = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$(?!\n)"
"""A ULID in Crockford's base 32, upper case (https://github.com/ulid/spec)."""

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
RunId = Annotated[str, Meta(pattern=RUN_ID_PATTERN)]

NAME = re.compile(NAME_PATTERN)
"""For checks in code: `NAME.fullmatch(text)`."""

RUN_ID = re.compile(RUN_ID_PATTERN)

_OTHERS = re.compile(r"[^a-z0-9]+")


def is_name(text: str) -> bool:
    """Whether `text` is a legal name of a project, a runner or a client."""
    return NAME.fullmatch(text) is not None


def naming_rule(text: str, *, of: str) -> str:
    """The error message for `text`, which is not a legal name.

    `of` is the kind of thing to name: `project`, `runner` or `client`. The message suggests the
    legal name that `text` becomes in lower case and with hyphens, if there is one. The sender must
    choose it: another text may become the same name.
    """
    rule = f"A {of}'s name has 1 to 63 characters: a-z, 0-9 and inner hyphens."
    nearest = _OTHERS.sub("-", text.lower()).strip("-")
    return f"{rule} `{nearest}` would be one." if is_name(nearest) else rule
