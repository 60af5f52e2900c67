"""The rule for subjects, issuers and names that people write: in requests and in settings.

A text that was pasted from a chat or a document may have characters that nobody sees. A role for
such a subject would have no effect, or would be for another subject than its reader believes.
Tokens have a wider rule (`claims.required_text`), because their issuer chose the subject.
"""

import unicodedata

from byline.identity.claims import is_visible_joiner

_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"})
"""Controls, format characters (among them those that reorder text, UAX 9), private and half
characters, and every kind of space. The space itself is legal between other characters."""

_INVISIBLE = (
    ("\u034f", "\u034f"),  # combining grapheme joiner
    ("\u115f", "\u1160"),  # fillers of Hangul
    ("\u17b4", "\u17b5"),  # inherent vowels of Khmer
    ("\u180b", "\u180f"),  # variation selectors of Mongolian
    ("\u2065", "\u2065"),
    ("\u2800", "\u2800"),  # the empty Braille pattern
    ("\u3164", "\u3164"),
    ("\ufe00", "\ufe0f"),  # variation selectors
    ("\uffa0", "\uffa0"),
    ("\ufff0", "\ufff8"),
    ("\U000e0000", "\U000e0fff"),
)
"""Ranges of characters of other categories that show nothing: `Default_Ignorable_Code_Point` of
Unicode 16 (https://www.unicode.org/Public/16.0.0/ucd/DerivedCoreProperties.txt), and U+2800."""


def fault_of_typed(text: str) -> str:
    """What is wrong with a text that somebody wrote, as the end of a sentence; empty for nothing.

    A zero-width joiner is legal where it changes how letters look, as in Persian.
    """
    if text.isascii() and text.isprintable():
        return "begins or ends with a space" if text != text.strip() else ""
    for place, character in enumerate(text):
        if _is_invisible(character) and not is_visible_joiner(character, text[:place]):
            name = unicodedata.name(character, "a control or private character")
            return f"has U+{ord(character):04X} ({name}), which is invisible or reorders text"
    return "begins or ends with a space" if text != text.strip() else ""


def _is_invisible(character: str) -> bool:
    if character == " ":
        return False
    return unicodedata.category(character) in _INVISIBLE_CATEGORIES or any(
        first <= character <= last for first, last in _INVISIBLE
    )
