"""Prints the changelog's section of a release.

    python -m tools.release_notes v0.1.0

Exits with 1 and a message where the tag is not the version of `pyproject.toml`, where
`CHANGELOG.md` has no section, or an empty one, for that version, or where nobody recorded what the
version leaves in AWS (`make recording`).
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORDINGS = ROOT / "tests/releases/recorded"


def version() -> str:
    """The version of the project, from `pyproject.toml`, its only definition."""
    project: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["version"]


def notes(changelog: str, release: str) -> str:
    """The text of the changelog's section of a release, without its heading. LookupError: none."""
    heading = rf"^## \[{re.escape(release)}\] - \d{{4}}-\d\d-\d\d$"
    section = re.search(rf"{heading}\n(.*?)(?=^## |^\[[^]]+\]: |\Z)", changelog, re.M | re.S)
    if section is None or not section[1].strip():
        message = (
            f"CHANGELOG.md has no entries under a heading `## [{release}] - YYYY-MM-DD`. "
            "Move the entries of `## [Unreleased]` there."
        )
        raise LookupError(message)
    return section[1].strip() + "\n"


def main(tag: str) -> None:
    """Print the notes of a tag's release, or exit with the reason why there are none."""
    if tag != f"v{version()}":
        sys.exit(f"The tag is {tag}, but the version in pyproject.toml is {version()}.")
    if not (RECORDINGS / f"{version()}.json").exists():
        sys.exit(f"There is no recording of {version()}. Run `make recording` and commit it.")
    try:
        print(notes((ROOT / "CHANGELOG.md").read_text(), version()), end="")
    except LookupError as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main(sys.argv[1])
