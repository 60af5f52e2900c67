"""Reading claims, which can have any JSON type."""

from collections.abc import Mapping
from typing import Any, NewType

from byline.errors import Rejected

SignedClaims = NewType("SignedClaims", Mapping[str, Any])
"""Claims after the check of the signature, or where the operator turned that check off
(`IDENTITY_TRUST=forwarded`)."""

MAX_SUBJECT_BYTES = 255
"""OpenID Connect Core 1.0, section 2: a `sub` has at most 255 ASCII characters. Others are accepted
too, in the same number of bytes: a subject becomes part of table keys, whose length is limited."""

MAX_TEXT_CHARACTERS = 320
"""The longest e-mail address (RFC 3696, erratum 1690); names are shorter."""


def required_text(claims: Mapping[str, Any], name: str) -> str:
    """The claim `name`: printable text of 1 to 255 bytes.

    Raises `Rejected`: `missing_claim` where it is absent or empty, `malformed_claim` for anything
    else. Control characters are refused because a subject becomes part of log lines and keys.
    """
    value = claims.get(name)
    if value is None or value == "":
        raise Rejected("missing_claim", f"The claim `{name}` is missing.")
    if (
        not isinstance(value, str)
        or len(value.encode("utf-8", "surrogatepass")) > MAX_SUBJECT_BYTES
        or not value.isprintable()
        or value.isspace()
    ):
        raise Rejected(
            "malformed_claim",
            f"The claim `{name}` is not printable text of at most {MAX_SUBJECT_BYTES} bytes.",
        )
    return value


def optional_text(claims: Mapping[str, Any], name: str) -> str:
    """The descriptive claim `name`; empty where it is absent or not short printable text."""
    value = claims.get(name)
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS or not value.isprintable():
        return ""
    return value.strip()


def preferred_name(claims: Mapping[str, Any], subject: str) -> str:
    """A caller's display name: the first of `preferred_username`, `username`, `subject`."""
    return (
        optional_text(claims, "preferred_username") or optional_text(claims, "username") or subject
    )
