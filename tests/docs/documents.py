"""The Markdown files of the repository: their sections, tables, links and anchors."""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a document, to a file of the repository and perhaps a heading in it."""

    document: str
    target: str


@cache
def documents() -> tuple[Path, ...]:
    """Every Markdown file of the repository, also those that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = sorted(ROOT / name for name in listed.splitlines())
    return tuple(path for path in found if path.exists())


def section(document: str, heading: str) -> str:
    """The text of a document below `heading`, up to the next heading of the same or a higher level.

    `heading` is written with its marks, as in `## Reasons`.
    """
    level = heading.partition(" ")[0]
    text = f"\n{(ROOT / document).read_text()}"
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{document} has no heading {heading!r}"
    return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]


def table(text: str, first_column: str) -> list[dict[str, str]]:
    """The rows of the first table of `text` whose first column has this title, by column title."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    start = next(
        (number for number, line in enumerate(lines) if _cells(line)[0] == first_column), None
    )
    assert start is not None, f"there is no table of {first_column!r}"
    titles = _cells(lines[start])
    rows = []
    for line in lines[start + 2 :]:
        cells = _cells(line)
        if len(cells) != len(titles):
            break
        rows.append(dict(zip(titles, cells, strict=True)))
    return rows


def names(cell: str) -> list[str]:
    """The names in a cell that are written as code."""
    return re.findall(r"`([^`]+)`", cell)


def links(path: Path) -> list[Link]:
    """The links of a document to files of the repository, outside of code."""
    text = _CODE.sub("", _FENCE.sub("", path.read_text()))
    return [
        Link(str(path.relative_to(ROOT)), target)
        for target in _LINK.findall(text)
        if not re.match(r"[a-z]+:", target)
    ]


def code(path: Path) -> list[str]:
    """What a document shows as code: its code spans, and the lines of its code blocks."""
    text = path.read_text()
    blocks = [line.strip() for block in _FENCE.findall(text) for line in block.splitlines()[1:-1]]
    return blocks + [span.strip("`") for span in _CODE.findall(_FENCE.sub("", text))]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    return {_anchor(heading) for heading in _HEADING.findall(_FENCE.sub("", path.read_text()))}


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
