"""Claims are read whatever type an issuer gave them."""

from typing import Any

import pytest

from byline.errors import Rejected
from byline.identity.claims import (
    MAX_SUBJECT_BYTES,
    MAX_TEXT_CHARACTERS,
    optional_text,
    preferred_name,
    required_text,
)

NOT_TEXT: list[Any] = [0, 1, True, False, 1.5, ["ada"], {"ada": 1}]


@pytest.mark.parametrize("claims", [{}, {"sub": None}, {"sub": ""}])
def test_required_claim_that_is_absent_or_empty_is_missing(claims: dict[str, Any]) -> None:
    """A token whose required claim is absent or empty is refused."""
    with pytest.raises(Rejected) as refusal:
        required_text(claims, "sub")
    assert refusal.value.reason == "missing_claim"


@pytest.mark.parametrize("value", [*NOT_TEXT, " ", "\t", "a\nb", "a\x00b", "a\u202eb", "a\u2028b"])
def test_required_claim_that_is_not_printable_text_is_malformed(value: Any) -> None:
    """A subject ends up in log lines and keys: no type but text, no control characters."""
    with pytest.raises(Rejected) as refusal:
        required_text({"sub": value}, "sub")
    assert refusal.value.reason == "malformed_claim"


def test_required_claim_of_the_longest_length_is_read_and_a_longer_one_is_not() -> None:
    """OpenID Connect Core 1.0, section 2: 255 characters of one byte at most, and no more bytes."""
    for longest in ("s" * MAX_SUBJECT_BYTES, "ß" * (MAX_SUBJECT_BYTES // 2) + "s"):
        assert required_text({"sub": longest}, "sub") == longest
        with pytest.raises(Rejected) as refusal:
            required_text({"sub": longest + "s"}, "sub")
        assert refusal.value.reason == "malformed_claim"


def test_required_claim_is_kept_to_the_letter() -> None:
    """Two subjects that differ by a space or by case are two subjects."""
    assert required_text({"sub": " Ada "}, "sub") == " Ada "


@pytest.mark.parametrize("value", [None, "", " ", *NOT_TEXT, "a\nb", "x" * 321])
def test_describing_claim_that_is_no_short_text_is_empty(value: Any) -> None:
    """An illegal descriptive claim is ignored; it refuses no caller."""
    assert optional_text({"email": value}, "email") == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
            "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
        ),
        ("\u0dc1\u0dca\u200d\u0dbb\u0dd3", "\u0dc1\u0dca\u200d\u0dbb\u0dd3"),
        ("Jean\u00a0Luc", "Jean Luc"),
        ("\u674e\u3000\u96ea", "\u674e \u96ea"),
        ("Anne\u00admarie", "Annemarie"),
        ("\u05d3\u05e0\u05d4\u200f", "\u05d3\u05e0\u05d4"),
        ("Ada\n", "Ada"),
        ("\U00010d4a", "\U00010d4a"),
        ("Ad\u200da", "Ada"),
        ("\u202eadA", "adA"),
        ("A\u2066d\u2069a", "Ada"),
        ("Ada\u200b", "Ada"),
        ("Ada\nGrace", ""),
        ("Ada\x1b[2K", ""),
        ("\u200d", ""),
    ],
)
def test_name_is_kept_or_cleaned(name: str, shown: str) -> None:
    """People's names keep their letters. What is invisible or reorders text is left out."""
    assert optional_text({"name": name}, "name") == shown


@pytest.mark.parametrize(
    "subject",
    [
        "Jean\u00a0Luc",
        "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
        "\u674e\u3000\u96ea",
        "\u05d3\u200f",
        "\U00010d4a",
    ],
)
def test_subject_with_a_characters_of_a_script_is_kept(subject: str) -> None:
    """A subject is kept to the letter, whatever script it is in."""
    assert required_text({"sub": subject}, "sub") == subject


@pytest.mark.parametrize("subject", ["\u200b", "\u200d\u200d", "a\u2066b", "a\x9bb", "a\u2029"])
def test_subject_that_looks_like_another_is_refused(subject: str) -> None:
    """A subject of invisible characters alone, or one that reorders or ends a line, is refused."""
    with pytest.raises(Rejected) as refusal:
        required_text({"sub": subject}, "sub")
    assert refusal.value.reason == "malformed_claim"


def test_describing_claim_of_the_longest_length_is_read() -> None:
    """The longest e-mail address there is counts; a longer text is none."""
    longest = "e" * MAX_TEXT_CHARACTERS
    assert optional_text({"email": longest}, "email") == longest


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "ada", "username": "al", "name": "Ada"}, "ada"),
        ({"preferred_username": ["ada"], "username": "al"}, "al"),
        ({"preferred_username": "", "username": " "}, "the subject"),
        ({"email": "ada@example.com"}, "the subject"),
    ],
)
def test_name_is_the_first_of_the_preferred(claims: dict[str, Any], name: str) -> None:
    """The name is `preferred_username`, then `username`, then the subject, and never an e-mail."""
    assert preferred_name(claims, "the subject") == name
