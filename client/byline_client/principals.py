"""Principals as people write them, and as the service shows them."""

from typing import Any

from byline_client.documents import text_of
from byline_client.errors import Misused


def named(text: str, *, is_application: bool = False, issuer: str = "") -> dict[str, str]:
    """The members of a request that name a principal. Raises `Misused`.

    `text` is an e-mail address, `kind:issuer#subject`, `anonymous`, or a subject.
    """
    is_whole = text.startswith(("user:", "application:"))
    if is_application or issuer:
        if is_whole or text == "anonymous":
            raise Misused(f"`{text}` says its kind and issuer. Leave the options for these out.")
        members = {"subject": text, "kind": "application" if is_application else "user"}
        return {**members, **({"issuer": issuer} if issuer else {})}
    if text == "anonymous":
        return {"kind": "anonymous"}
    if is_whole:
        return {"principal": text}
    return {"email" if "@" in text else "subject": text}


def text_of_principal(principal: Any) -> str:
    """A principal as `kind:issuer#subject`, by which later commands can name it."""
    kind = text_of(principal, "kind")
    if kind == "anonymous":
        return kind
    return f"{kind}:{text_of(principal, 'issuer')}#{text_of(principal, 'subject')}"


def name_of(principal: Any) -> str:
    """The display name; empty for none."""
    return text_of(principal, "name") or text_of(principal, "subject")
