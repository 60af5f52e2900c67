"""The check of policies before deployment (`make policies`) finds each kind of fault."""

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

from tools.check_policies import POLICIES, faults

CANCEL = """
@id("night watch may cancel runs")
permit (
  principal in Byline::Role::"night-watch",
  action == Byline::Action::"cancel_run",
  resource
);
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped policies with a role of an operator beside them."""
    copied = copytree(POLICIES, tmp_path / "policies")
    (copied / "operators.cedar").write_text(CANCEL)
    roles = json.loads((copied / "roles.json").read_text())
    (copied / "roles.json").write_text(json.dumps(roles | {"night-watch": "Cancels runs."}))
    return copied


def respell(file: Path, before: str, after: str) -> None:
    """Replace the first `before` in a file by `after`."""
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_shipped_policies_have_no_fault() -> None:
    """The shipped policies fit the schema, and roles and policies name each other."""
    assert faults() == []


def test_operators_role_has_no_fault(folder: Path) -> None:
    """A role needs only one policy file and one line of `roles.json`."""
    assert faults(folder) == []


@pytest.mark.parametrize(
    ("before", "after", "reported"),
    [
        ('"cancel_run"', '"cancel_runs"', "cancel_runs"),
        ("Byline::Role::", "Byline::Group::", "Group"),
        ("resource\n", "resource is Byline::Secret\n", "Secret"),
        ("resource\n", "resource is Byline::Credential\n", "applicable"),
        (");", ") when { resource.owner == principal };", "owner"),
        (");", ")", "parse"),
        ('@id("night watch may cancel runs")', "", "without @id"),
        ("night watch may cancel runs", "viewers read and post messages", "same @id"),
        ("night-watch", "day-watch", "day-watch is missing in roles.json"),
    ],
)
def test_fault_of_a_policy_is_reported(
    folder: Path, before: str, after: str, reported: str
) -> None:
    """A misspelt name, a syntax error and a missing or repeated `@id` are reported."""
    respell(folder / "operators.cedar", before, after)
    found = faults(folder)
    assert any(reported in fault for fault in found), found


@pytest.mark.parametrize(
    ("before", "after", "reported"),
    [
        ("night-watch", "night-shift", "no policy names night-shift"),
        ("Cancels runs.", "", "night-watch has no description"),
    ],
)
def test_fault_of_a_role_is_reported(folder: Path, before: str, after: str, reported: str) -> None:
    """A role without a policy and a role without a description are reported."""
    respell(folder / "roles.json", before, after)
    assert any(reported in fault for fault in faults(folder))


def test_command_with_faults_fails(folder: Path) -> None:
    """The command exits with 1 and prints the faulty file; without faults it exits with 0."""
    respell(folder / "operators.cedar", '"cancel_run"', '"cancel_runs"')
    command = [sys.executable, "-m", "tools.check_policies", str(folder)]
    broken = subprocess.run(command, capture_output=True, text=True, check=False)
    assert broken.returncode == 1
    assert "operators.cedar" in broken.stderr
    assert subprocess.run([*command[:-1]], check=False).returncode == 0
