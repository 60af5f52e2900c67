"""Reading claims, which can have any JSON type."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NewType

from byline.errors import Rejected

SignedClaims = NewType("SignedClaims", Mapping[str, Any])
"""Claims after the check of the signature, or where the operator turned that check off
(`IDENTITY_TRUST=forwarded`)."""

MAX_SUBJECT_BYTES = 315
"""OpenID Connect Core 1.0, section 2: a `sub` has at most 255 ASCII characters. Those of workloads
are longer. A subject becomes part of table keys (`MAX_PRINCIPAL_BYTES`), beside an issuer of up to
512 bytes and the kind."""

_NO_SUBJECT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, ends of lines, and the characters that reorder text (Unicode, UAX 9). With them one
subject could look like another one in a log line."""

_JOINERS = "\u200c\u200d"
"""They change how letters of Persian, Sinhala and other scripts join, so names need them."""

_FIRST_JOINED = "\u0590"
"""The first character of the scripts whose letters a joiner may follow. Between Latin letters it
would be invisible."""

MAX_TEXT_CHARACTERS = 320
"""The longest e-mail address (RFC 3696, erratum 1690); names are shorter."""


def required_text(claims: Mapping[str, Any], name: str) -> str:
    """The claim `name`: text of 1 to 315 bytes without control characters.

    Raises `Rejected`: `missing_claim` where it is absent or empty, `malformed_claim` for anything
    else. A subject becomes part of log lines and keys, so it is refused and never cleaned: two
    subjects must not become one.
    """
    value = claims.get(name)
    if value is None or value == "":
        raise Rejected("missing_claim", f"The claim `{name}` is missing.")
    if (
        not isinstance(value, str)
        or len(value.encode("utf-8", "surrogatepass")) > MAX_SUBJECT_BYTES
        or (not value.isprintable() and _NO_SUBJECT.search(value))
        or all(each.isspace() or unicodedata.category(each) == "Cf" for each in value)
    ):
        raise Rejected(
            "malformed_claim",
            f"The claim `{name}` is not printable text of at most {MAX_SUBJECT_BYTES} bytes.",
        )
    return value


def optional_text(claims: Mapping[str, Any], name: str) -> str:
    """The descriptive claim `name`, cleaned; empty where it is absent, not text or too long."""
    value = claims.get(name)
    return clean_text(value) if isinstance(value, str) else ""


def email_of(claims: Mapping[str, Any]) -> tuple[str, bool]:
    """The e-mail address in `claims`, empty without one, and whether the issuer has verified it.

    OpenID Connect Core 1.0, section 5.1. Cognito's userinfo, and so the load balancer's token, has
    `email_verified` as text.
    """
    email = optional_text(claims, "email")
    verified = claims.get("email_verified")
    return email, bool(email) and (verified is True or verified == "true")


def clean_text(value: str) -> str:
    """`value` as one line to show; empty where it is too long or has control characters.

    Every kind of space becomes a space, and characters that are invisible or reorder text are left
    out, so that no name looks like another one. Joiners stay in the scripts that need them.
    """
    if len(value) > MAX_TEXT_CHARACTERS:
        return ""
    if value.isprintable():
        return value.strip()
    shown = ""
    for character in value.strip():
        category = unicodedata.category(character)
        if category == "Zs":
            shown += " "
        elif category in ("Cc", "Cs", "Zl", "Zp"):
            return ""
        elif category in ("Cf", "Co"):
            if is_visible_joiner(character, shown):
                shown += character
        else:
            shown += character
    return shown.strip()


def is_visible_joiner(character: str, before: str) -> bool:
    """Whether `character` is a joiner after a letter of a script that needs it."""
    return character in _JOINERS and before[-1:] >= _FIRST_JOINED


def preferred_name(claims: Mapping[str, Any], subject: str) -> str:
    """A caller's display name: the first of `preferred_username`, `username`, `subject`."""
    return (
        optional_text(claims, "preferred_username") or optional_text(claims, "username") or subject
    )
