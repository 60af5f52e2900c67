"""The files of the console, ready to send: each compressed once, with its type and its headers."""

import gzip
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from serve_console.scripts import joined

PAGES = Path(__file__).parent / "pages"
ASSETS = "/console/assets/"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The Content-Security-Policy. The pages have no inline script or style, and no foreign host.
https://www.w3.org/TR/CSP3/"""

COMMON = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}

# `private`: the load balancer may add the cookie of a renewed session to any answer, which a shared
# cache would give to others.
_FOR_EVER = "private, max-age=31536000, immutable"
_ASK_AGAIN = "private, no-cache"
"""The browser may keep the page, and asks with its ETag before it shows it again."""


@dataclass(frozen=True, slots=True)
class ConsoleFile:
    """A file as text of Lambda's answers: `plain` for clients that accept no gzip.

    `compressed` is base64 of gzip.
    """

    plain: str
    compressed: str
    etag: str
    headers: dict[str, str]


def load() -> tuple[ConsoleFile, dict[str, ConsoleFile]]:
    """The page of all addresses, and the files that it names, by path."""
    assets: dict[str, ConsoleFile] = {}

    def add(name: str, kind: str, content_type: str, text: str) -> str:
        path = f"{ASSETS}{name}-{sha256(text.encode()).hexdigest()[:16]}.{kind}"
        assets[path] = _file(text, content_type, _FOR_EVER)
        return path

    page = (PAGES / "page.html").read_text()
    for mark, path in {
        "{{style}}": add("style", "css", "text/css", (PAGES / "style.css").read_text()),
        "{{script}}": add("app", "js", "text/javascript", joined(PAGES, "app.js")),
        "{{icon}}": add("icon", "svg", "image/svg+xml", (PAGES / "icon.svg").read_text()),
    }.items():
        page = page.replace(mark, path)
    return _file(page, "text/html", _ASK_AGAIN), assets


def _file(text: str, content_type: str, caching: str) -> ConsoleFile:
    body = text.encode()
    return ConsoleFile(
        plain=text,
        # Without a time, so that the same file has the same bytes.
        compressed=b64encode(gzip.compress(body, 9, mtime=0)).decode(),
        etag=f'"{sha256(body).hexdigest()[:32]}"',
        headers={
            **COMMON,
            "Content-Type": f"{content_type}; charset=utf-8",
            "Cache-Control": caching,
        },
    )
