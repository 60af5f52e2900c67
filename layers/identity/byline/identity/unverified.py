"""Strict reading of a token before its verification (RFC 7515, section 5.2).

The result is *unverified*. It serves to choose a key, and to refuse a token before a key is
fetched. It serves no other purpose.
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
"""A load balancer accepts header lines of 16 KB, and 64 KB of headers in all."""

UnverifiedHeader = NewType("UnverifiedHeader", dict[str, Any])
UnverifiedClaims = NewType("UnverifiedClaims", dict[str, Any])

# base64url → base64. The two characters of plain base64 become one that neither alphabet has.
_FROM_URL_ALPHABET = bytes.maketrans(b"-_+/", b"+/!!")
_TO_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """The text of a token as it arrived. `repr` does not show the text."""

    text: str = field(repr=False)

    def __repr__(self) -> str:
        return f"<unverified token of {len(self.text)} characters>"


class UnverifiedParts(msgspec.Struct, frozen=True):
    """The parts of a token: header, claims, the signed bytes, and the signature.

    `repr` shows none of them.
    """

    header: UnverifiedHeader
    claims: UnverifiedClaims
    signed: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "<parts of an unverified token>"


def parse(token: UnverifiedToken, *, padded: bool) -> UnverifiedParts:
    """The parts of a compact JWS.

    `padded`: whether base64url segments carry `=`. A load balancer writes `=`, against RFC 7515,
    and its signature covers it. No other issuer may write `=`. Only one form is accepted, and only
    its canonical spelling, so that no two texts carry the same signature.

    Raises `Rejected`: `token_too_large`, `malformed_token`.
    """
    text = token.text
    if len(text) > MAX_TOKEN_BYTES:
        raise Rejected("token_too_large", f"The token has more than {MAX_TOKEN_BYTES} bytes.")
    if not text.isascii():
        raise Rejected("malformed_token", "The token has characters that are not ASCII.")
    encoded = text.encode("ascii")
    segments = encoded.split(b".")
    if len(segments) != 3:
        raise Rejected("malformed_token", "The token does not have three segments.")
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
            raise Rejected("malformed_token", "A segment of the token is padded with `=`.")
        text = segment + b"=" * (-len(segment) % 4)
    try:
        decoded = a2b_base64(text.translate(_FROM_URL_ALPHABET), strict_mode=True)
    except Base64Error:
        decoded = b""
    if not decoded:
        raise Rejected("malformed_token", "A segment of the token is empty or not base64url.")
    return decoded


def _decode_canonical(segment: bytes, *, padded: bool) -> bytes:
    """The decoded signature. Only one spelling is accepted: the signature does not cover its own
    unused bits."""
    decoded = _decode(segment, padded=padded)
    canonical = b2a_base64(decoded, newline=False).translate(_TO_URL_ALPHABET)
    if segment != (canonical if padded else canonical.rstrip(b"=")):
        raise Rejected("malformed_token", "A segment of the token is not canonical base64url.")
    return decoded


def _json_object(data: bytes) -> dict[str, Any]:
    value = _compact_json(data)
    if value is None:
        value = strict_json(data)
    if type(value) is not dict:
        # Raised here, outside of `except`: a JSON reader's error carries the document, and would
        # become the context of this error.
        raise Rejected("malformed_token", "A segment of the token is not a strict JSON object.")
    return value


def _compact_json(data: bytes) -> Any:
    """The value of `data` where msgspec encodes it to the same bytes again; None otherwise.

    Such bytes contain no duplicate member, no ignored text and no rounded number. It takes a third
    of the time of `strict_json`.
    """
    try:
        value = msgspec.json.decode(data)
        return value if msgspec.json.encode(value) == data else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def strict_json(data: bytes) -> Any:
    """The value of `data`; None where two JSON readers could read it differently."""
    try:
        text = data.decode("utf-8")
        value = _STRICT.decode(text)
        if "\\u" in text:
            # A lone surrogate cannot be encoded, neither for a table nor for an answer.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7515, section 4: member names are unique."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _no_constant(_: str) -> None:
    raise ValueError  # NaN and Infinity are not JSON


def _finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise ValueError  # 1e999: an infinite time
    return number


_STRICT = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_constant=_no_constant, parse_float=_finite
)
