"""What guards the policies before they are deployed: `make policies`."""

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

from tools.check_policies import POLICIES, faults

CANCEL = """
@id("the night watch stops what runs wild")
permit (
  principal in Byline::Role::"night-watch",
  action == Byline::Action::"cancel_run",
  resource
);
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped policies, and an operator's role beside them."""
    copied = copytree(POLICIES, tmp_path / "policies")
    (copied / "operators.cedar").write_text(CANCEL)
    roles = json.loads((copied / "roles.json").read_text())
    (copied / "roles.json").write_text(json.dumps(roles | {"night-watch": "Cancels runs."}))
    return copied


def respell(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_shipped_policies_have_no_fault() -> None:
    """They fit the schema, and roles and policies name each other."""
    assert faults() == []


def test_role_of_an_operator_has_no_fault(folder: Path) -> None:
    """One file and one line more are all that it takes."""
    assert faults(folder) == []


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('"cancel_run"', '"cancel_runs"', "cancel_runs"),
        ("Byline::Role::", "Byline::Group::", "Group"),
        ("resource\n", "resource is Byline::Secret\n", "Secret"),
        ("resource\n", "resource is Byline::Credential\n", "applicable"),
        (");", ") when { resource.owner == principal };", "owner"),
        (");", ")", "parse"),
        ('@id("the night watch stops what runs wild")', "", "without @id"),
        ("the night watch stops what runs wild", "viewers see, and may speak", "same @id"),
        ("night-watch", "day-watch", "day-watch is missing in roles.json"),
    ],
)
def test_fault_of_a_policy_is_told_with_its_file(
    folder: Path, before: str, after: str, told: str
) -> None:
    """A misspelt policy would permit nothing, or not forbid what it should."""
    respell(folder / "operators.cedar", before, after)
    found = faults(folder)
    assert any(told in fault for fault in found), found


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("night-watch", "night-shift", "no policy names night-shift"),
        ("Cancels runs.", "", "night-watch says nothing"),
    ],
)
def test_fault_of_a_role_is_told(folder: Path, before: str, after: str, told: str) -> None:
    """A role that can be granted does something, and says what."""
    respell(folder / "roles.json", before, after)
    assert any(told in fault for fault in faults(folder))


def test_command_fails_with_the_faults(folder: Path) -> None:
    """So that CI does."""
    respell(folder / "operators.cedar", '"cancel_run"', '"cancel_runs"')
    command = [sys.executable, "-m", "tools.check_policies", str(folder)]
    broken = subprocess.run(command, capture_output=True, text=True, check=False)
    assert broken.returncode == 1
    assert "operators.cedar" in broken.stderr
    assert subprocess.run([*command[:-1]], check=False).returncode == 0
