"""ServeConsoleFunction: which file it answers an address with, and how browsers keep the file."""

import gzip
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from serve_console.files import PAGES
from serve_console.handler import build
from serve_console.scripts import UnreadableModule, joined

HANDLE = build()
GZIP = {"accept-encoding": ["gzip, deflate, br"]}


def ask(path: str, *, method: str = "GET", headers: dict[str, list[str]] | None = None) -> Any:
    """The answer to a request, with its headers by lower-case name and its body as text."""
    event = {"httpMethod": method, "path": path, "multiValueHeaders": headers or {}}
    answer = HANDLE(event, None)
    answer["headers"] = {
        name.lower(): value for name, [value] in answer.pop("multiValueHeaders").items()
    }
    if answer["isBase64Encoded"]:
        answer["body"] = gzip.decompress(b64decode(answer["body"])).decode()
    return answer


def assets() -> list[str]:
    """The addresses that the page names."""
    return re.findall(r'(?:href|src)="(/console/assets/[^"]+)"', ask("/")["body"])


@pytest.mark.parametrize("path", ["/", "/console/runs", "/console/runs/apollo/01M", "/console/x"])
def test_address_of_a_page_is_answered_with_the_page(path: str) -> None:
    """Every page is the same file, which only the browser may keep, and asks for each time."""
    answer = ask(path)
    assert (answer["statusCode"], answer["body"]) == (200, ask("/")["body"])
    assert answer["headers"]["content-type"] == "text/html; charset=utf-8"
    assert answer["headers"]["cache-control"] == "private, no-cache"
    known = {"if-none-match": [answer["headers"]["etag"]]}
    again = ask(path, headers=known)
    assert (again["statusCode"], again["body"]) == (304, "")
    assert again["headers"]["etag"] == answer["headers"]["etag"]


def test_file_is_named_by_its_content_and_kept_for_ever() -> None:
    """Script, style and icon have addresses with a hash, which never get another content.

    No shared cache keeps them: the load balancer may add a session's cookie to any answer.
    """
    kinds = {path.rpartition(".")[2]: ask(path) for path in assets()}
    assert kinds.keys() == {"js", "css", "svg"}
    for answer in kinds.values():
        assert answer["statusCode"] == 200
        assert answer["headers"]["cache-control"] == "private, max-age=31536000, immutable"


def test_file_of_another_version_is_not_found() -> None:
    """A hash that this version does not have is 404, never another version's content."""
    answer = ask(re.sub("[0-9a-f]{16}", "0" * 16, assets()[0]))
    assert (answer["statusCode"], answer["headers"]["cache-control"]) == (404, "no-store")


@pytest.mark.parametrize("path", ["/", *assets()])
def test_compressed_file_has_the_same_content(path: str) -> None:
    """A browser that accepts gzip gets the same text in fewer bytes."""
    plain, compressed = ask(path), ask(path, headers=GZIP)
    assert compressed["headers"]["content-encoding"] == "gzip"
    assert "content-encoding" not in plain["headers"]
    assert compressed["body"] == plain["body"]
    assert plain["headers"]["vary"] == "Accept-Encoding"


def test_first_page_is_small() -> None:
    """Three requests, and 60 KB compressed in all: page, style and script."""
    first = ["/", *(path for path in assets() if not path.endswith(".svg"))]
    assert len(first) == 3
    event = {"httpMethod": "GET", "multiValueHeaders": GZIP}
    sizes = [len(b64decode(HANDLE({**event, "path": path}, None)["body"])) for path in first]
    assert sum(sizes) <= 60_000


@pytest.mark.parametrize("path", ["/", *assets(), "/console/assets/none.js"])
def test_answer_permits_no_foreign_code(path: str) -> None:
    """The policy has no inline code, no foreign host, no frame, and requires Trusted Types."""
    headers = ask(path)["headers"]
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        **dict.fromkeys(("script-src", "style-src", "connect-src", "img-src"), "'self'"),
        **dict.fromkeys(("base-uri", "form-action", "frame-ancestors"), "'none'"),
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_method_is_refused(method: str) -> None:
    """The console changes nothing, so it knows GET and HEAD alone."""
    answer = ask("/", method=method)
    assert (answer["statusCode"], answer["headers"]["allow"]) == (405, "GET, HEAD")
    assert answer["headers"]["cache-control"] == "no-store"


def test_page_has_no_inline_code() -> None:
    """The policy would refuse it: the page has neither inline script nor inline style."""
    page = ask("/")["body"]
    assert not re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", page)


def test_modules_write_no_markup() -> None:
    """No module makes markup or code of text: preact sets text and attributes."""
    writers = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    for module in PAGES.glob("*.js"):
        assert not re.findall(writers + "|dangerouslySet", module.read_text()), module.name


@pytest.mark.parametrize(
    "source",
    [
        'import * as all from "./other.js";',
        'import "./other.js";',
        'export * from "./other.js";',
        "export default 1;",
        'import { one } from "https://example.com/one.js";',
        'import { one } from "./entry.js";',
    ],
)
def test_module_that_cannot_be_joined_is_refused(source: str, tmp_path: Path) -> None:
    """A form of import that the joining does not know is an error, never a broken page."""
    (tmp_path / "other.js").write_text("export const one = 1;")
    (tmp_path / "entry.js").write_text(source)
    with pytest.raises(UnreadableModule):
        joined(tmp_path, "entry.js")


def test_joined_modules_keep_their_names_apart(tmp_path: Path) -> None:
    """Two modules may use one name: each has a scope of its own."""
    (tmp_path / "other.js").write_text("const own = 1;\nexport function one() { return own; }")
    (tmp_path / "entry.js").write_text('import { one as two } from "./other.js";\nconst own = two;')
    script = joined(tmp_path, "entry.js")
    assert 'const { one: two } = $modules["other.js"];' in script
    assert "return { one: one };" in script
    assert script.count("(() => {") == 2
