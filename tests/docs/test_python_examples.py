"""The examples of docs/python.md, run on the local stack as they are printed."""

import re
from collections.abc import Iterator

import pytest

from local.openid_provider import ADA
from local.stack import Stack
from tests.client.servers import Told, told
from tests.docs.documents import ROOT
from tests.docs.example_shell import ExampleShell
from tests.docs.people_tokens import token_of

EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(), re.M | re.S)
API = "https://warehouse.example.com"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleShell]:
    with Stack(log_folder=tmp_path_factory.mktemp("logs")) as stack:
        environ = {"BYLINE_URL": stack.url, "BYLINE_TOKEN": token_of(ADA, stack)}
        running = ExampleShell(stack, tmp_path_factory.mktemp("examples"), environ)
        running.install()
        stack.give_client("research", "nightly-train")
        yield running


@pytest.mark.stack
@pytest.mark.parametrize("example", [each for each in EXAMPLES if "RunnerAuth" not in each])
def test_example_records_its_runs(shell: ExampleShell, example: str) -> None:
    """A reader who copies an example of runs finds them recorded as succeeded."""
    shell.python(example)
    names = re.findall(r'(?:run|child)\("(\w+)"', example)
    listed = shell(f"byline runs --project research --status succeeded --limit {len(names)} --json")
    assert sorted(re.findall(r'"name": "([\w-]+)",\n    "status"', listed)) == sorted(names)


@pytest.mark.stack
def test_example_of_a_runners_token_sends_it(shell: ExampleShell) -> None:
    """The program's request has the token that the runner has at the time."""
    [example] = [each for each in EXAMPLES if "RunnerAuth" in each]
    shell("byline whoami && byline runs --mine --all-projects")
    shell("byline runners register trainer --client nightly-train --project research --wait")
    shell("byline grant runner:token-reader ada@example.com --project research")
    with told(lambda _: Told()) as api:
        shell.python(example.replace(API, api.url))
    [request] = api.received
    token = shell("byline token trainer --project research --show").strip()
    assert (request.path, request.headers["authorization"]) == ("/tables", f"Bearer {token}")
