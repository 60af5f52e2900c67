"""A release is tagged with the project's version and described by the changelog."""

import json
import subprocess
from pathlib import Path

import byline_client
import pytest

import byline
from tools.release_notes import main, notes, version

ROOT = Path(__file__).parents[2]
CHANGELOG = """# Changelog

## [Unreleased]

## [1.1.0] - 2027-01-15

### Added
- A thing.

## [1.0.0] - 2026-12-01
- The first release.

[1.1.0]: https://example.com/compare/v1.0.0...v1.1.0
"""


def test_version_of_the_api_document_is_the_projects() -> None:
    """`docs/openapi.json` states the version of `pyproject.toml`."""
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    assert document["info"]["version"] == version()


def test_version_of_the_layer_is_the_projects() -> None:
    """Requests to issuers carry it in `User-Agent`."""
    assert version() == byline.VERSION


def test_version_of_the_client_is_the_projects() -> None:
    """Client and service of one release have one number."""
    assert version() == byline_client.__version__


def test_notes_of_a_release_are_its_section() -> None:
    """The notes hold the entries of that release alone, without heading and links."""
    assert notes(CHANGELOG, "1.1.0") == "### Added\n- A thing.\n"
    assert notes(CHANGELOG, "1.0.0") == "- The first release.\n"


@pytest.mark.parametrize("release", ["1.2.0", "1.1", "1.1.0-rc1", "1x1.0", "Unreleased"])
def test_release_without_a_section_has_no_notes(release: str) -> None:
    """A release that the changelog does not describe is refused."""
    with pytest.raises(LookupError, match=r"no entries under a heading `## \[.*\] - YYYY-MM-DD`"):
        notes(CHANGELOG, release)


def test_release_with_an_empty_section_has_no_notes() -> None:
    """A heading without entries is not a description."""
    with pytest.raises(LookupError):
        notes("## [2.0.0] - 2027-02-01\n\n## [1.1.0] - 2027-01-15\n- A thing.\n", "2.0.0")


@pytest.mark.parametrize("tag", ["v9.9.9", "1.0", "v", ""])
def test_tag_of_another_version_is_refused(tag: str) -> None:
    """A tag that is not `v` and the project's version ends the release, and names both."""
    with pytest.raises(SystemExit, match=f"The tag is {tag}, but the version .* is {version()}"):
        main(tag)


def test_release_without_a_recording_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release whose rows no later version could be tested with is not made."""
    monkeypatch.setattr("tools.release_notes.RECORDINGS", tmp_path)
    with pytest.raises(SystemExit, match=r"no recording .* Run `make recording`"):
        main(f"v{version()}")


def test_recording_of_a_tagged_version_is_unchanged() -> None:
    """What a released version left is read by later versions as it was tagged."""
    tags = subprocess.run(
        ["git", "tag", "--list", "v*"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for tag in tags:
        recording = f"tests/releases/recorded/{tag.removeprefix('v')}.json"
        tagged = subprocess.run(
            ["git", "show", f"{tag}:{recording}"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        assert (ROOT / recording).read_bytes() == tagged, tag
