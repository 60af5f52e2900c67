"""The examples of docs/cli.md, run on the local stack as they are printed."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.openid_provider import ADA
from local.stack import Stack
from tests.docs.documents import ROOT
from tests.docs.example_shell import ExampleShell
from tests.docs.people_tokens import token_of

EXAMPLES = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/cli.md").read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleShell]:
    folder = tmp_path_factory.mktemp("examples")
    with Stack(log_folder=tmp_path_factory.mktemp("logs")) as stack:
        environ = {"BYLINE_URL": stack.url, "BYLINE_TOKEN": token_of(ADA, stack)}
        running = ExampleShell(stack, folder, environ)
        running.install()
        (folder / "train.sh").write_text('#!/bin/sh\n[ -n "$BYLINE_RUN_ID" ] && echo trained\n')
        (folder / "train.sh").chmod(0o755)
        stack.give_client("research", "nightly-train")
        yield running


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.stack
@pytest.mark.parametrize("example", [each for each in EXAMPLES if " watch " not in each])
def test_example_succeeds(shell: ExampleShell, example: str) -> None:
    """A reader who copies an example of the page gets no error."""
    shell(example)


@pytest.mark.stack
def test_example_of_a_watched_token_writes_it(shell: ExampleShell) -> None:
    """The example keeps the file fresh until it is ended."""
    [example] = [each for each in EXAMPLES if " watch " in each]
    shell("byline grant runner:token-reader ada@example.com --project research")
    shell("byline runners register trainer --client nightly-train --project research --wait")
    file = shell.folder / "tokens/trainer"
    with shell.start(f"exec {example.replace('/run/tokens', str(file.parent))}") as process:
        _wait_for(file)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err
    assert file.read_text() not in err
