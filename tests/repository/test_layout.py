"""The table of folders in CONTRIBUTING.md describes the repository as it is."""

import re

from tests.repository.files import ROOT, tracked


def described() -> set[str]:
    """The paths in the first column of the table under *Layout*."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.search(r"^## Layout\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert section is not None
    cells = re.findall(r"^\| (`.+?) \|", section[1], re.M)
    return {path for cell in cells for path in re.findall(r"`([^`]+)`", cell)}


def test_every_path_that_is_described_exists() -> None:
    """A folder that was moved or deleted leaves the table."""
    files = tracked()
    missing = {
        path
        for path in described()
        if not any(file == path or file.startswith(path.rstrip("/") + "/") for file in files)
    }
    assert missing == set()


def test_every_top_level_folder_is_described() -> None:
    """A new top-level folder gets a row in the table."""
    folders = {file.split("/")[0] + "/" for file in tracked() if "/" in file}
    assert folders <= described()
