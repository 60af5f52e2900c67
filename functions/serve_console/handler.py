"""ServeConsoleFunction: answers the console's addresses with files, and knows nothing else.

It reads no table, no secret and no token, and calls nobody. What the console shows comes from the
API, which the browser asks with the person's own session.
"""

from collections.abc import Callable, Mapping
from typing import Any

from serve_console.files import ASSETS, COMMON, ConsoleFile, load


def build() -> Callable[[Mapping[str, Any], object], dict[str, Any]]:
    """The handler, with every file compressed. It needs no settings."""
    page, assets = load()

    def handle(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        """The file of the event's path, or 404. All other addresses share one page."""
        path = event.get("path", "")
        headers = event.get("multiValueHeaders") or {}
        if event.get("httpMethod") not in ("GET", "HEAD"):
            return _answer(405, {**COMMON, "Allow": "GET, HEAD", "Cache-Control": "no-store"})
        found = assets.get(path) if path.startswith(ASSETS) else page
        if found is None:
            return _answer(404, {**COMMON, "Cache-Control": "no-store"})
        return _sent(found, headers)

    return handle


def _sent(file: ConsoleFile, headers: Mapping[str, list[str]]) -> dict[str, Any]:
    named = {**file.headers, "ETag": file.etag}
    known = ",".join(headers.get("if-none-match", ()))
    if file.etag in known:
        return _answer(304, named)
    if "gzip" in ",".join(headers.get("accept-encoding", ())):
        return _answer(200, {**named, "Content-Encoding": "gzip"}, file.compressed, is_base64=True)
    return _answer(200, named, file.plain)


def _answer(
    status: int, headers: Mapping[str, str], body: str = "", *, is_base64: bool = False
) -> dict[str, Any]:
    """An answer in the shape of a target group with multi-value headers."""
    return {
        "statusCode": status,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "body": body,
        "isBase64Encoded": is_base64,
    }


handler = build()
