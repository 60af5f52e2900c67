"""Which addresses a request with a secret may have: https, or plain http on this machine."""

from urllib.parse import urlsplit

from byline.errors import Misconfigured
from byline.fetch import is_loopback


def require_https(variable: str, url: str) -> None:
    """Raise `Misconfigured` unless `url` is https, or http to a loopback host."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018 - raises where the port is not a number
    except ValueError:
        # The message does not quote the URL, which may hold a password.
        raise Misconfigured(variable, "is not a URL.") from None
    if parts.username is not None or parts.password is not None:
        raise Misconfigured(variable, "is a URL with a user name or password. Remove them.")
    if parts.scheme == "https" and host:
        return
    if parts.scheme == "http" and is_loopback(host):
        return
    raise Misconfigured(variable, f"is {url!r}, and must be https (or http on loopback).")


def is_private(url: str) -> bool:
    """Whether a secret may be sent to `url`: `require_https` accepts it."""
    try:
        require_https("", url)
    except Misconfigured:
        return False
    return True
