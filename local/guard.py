"""Which requests a server on loopback answers: none that a page of another site can cause.

A browser lets every page send requests to loopback, and a page whose name resolves to 127.0.0.1
("DNS rebinding") even reads the answers. Three headers, which a page cannot forge, tell such
requests from those of programs and of the user:

    Host            names the page's site, after rebinding
    Origin          names the page's origin, in each request but a simple GET
    Sec-Fetch-Site  says how that origin relates to this server (https://www.w3.org/TR/fetch-metadata/)
"""

from dataclasses import dataclass
from email.message import Message
from enum import Enum, auto
from http import HTTPStatus

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""The names of this machine in `Host`. Containers use `localhost` too (container_relay.py)."""


class Clients(Enum):
    """The clients that a server is for."""

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


def refusal(method: str, headers: Message, *, port: int, clients: Clients) -> Refusal | None:
    """Why a server on `port` for `clients` refuses the request. None if it answers."""
    hosts = headers.get_all("host", [])
    if len(hosts) != 1:
        return Refusal(HTTPStatus.BAD_REQUEST, "A request needs one Host header.")
    host = hosts[0].lower()
    if not _is_this_server(host, port):
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"This server answers as localhost:{port} and 127.0.0.1:{port} only.",
        )
    if clients is Clients.PROGRAMS and _is_from_a_page(headers):
        return Refusal(HTTPStatus.FORBIDDEN, "This server answers no web page.")
    if clients is Clients.BROWSERS and _is_from_another_origin(method, host, headers):
        return Refusal(HTTPStatus.FORBIDDEN, "This server answers no page of another site.")
    return None


def _is_this_server(host: str, port: int) -> bool:
    name, separator, given = host.rpartition(":")
    if not separator or given.endswith("]"):
        name, given = host, "80"  # the default port of http
    return name in LOOPBACK_NAMES and given == str(port)


def _is_from_a_page(headers: Message) -> bool:
    # `none` is the user's own: an address that was typed. Origin is in no such request.
    return "origin" in headers or not _sites(headers) <= {"none"}


def _is_from_another_origin(method: str, host: str, headers: Message) -> bool:
    if any(origin.lower() != f"http://{host}" for origin in headers.get_all("origin", [])):
        return True
    if _sites(headers) <= {"none", "same-origin"}:
        return False
    # Not into a frame, where a page could lead the user's clicks.
    is_navigation = headers.get_all("sec-fetch-mode") == ["navigate"] and headers.get_all(
        "sec-fetch-dest"
    ) == ["document"]
    return not (is_navigation and method in ("GET", "HEAD"))


def _sites(headers: Message) -> set[str]:
    return set(headers.get_all("sec-fetch-site", []))
