"""Decisions: one record a file, each with the same parts and a row in the index."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.documents import ROOT, table

FOLDER = ROOT / "docs/decisions"
INDEX = FOLDER / "README.md"
RECORDS = sorted(path for path in FOLDER.glob("*.md") if path != INDEX)
PARTS = ["Context", "Decision", "Consequence"]


def _listed() -> dict[str, tuple[str, str, str]]:
    """Title, date and status in the index, by file name."""
    found = {}
    for part in INDEX.read_text().split("\n## ")[1:]:
        for row in table(part, "decision"):
            match = re.fullmatch(r"\[(.+)\]\(([a-z0-9-]+\.md)\)", row["decision"])
            assert match, row
            found[match[2]] = (match[1], row["date"], row["status"])
    return found


def test_index_lists_every_record_and_no_other() -> None:
    """A reader of the index sees all decisions."""
    assert sorted(_listed()) == [path.name for path in RECORDS]


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_record_has_its_parts_and_agrees_with_the_index(record: Path) -> None:
    """A record has a title, a date, a status, and says context, decision and consequence."""
    text = record.read_text()
    head = re.match(r"# (.+)\n\n- Date: (\d{4}-\d\d-\d\d)\n- Status: (.+)\n\n## ", text)
    assert head
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    assert _listed()[record.name] == head.groups()


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_superseded_record_names_an_accepted_successor(record: Path) -> None:
    """A record is in force, or links to the record that replaced it."""
    [status] = re.findall(r"^- Status: (.+)$", record.read_text(), re.MULTILINE)
    if status == "accepted":
        return
    successor = re.fullmatch(r"superseded by \[(.+)\]\(([a-z0-9-]+\.md)\)", status)
    assert successor
    assert (FOLDER / successor[2]).read_text().startswith(f"# {successor[1]}\n")


@pytest.mark.parametrize(
    ("record", "requirements"),
    [
        ("runtime-dependencies.md", "layers/identity/requirements.in"),
        ("development-dependencies.md", "requirements/dev.in"),
    ],
)
def test_every_dependency_has_its_reason_on_record(record: str, requirements: str) -> None:
    """The table of reasons names the packages of the requirements file, and no other."""
    lines = (ROOT / requirements).read_text().splitlines()
    required = {
        re.split(r"[=\[]", line)[0].lower() for line in lines if line and line[0] not in "#-"
    }
    rows = table((FOLDER / record).read_text(), "package")
    assert {name.lower() for row in rows for name in row["package"].split(", ")} == required
    assert all(row["reason"] for row in rows)


def test_every_dependency_of_the_client_has_its_reason_on_record() -> None:
    """The table of reasons names the packages that the client installs, and no other."""
    with (ROOT / "client/pyproject.toml").open("rb") as file:
        required = tomllib.load(file)["project"]["dependencies"]
    rows = table((FOLDER / "client-dependencies.md").read_text(), "package")
    assert [row["package"] for row in rows] == [re.split(r"[<>=]", text)[0] for text in required]
    assert all(row["reason"] for row in rows)
