"""Which requests a server on loopback answers: none that a page of another site can cause.

A browser lets every page send requests to loopback, and a page whose name resolves to 127.0.0.1
("DNS rebinding") even reads the answers. Three headers, which a page cannot forge, tell such
requests from those of programs and of the user:

    Host            names the page's site, after rebinding
    Origin          names the page's origin, in each request but a simple GET
    Sec-Fetch-Site  says how that origin relates to this server (https://www.w3.org/TR/fetch-metadata/)
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""The names of this machine in `Host`. Containers use `localhost` too (container_relay.py)."""

SIGNATURE = "AWS4-HMAC-SHA256 "

type Headers = Collection[tuple[str, str]]


class Clients(Enum):
    """The clients that a server is for."""

    SIGNING_PROGRAMS = auto()
    """Clients of AWS: a request without a signature is refused, as by AWS. The signature is not
    verified. A page cannot send one without a preflight, and the preflight is refused."""

    PROGRAMS = auto()
    """No browser: a request that a page causes is refused, even a page of this server."""

    BROWSERS = auto()
    """Browsers too: their users come from other sites by links and by the redirects of a sign-in.
    Other requests from other sites are refused, also from another port of this machine."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status and the sentence of the answer to a refused request."""

    status: HTTPStatus
    text: str


def refusal(method: str, headers: Headers, *, port: int, clients: Clients) -> Refusal | None:
    """Why a server on `port` for `clients` refuses the request. None if it answers."""
    hosts = _values(headers, "host")
    if len(hosts) != 1:
        return Refusal(HTTPStatus.BAD_REQUEST, "A request needs one Host header.")
    host = hosts[0].lower()
    if not _is_this_server(host, port):
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"This server answers as localhost:{port} and 127.0.0.1:{port} only.",
        )
    if clients is Clients.BROWSERS:
        if _is_from_another_origin(method, host, headers):
            return Refusal(HTTPStatus.FORBIDDEN, "This server answers no page of another site.")
    elif _values(headers, "origin") or not _sites(headers) <= {"none"}:
        # `none`: the user typed the address.
        return Refusal(HTTPStatus.FORBIDDEN, "This server answers no web page.")
    elif clients is Clients.SIGNING_PROGRAMS and not _is_signed(headers):
        return Refusal(HTTPStatus.FORBIDDEN, "This server answers signed requests of AWS clients.")
    return None


def _is_this_server(host: str, port: int) -> bool:
    name, separator, given = host.rpartition(":")
    if not separator or given.endswith("]"):
        name, given = host, "80"  # the default port of http
    return name in LOOPBACK_NAMES and given == str(port)


def _is_from_another_origin(method: str, host: str, headers: Headers) -> bool:
    if any(origin.lower() != f"http://{host}" for origin in _values(headers, "origin")):
        return True
    if _sites(headers) <= {"none", "same-origin"}:
        return False
    # Not into a frame, where a page could lead the user's clicks.
    is_navigation = _values(headers, "sec-fetch-mode") == ["navigate"] and _values(
        headers, "sec-fetch-dest"
    ) == ["document"]
    return not (is_navigation and method in ("GET", "HEAD"))


def _is_signed(headers: Headers) -> bool:
    signatures = _values(headers, "authorization")
    return len(signatures) == 1 and signatures[0].startswith(SIGNATURE)


def _sites(headers: Headers) -> set[str]:
    return set(_values(headers, "sec-fetch-site"))


def _values(headers: Headers, name: str) -> list[str]:
    return [value for header, value in headers if header.lower() == name]
