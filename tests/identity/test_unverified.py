"""A token is read strictly; only a load balancer's token has padding, and keeps it."""

import json
import traceback
from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.errors import Reason, Rejected
from byline.identity.unverified import MAX_TOKEN_BYTES, UnverifiedParts, UnverifiedToken, parse
from tests.identity.alb_tokens import mint, padded

PADDED = f"{padded(b'{"a": 1}')}.{padded(b'{"b":"\xc3\xa9"}')}.{padded(b'sign')}"
BARE = PADDED.replace("=", "")


texts = st.text(st.characters(exclude_categories=["Cs"]))
"""Without lone surrogates, which are refused."""

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values)


def read(text: str, *, is_padded: bool = True) -> UnverifiedParts:
    return parse(UnverifiedToken(text), padded=is_padded)


def assert_refused(
    text: str, *, is_padded: bool = True, reason: Reason = "malformed_token"
) -> None:
    with pytest.raises(Rejected) as refusal:
        read(text, is_padded=is_padded)
    assert refusal.value.reason == reason


def with_header(header: bytes) -> str:
    _, payload, signature = PADDED.split(".")
    return f"{padded(header)}.{payload}.{signature}"


def test_padded_token_is_taken_apart() -> None:
    """A load balancer's padded segments are read, and the signed text keeps its padding."""
    parts = read(PADDED)
    assert parts.header == {"a": 1}
    assert parts.claims == {"b": "é"}
    assert parts.signature == b"sign"
    assert parts.signed == PADDED.rpartition(".")[0].encode()
    assert b"=" in parts.signed


def test_bare_token_is_taken_apart() -> None:
    """Everybody else's segments carry no padding (RFC 7515, section 2)."""
    parts = read(BARE, is_padded=False)
    assert (parts.header, parts.claims, parts.signature) == ({"a": 1}, {"b": "é"}, b"sign")


@pytest.mark.parametrize("position", [0, 1, 2])
def test_padding_where_none_belongs_is_refused(position: int) -> None:
    """A Bearer token with a padded segment is refused."""
    segments = BARE.split(".")
    segments[position] = PADDED.split(".")[position]
    assert segments[position].endswith("=")
    assert_refused(".".join(segments), is_padded=False)


def test_missing_padding_is_refused() -> None:
    """A load balancer's token without its padding is refused."""
    assert_refused(BARE)


@pytest.mark.parametrize("segments", [0, 1, 2, 4, 5])
def test_other_than_three_segments_is_refused(segments: int) -> None:
    """A compact JWS has three segments; an encrypted token has five."""
    assert_refused(".".join([padded(b"{}")] * segments))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_empty_segment_is_refused(position: int) -> None:
    """No segment may be missing, the signature least of all."""
    segments = PADDED.split(".")
    segments[position] = ""
    assert_refused(".".join(segments))


@pytest.mark.parametrize("junk", ["+", "/", " ", "\n", "\t", "!", "%", "\x00", "é", "\ud800", "="])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_character_outside_the_alphabet_is_refused(junk: str, position: int) -> None:
    """Plain base64, white space and everything else that lenient readers skip is refused."""
    segments = PADDED.split(".")
    for place in (0, 1, len(segments[position])):
        spoiled = segments[position][:place] + junk + segments[position][place:]
        assert_refused(".".join([*segments[:position], spoiled, *segments[position + 1 :]]))


@pytest.mark.parametrize(("ours", "theirs"), ["_/", "-+"])
def test_plain_base64_is_refused(ours: str, theirs: str) -> None:
    """The same bytes in the other alphabet are another text."""
    header = padded(b'{"a":"~~~???"}')
    assert ours in header
    assert read(with_header(b'{"a":"~~~???"}')).header == {"a": "~~~???"}
    assert_refused(PADDED.replace(PADDED.split(".", maxsplit=1)[0], header.replace(ours, theirs)))


@pytest.mark.parametrize("is_padded", [True, False])
def test_other_spelling_of_the_same_signature_is_refused(*, is_padded: bool) -> None:
    """The unused bits of a signature's last character are zero: one signature, one text."""
    head, _, signature = (PADDED if is_padded else BARE).rpartition(".")
    bare = signature.rstrip("=")
    spoiled = bare[:-1] + chr(ord(bare[-1]) + 1) + signature[len(bare) :]
    assert urlsafe_b64encode(b"sign").decode().rstrip("=") != spoiled.rstrip("=")
    assert_refused(f"{head}.{spoiled}", is_padded=is_padded)


def test_token_of_the_largest_size_is_read_and_one_more_byte_is_not() -> None:
    """The cap comes before any work that grows with the size."""
    head, _, _ = with_header(b'{"a": 12}').replace("=", "").rpartition(".")
    largest = f"{head}.{'A' * (MAX_TOKEN_BYTES - len(head) - 1)}"
    assert len(largest) == MAX_TOKEN_BYTES
    assert set(read(largest, is_padded=False).signature) == {0}
    assert_refused(f"{largest}A", is_padded=False, reason="token_too_large")


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"null",
        b'"text"',
        b"1",
        b"{",
        b"{}{}",
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e999}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": "\x01"}',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": [{"b": 1, "\\u0062": 2}]}',
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda header: ascii(header[:24]),
)
def test_segment_that_is_not_a_strict_json_object_is_refused(header: bytes) -> None:
    """What two JSON readers could read differently, or one could choke on, is refused.

    Also where it is spelled without spaces, which has a reader of its own.
    """
    assert_refused(with_header(header))
    assert_refused(with_header(header.replace(b" ", b"")))


@given(json_objects)
def test_every_spelling_of_an_object_is_read_the_same(value: dict[str, Any]) -> None:
    """With spaces or without, escaped or not: the same members with the same values and types."""
    spellings = {
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        msgspec.json.encode(value).decode(),
    }
    read_again = {repr(read(with_header(spelling.encode())).header) for spelling in spellings}
    assert read_again == {repr(value)}


def test_escaped_pair_of_surrogates_is_read() -> None:
    """A character outside the basic plane may be escaped (RFC 8259, section 7)."""
    assert read(with_header(b'{"a": "\\ud83d\\ude80"}')).header == {"a": "🚀"}


@pytest.mark.parametrize("depth", [900, 6_000])
def test_deep_nesting_after_deep_calls_is_read_or_refused(depth: int) -> None:
    """However deep a segment nests and the caller stands, no recursion limit surfaces."""

    def read_deep(calls: int) -> None:
        if calls:
            read_deep(calls - 1)
        else:
            with suppress(Rejected):
                read(with_header(b'{"a":' + b"[" * depth + b"]" * depth + b"}"))

    read_deep(700)


def test_token_and_its_parts_do_not_show_their_text() -> None:
    """Neither a token nor what was taken from it tells its text in a log line."""
    text = mint()
    token = UnverifiedToken(text)
    shown = f"{token!r} {token} {parse(token, padded=True)!r}"
    assert not any(segment in shown for segment in text.split("."))
    assert "ada@example.com" not in shown


@pytest.mark.parametrize(
    "header", [b'{"a": "SECRET"', b'{"a": "SECRET\xff"}', b'{"a": "SECRET", "a": 1}', b'["SECRET"]']
)
def test_refusal_carries_no_document_along(header: bytes) -> None:
    """A JSON error has the document in it: neither as cause nor as context does it come along."""
    with pytest.raises(Rejected) as refusal:
        read(with_header(header))
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None
    assert "SECRET" not in "".join(traceback.format_exception(refusal.value))
