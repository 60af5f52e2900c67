"""Reading claims of whatever type an issuer put there."""

from collections.abc import Mapping
from typing import Any, NewType

from byline.errors import Rejected

SignedClaims = NewType("SignedClaims", Mapping[str, Any])
"""Claims whose signature was checked, or knowingly not checked (`IDENTITY_TRUST=forwarded`)."""

MAX_SUBJECT_BYTES = 255
"""OpenID Connect Core 1.0, section 2: a `sub` must not exceed 255 ASCII characters. Others are
taken as well, but no more bytes: a subject ends up in keys."""

MAX_TEXT_CHARACTERS = 320
"""The longest e-mail address (RFC 3696, erratum 1690); names are shorter."""


def required_text(claims: Mapping[str, Any], name: str) -> str:
    """A claim that must be text of 1–255 bytes, all of it printable.

    Raises `Rejected`: `missing_claim`, or `malformed_claim`, which includes control characters: a
    subject ends up in log lines and keys.
    """
    value = claims.get(name)
    if value is None or value == "":
        raise Rejected("missing_claim", f"the token has no `{name}`")
    if (
        not isinstance(value, str)
        or len(value.encode("utf-8", "surrogatepass")) > MAX_SUBJECT_BYTES
        or not value.isprintable()
        or value.isspace()
    ):
        raise Rejected("malformed_claim", f"`{name}` is not short printable text")
    return value


def optional_text(claims: Mapping[str, Any], name: str) -> str:
    """A claim that describes; empty where it is absent or not short printable text."""
    value = claims.get(name)
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS or not value.isprintable():
        return ""
    return value.strip()


def preferred_name(claims: Mapping[str, Any], subject: str) -> str:
    """What to call a caller: the first of `preferred_username`, `username`, the subject."""
    return (
        optional_text(claims, "preferred_username") or optional_text(claims, "username") or subject
    )
