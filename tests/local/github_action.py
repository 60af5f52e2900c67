"""Runs action.yml as a GitHub runner does: its shell lines, with its inputs and variables.

https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ACTION: Mapping[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
_EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")


@dataclass(frozen=True)
class Job:
    """A job of a workflow that uses the action. `environ`: the variables of the job."""

    folder: Path
    environ: Mapping[str, str]

    @property
    def outputs(self) -> str:
        """What the steps wrote as outputs."""
        path = self.folder / "outputs"
        return path.read_text() if path.exists() else ""

    def use(self, **inputs: str) -> "subprocess.CompletedProcess[str]":
        """The last step that ran: all steps with the inputs, until one fails."""
        known = ACTION["inputs"]
        unknown = set(inputs) - set(known)
        missing = {name for name, each in known.items() if each.get("required")} - set(inputs)
        assert not unknown | missing
        values = {"github.workflow": "train"}
        values |= {f"inputs.{name}": each.get("default", "") for name, each in known.items()}
        values |= {f"inputs.{name}": text for name, text in inputs.items()}

        def evaluate(text: str) -> str:
            return _EXPRESSION.sub(lambda found: values[found[1]], text)

        values = {name: evaluate(text) for name, text in values.items()}
        done = None
        for step in ACTION["runs"]["steps"]:
            assert step["shell"] == "bash"
            assert not _EXPRESSION.search(step["run"])
            script = self.folder / "step.sh"
            script.write_text(step["run"])
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": os.environ["HOME"],
                    "RUNNER_TEMP": str(self.folder),
                    "GITHUB_ACTION_PATH": str(ROOT),
                    "GITHUB_OUTPUT": str(self.folder / "outputs"),
                    **self.environ,
                    **{name: evaluate(text) for name, text in step.get("env", {}).items()},
                },
                cwd=self.folder / evaluate(step.get("working-directory", ".")),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                break
        assert done is not None
        return done
