"""A token endpoint's answers: a token with its lifetime, or one class of error."""

import json
import time
from codecs import BOM_UTF8
from collections.abc import Iterator
from socket import create_server
from typing import Any

import jwt
import pytest

from byline.refresh.timing import KnownToken
from refresh_tokens.errors import REFUSALS
from tests.identity.loopback import Respond, answer, drip, silence
from tests.refresh.minting import (
    BASIC,
    DEFAULT_LIFETIME,
    LIMIT,
    POST,
    SECRET,
    failure_of,
    mint,
)
from tests.refresh.token_issuer import TokenIssuer, serve_issuer


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with serve_issuer(BASIC) as running:
        yield running


# Lifetimes


@pytest.mark.parametrize("told_by", ["token", "answer"])
@pytest.mark.parametrize("lifetime", [60, 300, 600, 900, 1200, 1800, 3600, 86_400])
def test_lifetime_of_a_fresh_token_is_the_issuers(
    issuer: TokenIssuer, lifetime: int, told_by: str
) -> None:
    """By the token's own times or by the answer's `expires_in`."""
    issuer.lifetime, issuer.opaque = lifetime, told_by == "answer"
    before = int(time.time())
    minted = mint(issuer)
    assert minted.lifetime == lifetime
    assert before <= minted.issued_at <= time.time()
    assert minted.expires_at == minted.issued_at + lifetime


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [(None, 900), (600, 600), ("600", 600), ("soon", 900), (600.9, 600), (3600, 900)],
)
def test_shorter_of_answer_and_token_counts(
    issuer: TokenIssuer, expires_in: Any, lifetime: int
) -> None:
    """Without a readable `expires_in` the token's own times count."""
    issuer.answer = {"expires_in": expires_in}
    assert mint(issuer).lifetime == lifetime


def test_token_of_unknown_lifetime_has_the_configured_one(issuer: TokenIssuer) -> None:
    """An opaque token without `expires_in`."""
    issuer.opaque = True
    issuer.answer = {"expires_in": None}
    assert mint(issuer).lifetime == DEFAULT_LIFETIME


@pytest.mark.parametrize("expires_in", [None, 3600, 900])
def test_cached_token_has_the_rest_of_its_lifetime(
    issuer: TokenIssuer, expires_in: int | None
) -> None:
    """Even if the answer states the full lifetime."""
    issuer.lifetime, issuer.age = 3600, 3000
    issuer.answer = {"expires_in": expires_in}
    assert 599 <= mint(issuer).lifetime < 630


@pytest.mark.parametrize("answered", [{}, {"expires_in": None}, {"expires_in": 900}])
def test_nearly_dead_token_is_a_failure(issuer: TokenIssuer, answered: dict[str, Any]) -> None:
    """Status 200, a good signature, and 320 of 900 seconds left."""
    issuer.age, issuer.answer = 580, answered
    assert failure_of(issuer).error_class == "nearly_dead_token"


def test_nearly_dead_opaque_token_is_found_by_the_known_lifetime(issuer: TokenIssuer) -> None:
    """`expires_in` is the rest; the token before had the full lifetime."""
    issuer.opaque, issuer.age = True, 580
    known = KnownToken(lifetime=900, expires_at=int(time.time()) + 380)
    assert failure_of(issuer, known=known).error_class == "nearly_dead_token"
    assert mint(issuer).lifetime == 320


DAY = 86_400


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (3_600, 3_600),
        ("3600", 3_600),
        ("3599.9", 3_599),
        (" 3600 ", 3_600),
        (400 * DAY, 365 * DAY),
        (str(400 * DAY), 365 * DAY),
    ],
)
def test_lifetime_is_read_the_same_way_from_text_and_number(
    issuer: TokenIssuer, expires_in: Any, lifetime: int
) -> None:
    """Up to 400 days, of which a year is used."""
    issuer.opaque, issuer.answer = True, {"expires_in": expires_in}
    warnings: list[str] = []
    assert mint(issuer, warnings=warnings).lifetime == lifetime
    assert not warnings


NO_LIFETIMES = [
    -1,
    "-1",
    -0.5,
    400 * DAY + 1,
    str(400 * DAY + 1),
    1_790_000_000,
    "1790000000",
    1_790_000_000_000,
    "1790000000000",
    2**63,
    10**400,
    1e308,
    "1e308",
    "1e999",
    "NaN",
    "Infinity",
    "-inf",
    "PT1H",
    "",
    SECRET,
    [SECRET],
    {"seconds": 3600},
    True,
]


@pytest.mark.parametrize("expires_in", NO_LIFETIMES)
def test_impossible_expires_in_is_unknown_and_warned_of(
    issuer: TokenIssuer, expires_in: Any
) -> None:
    """The token's own expiry counts then, and the configured lifetime for an opaque token."""
    issuer.answer, issuer.lifetime = {"expires_in": expires_in}, 1800
    warnings: list[str] = []
    assert mint(issuer, warnings=warnings).lifetime == 1800
    assert warnings.pop().endswith("the token's own `exp` instead.")
    issuer.opaque = True
    assert mint(issuer, warnings=warnings).lifetime == DEFAULT_LIFETIME
    (warning,) = warnings
    assert warning.endswith("the default lifetime instead.")
    assert SECRET not in warning


def test_number_beyond_all_floats_is_an_unknown_lifetime(issuer: TokenIssuer) -> None:
    """It is correct JSON, so the token is usable."""
    for number in (b"1e999", b"-1e999", b"9" * 10_000):
        body = b'{"access_token": "opaque", "token_type": "Bearer", "expires_in": %s}' % number
        issuer.respond["/token"] = answer(body)
        assert mint(issuer).lifetime == DEFAULT_LIFETIME


@pytest.mark.parametrize("expires_in", [0, "0", 29, "29"])
def test_token_shorter_than_the_clock_skew_is_a_failure(
    issuer: TokenIssuer, expires_in: int
) -> None:
    """It may have expired when it arrives."""
    issuer.answer = {"expires_in": expires_in}
    assert failure_of(issuer).error_class == "nearly_dead_token"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": "soon"},
        {"exp": True},
        {"exp": 10**400, "iat": 0},
        {"exp": 1.7e308, "iat": -1.7e308},
        {"exp": 1.7e308, "iat": 1_700_000_000},
        {"exp": 1_790_000_000_000, "iat": 1_789_000_000_000},
        {"exp": -1.7e308},
        {"iat": -1.7e308},
        {"iat": []},
        {},
    ],
)
def test_unreadable_times_in_a_token_are_ignored(
    issuer: TokenIssuer, claims: dict[str, Any]
) -> None:
    """The token counts as opaque, and `expires_in` as its lifetime."""
    text = ".".join(
        jwt.utils.base64url_encode(part).decode()
        for part in (b'{"alg":"none"}', json.dumps(claims).encode(), b"signature")
    )
    issuer.answer = {"access_token": text}
    minted = mint(issuer)
    assert (minted.text, minted.lifetime) == (text, 900)


# Failures


def refused(error: str | None) -> bytes:
    document = {"error": error, "error_description": f"{SECRET} eyJ", "error_uri": SECRET}
    return json.dumps({name: value for name, value in document.items() if value}).encode()


@pytest.mark.parametrize(
    ("status", "error", "error_class"),
    [
        ("400 Bad Request", "invalid_request", "invalid_request"),
        ("400 Bad Request", "invalid_client", "invalid_client"),
        ("400 Bad Request", "invalid_grant", "invalid_grant"),
        ("400 Bad Request", "unauthorized_client", "unauthorized_client"),
        ("400 Bad Request", "unsupported_grant_type", "unsupported_grant_type"),
        ("400 Bad Request", "invalid_scope", "invalid_scope"),
        ("400 Bad Request", "invalid_target", "invalid_target"),
        ("400 Bad Request", "access_denied", "access_denied"),
        ("401 Unauthorized", "invalid_client", "invalid_client"),
        ("403 Forbidden", "unauthorized_client", "unauthorized_client"),
    ],
)
def test_refusal_has_the_name_of_its_known_error(
    issuer: TokenIssuer, status: str, error: str, error_class: str
) -> None:
    """RFC 6749, section 5.2; other text of the issuer is not kept."""
    issuer.respond["/token"] = answer(refused(error), status=status)
    failure = failure_of(issuer)
    assert failure.error_class == error_class
    assert failure.error_class in REFUSALS
    assert len(issuer.received) == 1


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!DOCTYPE html><title>Just a moment...</title>",
        b"invalid_client",
        b'"invalid_client"',
        b'["invalid_client"]',
        b'{"error": {"code": "invalid_client"}}',
        b'{"error": "invalid_client',
        b'{"message": "Forbidden"}',
        refused(None),
        refused("client_secret_unusable"),
        refused(SECRET),
    ],
)
def test_answer_without_an_error_of_the_standard_is_no_verdict(
    issuer: TokenIssuer, status: str, body: bytes
) -> None:
    """A firewall before the issuer answers 401 and 403 too. It passes, after its Retry-After."""
    issuer.respond["/token"] = answer(body, status=status, headers="Retry-After: 30\r\n")
    failure = failure_of(issuer)
    assert (failure.error_class, failure.retry_after) == ("unexpected_status", 30)
    assert failure.error_class not in REFUSALS


def test_verdict_after_a_byte_order_mark_counts(issuer: TokenIssuer) -> None:
    """The mark is not part of the JSON text (RFC 8259, section 8.1)."""
    issuer.respond["/token"] = answer(BOM_UTF8 + refused("invalid_client"), status="401 Who")
    assert failure_of(issuer).error_class == "invalid_client"


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        ("500 Oh", "issuer_unavailable"),
        ("502 Bad Gateway", "issuer_unavailable"),
        ("503 Busy", "issuer_unavailable"),
        ("504 Late", "issuer_unavailable"),
        ("429 Too Many", "rate_limited"),
        ("404 Not Found", "unexpected_status"),
        ("405 Not So", "unexpected_status"),
        ("204 Nothing", "answer_unusable"),
        ("201 Created", "answer_unusable"),
    ],
)
def test_other_status_is_an_error_that_is_retried(
    issuer: TokenIssuer, status: str, error_class: str
) -> None:
    """It opens no breaker, whatever the body says."""
    issuer.respond["/token"] = answer(refused("invalid_client"), status=status)
    failure = failure_of(issuer)
    assert (failure.error_class, failure.retry_after) == (error_class, None)
    assert failure.error_class not in REFUSALS


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_temporary_error_with_status_400_is_retried(issuer: TokenIssuer, error: str) -> None:
    """Some issuers send 400 where others send 503."""
    issuer.respond["/token"] = answer(
        refused(error), status="400 Bad Request", headers="Retry-After: 7\r\n"
    )
    failure = failure_of(issuer)
    assert (failure.error_class, failure.retry_after) == ("issuer_unavailable", 7)


@pytest.mark.parametrize("status", ["429 Too Many", "503 Busy"])
def test_retry_after_is_in_the_failure(issuer: TokenIssuer, status: str) -> None:
    """As seconds, or as a date."""
    issuer.respond["/token"] = answer(status=status, headers="Retry-After: 90\r\n")
    assert failure_of(issuer).retry_after == 90
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 90))
    issuer.respond["/token"] = answer(status=status, headers=f"Retry-After: {date}\r\n")
    assert failure_of(issuer).retry_after == pytest.approx(90, abs=3)


@pytest.mark.parametrize("headers", ["", "Retry-After: soon\r\n"])
def test_failure_without_retry_after_has_no_wait(issuer: TokenIssuer, headers: str) -> None:
    """The usual back-off counts then."""
    issuer.respond["/token"] = answer(status="429 Too Many", headers=headers)
    assert failure_of(issuer).retry_after is None


@pytest.mark.parametrize(
    "respond",
    [
        silence,
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", every=0.05),
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", every=0.05),
    ],
    ids=["silence", "body", "headers"],
)
def test_hanging_issuer_times_out(issuer: TokenIssuer, respond: Respond) -> None:
    """It does not keep the worker waiting."""
    issuer.respond["/token"] = respond
    start = time.monotonic()
    assert failure_of(issuer, timeout_seconds=LIMIT).error_class == "issuer_timeout"
    assert time.monotonic() - start < LIMIT + 2


def test_unreachable_issuer_is_unavailable() -> None:
    """Nothing listens on its port."""
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert failure_of(TokenIssuer(f"http://127.0.0.1:{port}")).error_class == "issuer_unavailable"


def test_issuer_that_closes_the_connection_is_unavailable(issuer: TokenIssuer) -> None:
    """It sends nothing."""
    issuer.respond["/token"] = lambda connection, _: None
    assert failure_of(issuer).error_class == "issuer_unavailable"


def test_redirect_is_not_followed(issuer: TokenIssuer) -> None:
    """Not even to an address that would give a token."""
    with serve_issuer(POST) as elsewhere:
        location = f"Location: {elsewhere.url}/token\r\n"
        for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent"):
            issuer.respond["/token"] = answer(status=status, headers=location)
            assert failure_of(issuer).error_class == "answer_unusable"
        assert not elsewhere.received


TOKEN = {"access_token": f"eyJ{SECRET}", "token_type": "Bearer", "expires_in": 900}


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 10_000_000,
        b"",
        f"eyJ{SECRET}".encode(),
        b"\xff\xfe" + SECRET.encode(),
        b"[" * 100_000,
        json.dumps([TOKEN]).encode(),
        refused("invalid_client"),
        *(
            json.dumps({**TOKEN, **changes}).encode()
            for changes in (
                {"access_token": None},
                {"access_token": ""},
                {"access_token": 7},
                {"access_token": [SECRET]},
                {"access_token": f"{SECRET}\r\nX: 1"},
                {"access_token": f"{SECRET} x"},
                {"access_token": f"{SECRET}\x7f"},
                {"access_token": f"{SECRET}ü"},
                {"access_token": "x" * 60_001},
                {"token_type": 7},
                {"token_type": ["Bearer"]},
                {"token_type": "DPoP"},
                {"token_type": "mac"},
                {"token_type": SECRET},
            )
        ),
    ],
)
def test_answer_without_a_usable_token_is_unusable(issuer: TokenIssuer, body: bytes) -> None:
    """Ten megabytes, no JSON, or a token that cannot be sent as a Bearer token."""
    issuer.respond["/token"] = answer(body)
    assert failure_of(issuer).error_class == "answer_unusable"


@pytest.mark.parametrize("token_type", ["DPoP", "mac", "N_A", "PoP", "bearish"])
def test_another_token_type_is_refused_by_its_name(issuer: TokenIssuer, token_type: str) -> None:
    """The reader of the log learns what to change at the issuer."""
    issuer.answer = {"token_type": token_type}
    assert failure_of(issuer).detail == f"The token's type is `{token_type}` and not Bearer."


@pytest.mark.parametrize("token_type", [SECRET, "x" * 17, "mac mac"])
def test_token_type_that_is_no_word_is_not_quoted(issuer: TokenIssuer, token_type: str) -> None:
    """It may be anything, a secret too."""
    issuer.answer = {"token_type": token_type}
    assert failure_of(issuer).detail == "The token's type is another type and not Bearer."


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "203 Other", "299 So"])
def test_token_with_any_status_of_success_is_accepted(issuer: TokenIssuer, status: str) -> None:
    """The standard says 200; some issuers create a token and say so."""
    issuer.respond["/token"] = answer(json.dumps(TOKEN).encode(), status=status)
    assert mint(issuer).text == TOKEN["access_token"]


@pytest.mark.parametrize(
    "token_type",
    [None, "", "bearer", "BEARER", "Bearer ", "BearerToken", "bearer_token", "jwt-bearer"],
)
@pytest.mark.parametrize("text", ["x" * 60_000, "!~", "1|a.b-c_d+e/f=="])
def test_unusual_answer_with_a_usable_token_is_accepted(
    issuer: TokenIssuer, text: str, token_type: str | None
) -> None:
    """The type may be missing or spelled in any way, and the token's form is free."""
    issuer.answer = {"access_token": text, "token_type": token_type}
    assert mint(issuer).text == text


def test_token_is_in_no_repr(issuer: TokenIssuer) -> None:
    """A minted token may be logged by mistake."""
    minted = mint(issuer)
    assert minted.text.startswith("eyJ")
    assert "eyJ" not in f"{minted!r} {minted}"
