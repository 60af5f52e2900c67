"""The ways in which an issuer fails, byte by byte, and the error class of each."""

import json
from dataclasses import dataclass
from socket import socket
from threading import Event

from refresh_tokens.retries import REFUSED_RETRY_SECONDS
from tests.identity.loopback import Respond, answer, drip, silence
from tests.refresh.world import CLIENT

REFUSED_TOKEN = "t0ken-that-is-never-written"
"""The token in answers that are right but for one member."""


def error(status: str, code: str, headers: str = "") -> Respond:
    """An error answer (RFC 6749, section 5.2) that echoes the secret, as some issuers do."""
    body = f'{{"error": "{code}", "error_description": "for {CLIENT.secret}"}}'
    return answer(body.encode(), status=status, headers=headers)


def token(**members: object) -> Respond:
    """A right answer, but for `members`."""
    document = {"access_token": REFUSED_TOKEN, "token_type": "Bearer", "expires_in": 900}
    return answer(json.dumps(document | members).encode())


def ten_megabytes(connection: socket, _: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
    for _megabyte in range(10):
        connection.sendall(b"x" * 1_000_000)


def hang_up(connection: socket, _: Event) -> None:
    connection.close()


@dataclass(frozen=True)
class Trouble:
    """How an issuer answers, the error class, and when it is asked again."""

    respond: Respond
    error_class: str
    over_after: int = 0


OF_REQUESTS = {"invalid_request", "invalid_scope", "invalid_target", "access_denied"}
OF_CLIENTS = {"invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"}

TROUBLES: dict[str, Trouble] = {
    **{
        f"400 {code}": Trouble(error("400 Bad", code), code, REFUSED_RETRY_SECONDS)
        for code in sorted(OF_REQUESTS | OF_CLIENTS)
    },
    "401": Trouble(answer(status="401 Who"), "unexpected_status"),
    "403 with a page": Trouble(
        answer(b"<html>", status="403 No", headers="Retry-After: 40\r\n"), "unexpected_status"
    ),
    "404": Trouble(answer(status="404 Gone"), "unexpected_status"),
    "429": Trouble(answer(status="429 Slow"), "rate_limited"),
    "429 for a while": Trouble(
        answer(status="429 Slow", headers="Retry-After: 40\r\n"), "rate_limited"
    ),
    "500": Trouble(answer(status="500 Oh"), "issuer_unavailable"),
    "503 for a while": Trouble(
        answer(status="503 Later", headers="Retry-After: 40\r\n"), "issuer_unavailable"
    ),
    "400 temporarily": Trouble(error("400 Bad", "temporarily_unavailable"), "issuer_unavailable"),
    "redirect": Trouble(answer(status="302 Go", headers="Location: /x\r\n"), "answer_unusable"),
    "garbage": Trouble(answer(b"\xff\x00<html>"), "answer_unusable"),
    "no token": Trouble(answer(b"{}"), "answer_unusable"),
    "another type": Trouble(token(token_type="mac"), "answer_unusable"),
    "token of two lines": Trouble(token(access_token=f"{REFUSED_TOKEN}\r\nb"), "answer_unusable"),
    "10 MB": Trouble(ten_megabytes, "answer_unusable"),
    "hung up": Trouble(hang_up, "issuer_unavailable"),
    "no answer": Trouble(silence, "issuer_timeout"),
    "drips": Trouble(drip(b"HTTP/1.1 200 OK\r\n\r\n", every=0.05), "issuer_timeout"),
    "nearly dead": Trouble(token(expires_in=20), "nearly_dead_token"),
}
