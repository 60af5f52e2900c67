"""Subjects that people write have no character that cannot be seen, or that reorders text."""

import sys
import unicodedata

import pytest

from byline.identity.typed_text import fault_of_typed

PERSIAN = "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"


@pytest.mark.parametrize(
    "text",
    ["", "ada", "Ada Lovelace", "auth0|5f7c", "ada@example.com", "Łukasz", "小林", "مريم", PERSIAN],
)
def test_visible_text_has_no_fault(text: str) -> None:
    """Letters of every script pass, with single spaces, and with joiners where they are visible."""
    assert fault_of_typed(text) == ""


@pytest.mark.parametrize(
    "character",
    [
        pytest.param(character, id=f"U+{ord(character):04X}")
        for character in "\0\t\n\x7f\x85\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u180b\u180e\u2003"
        "\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2064\u2066\u2069\u206f\u2800"
        "\u3000\u3164\ud800\ue000\ufe0f\ufeff\uffa0\U000e0041\U000e0100\U000f0000"
    ],
)
@pytest.mark.parametrize("around", ["a{}b", "{}ada", "ada{}"])
def test_invisible_or_reordering_character_is_named(character: str, around: str) -> None:
    """The fault names the character by its number, wherever in the text it is."""
    assert f"U+{ord(character):04X}" in fault_of_typed(around.format(character))


@pytest.mark.parametrize("text", [" ada", "ada ", " ", " 小林"])
def test_space_at_an_end_is_a_fault(text: str) -> None:
    """Nobody sees a space at the end of a subject that was pasted."""
    assert fault_of_typed(text) == "begins or ends with a space"


def test_every_format_character_and_space_of_unicode_is_a_fault() -> None:
    """No control, format character, line end or special space passes between Latin letters."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"}
    passing = [
        f"U+{point:04X}"
        for point in range(sys.maxunicode + 1)
        if unicodedata.category(chr(point)) in hidden
        and chr(point) != " "
        and not fault_of_typed(f"a{chr(point)}b")
    ]
    assert passing == []
