"""The addresses that tokens are sent to: https, or http on this machine; and the paths there."""

from urllib.parse import SplitResult, quote, urlsplit

from byline_client.errors import Misused

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def checked_url(text: str, *, name: str) -> str:
    """A base URL without a slash at its end. `name` is the setting that has it.

    Raises `Misused`: a token sent over plain http could be read on its way.
    """
    parts = _split(text, name)
    is_local = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or not (parts.scheme == "https" or is_local):
        raise Misused(f"{name} must be an https:// URL (http:// for this machine only).")
    if parts.username or parts.password:
        raise Misused(f"{name} has a user name or a password. Remove it.")
    if parts.query or parts.fragment:
        raise Misused(f"{name} has a query or a fragment. Remove it.")
    return text.rstrip("/")


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, which say where something comes from."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def project_path(project: str, *names: str) -> str:
    """The path of a project, or of a resource in it. Raises `Misused`."""
    parts = (project, *names)
    if {"", ".", ".."} & {*parts}:
        # A path with such a part would be that of another resource.
        raise Misused("A name or an id must not be empty, `.` or `..`.")
    try:
        return "/v1/projects/" + "/".join(quote(part, safe="") for part in parts)
    except UnicodeEncodeError:
        raise Misused("A name or an id has a character that is not Unicode text.") from None


def _split(text: str, name: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError for a port that is no number
    except ValueError:
        raise Misused(f"{name} is not a URL.") from None
    return parts
