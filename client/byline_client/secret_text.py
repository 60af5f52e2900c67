"""Text that must never be shown: tokens and secrets."""

import re

from byline_client.errors import Misused

_VISIBLE = re.compile(r"[\x21-\x7e]{1,16384}")


class SecretText:
    """A token or a secret. `repr`, `str`, `format` and `pickle` do not show it; `reveal` does."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text, for a request header, a request body or a private file."""
        return self._text

    def __repr__(self) -> str:
        return "SecretText(…)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a SecretText cannot be pickled")


def checked_token(text: str, *, source: str) -> SecretText:
    """The token in `text`, without white space around it. `source` names where it came from.

    Raises `Misused` for text that cannot be a header's value: the HTTP library would quote it.
    """
    token = text.strip()
    if not _VISIBLE.fullmatch(token):
        what = "is empty" if not token else "has characters that no token has, or is too long"
        raise Misused(f"The token in {source} {what}.")
    return SecretText(token)
