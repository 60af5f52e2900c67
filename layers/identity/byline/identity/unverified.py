"""Reading a token strictly, before anything in it is believed (RFC 7515, section 5.2).

What comes out of here is *unverified*: good for choosing a key and for cheap refusals that spare
a fetch, for nothing else.
"""

import json
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from math import isinf
from typing import Any, NewType

import msgspec

from byline.errors import Rejected

MAX_TOKEN_BYTES = 16_384
"""The load balancer's own limit for all of a request's headers is 64 KB, for one line 16 KB."""

UnverifiedHeader = NewType("UnverifiedHeader", dict[str, Any])
UnverifiedClaims = NewType("UnverifiedClaims", dict[str, Any])

# base64url → base64, and the two characters of plain base64 to one that no alphabet has.
_FROM_URL_ALPHABET = bytes.maketrans(b"-_+/", b"+/!!")
_TO_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """The text of a token as it arrived. Its `repr` does not show it."""

    text: str = field(repr=False)

    def __repr__(self) -> str:
        return f"<unverified token of {len(self.text)} characters>"


class UnverifiedParts(msgspec.Struct, frozen=True):
    """A token taken apart: its header, its claims, and what the signature covers.

    Its `repr` shows none of it.
    """

    header: UnverifiedHeader
    claims: UnverifiedClaims
    signed: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "<parts of an unverified token>"


def parse(token: UnverifiedToken, *, padded: bool) -> UnverifiedParts:
    """Take a compact JWS apart, strictly.

    `padded`: whether base64url segments carry `=`. A load balancer pads, against RFC 7515, and its
    signature covers the padding; everybody else must not. Only the one form is accepted, and
    only its canonical spelling, so that no second text carries the same signature.

    Raises `Rejected`: `token_too_large`, `malformed_token`.
    """
    text = token.text
    if len(text) > MAX_TOKEN_BYTES:
        raise Rejected("token_too_large", f"a token may have {MAX_TOKEN_BYTES} bytes")
    if not text.isascii():
        raise Rejected("malformed_token", "a token is ASCII")
    encoded = text.encode("ascii")
    segments = encoded.split(b".")
    if len(segments) != 3:
        raise Rejected("malformed_token", "a token has three segments")
    header, payload, signature = segments
    return UnverifiedParts(
        header=UnverifiedHeader(_json_object(_decode(header, padded=padded))),
        claims=UnverifiedClaims(_json_object(_decode(payload, padded=padded))),
        signed=encoded[: -len(signature) - 1],
        signature=_decode_canonical(signature, padded=padded),
    )


def _decode(segment: bytes, *, padded: bool) -> bytes:
    if padded:
        text = segment
    else:
        if segment.endswith(b"="):
            raise Rejected("malformed_token", "a segment is padded")
        text = segment + b"=" * (-len(segment) % 4)
    try:
        decoded = a2b_base64(text.translate(_FROM_URL_ALPHABET), strict_mode=True)
    except Base64Error:
        decoded = b""
    if not decoded:
        raise Rejected("malformed_token", "a segment is empty or not base64url")
    return decoded


def _decode_canonical(segment: bytes, *, padded: bool) -> bytes:
    """The signature does not cover itself: of its spellings with other unused bits, take one."""
    decoded = _decode(segment, padded=padded)
    canonical = b2a_base64(decoded, newline=False).translate(_TO_URL_ALPHABET)
    if segment != (canonical if padded else canonical.rstrip(b"=")):
        raise Rejected("malformed_token", "a segment is not canonical base64url")
    return decoded


def _json_object(data: bytes) -> dict[str, Any]:
    value = _compact_json(data)
    if value is None:
        value = _strict_json(data)
    if type(value) is not dict:
        # Raised out here: errors of JSON readers carry the document, and must not be the context.
        raise Rejected("malformed_token", "a segment is not a strict JSON object")
    return value


def _compact_json(data: bytes) -> Any:
    """What `data` says, if it is spelled as msgspec itself would spell it; None if it is not.

    A spelling that comes out again as it went in has nothing doubled, nothing that was passed over
    and nothing that was rounded. A third of the time of the reader below.
    """
    try:
        value = msgspec.json.decode(data)
        return value if msgspec.json.encode(value) == data else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _strict_json(data: bytes) -> Any:
    """What `data` says; None for what two readers could read differently."""
    try:
        text = data.decode("utf-8")
        value = _STRICT.decode(text)
        if "\\u" in text:
            # An escaped lone surrogate is a string that no store and no answer can encode.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7515, section 4: member names are unique. Two readers of a doubled one may differ."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _no_constant(_: str) -> None:
    raise ValueError  # NaN and Infinity are not JSON


def _finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise ValueError  # 1e999: a time that never comes
    return number


_STRICT = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_constant=_no_constant, parse_float=_finite
)
