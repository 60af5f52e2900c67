"""Finds texts of secrets outside Secrets Manager."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

SECRET_MEMBERS = ("token", "client_secret", "private_key_pem")
"""The secret members of our secrets' JSON. Times and names are not secret."""

SHORTEST = 8
"""The fewest characters of a text to search for: shorter ones occur by chance."""


class SecretTexts:
    """Every secret text that was ever stored. Reports whether one occurs, never its text."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def add(self, value: str) -> None:
        """Remember a secret's value: as a whole, its secret members, and their parts."""
        self._texts.update(text for text in _texts_of(value) if len(text) >= SHORTEST)

    def __len__(self) -> int:
        return len(self._texts)

    def occur_in(self, anything: object) -> bool:
        """Whether a secret text is in a string, in bytes, or anywhere inside a JSON value.

        It also searches strings that are Base64.
        """
        return any(text in string for string in _strings_in(anything) for text in self._texts)


def _texts_of(value: str) -> Iterator[str]:
    yield value
    try:
        document = json.loads(value)
    except ValueError:
        return
    if not isinstance(document, dict):
        return
    for name in SECRET_MEMBERS:
        text = document.get(name)
        if isinstance(text, str):
            yield text
            # Of a JWT the claims and the signature, of a PEM each line: one of them is enough.
            yield from text.split(".")[1:]
            yield from (line for line in text.splitlines() if not line.startswith("-----"))


def _strings_in(anything: object) -> Iterator[str]:
    match anything:
        case str():
            yield anything
            yield from _decoded(anything)
        case bytes():
            yield anything.decode(errors="replace")
        case Mapping():
            for name, member in anything.items():
                yield from _strings_in(name)
                yield from _strings_in(member)
        case list() | tuple():
            for member in anything:
                yield from _strings_in(member)


def _decoded(text: str) -> Iterator[str]:
    try:
        yield base64.b64decode(text, altchars=b"-_", validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return


def without_value(document: Mapping[str, Any]) -> dict[str, Any]:
    """A request to Secrets Manager without the members for secret values."""
    return {
        name: member
        for name, member in document.items()
        if name not in {"SecretString", "SecretBinary"}
    }
