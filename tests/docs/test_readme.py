"""The README's examples, run on the local stack as they are printed."""

import re
from collections.abc import Iterator

import httpx
import pytest

from local.openid_provider import ADA, GRACE
from local.stack import Stack
from tests.docs.documents import section
from tests.docs.example_shell import ExampleShell
from tests.docs.people_tokens import token_of, token_of_client

EXAMPLES = re.findall(r"^```(sh|python)\n(.*?)^```", section("README.md", "## Use"), re.M | re.S)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(log_folder=tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.mark.stack
def test_examples_of_the_readme_succeed(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A reader who copies the examples of the README, in order, gets no error."""
    ada, grace = token_of(ADA, stack), token_of(GRACE, stack)
    environ = {"TOKEN": ada, "ASSISTANT_TOKEN": token_of_client("assistant", stack)}
    shell = ExampleShell(stack, tmp_path_factory.mktemp("examples"), environ)
    shell.install()
    (shell.folder / "train.sh").write_text("#!/bin/sh\n")
    (shell.folder / "train.sh").chmod(0o755)
    # Grace has called before, so that her e-mail address is known.
    httpx.get(f"{stack.url}/v1/whoami", headers={"authorization": f"Bearer {grace}"})
    # The last example invokes a built function in Docker; tests/deploy has it.
    ready = [(language, text) for language, text in EXAMPLES if "sam local" not in text]
    assert [language for language, _ in ready] == ["sh", "sh", "sh", "python", "sh"]
    shown = "".join(
        shell(text) if language == "sh" else shell.python(text) for language, text in ready
    )
    assert "create run\tAda Lovelace" in shown
    shell("byline runners --project research | grep -x trainer")
    assert '"status":"ready"' in shown.replace(" ", "")
