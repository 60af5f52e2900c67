"""`byline whoami` against the running stack."""

import json

import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack

pytestmark = pytest.mark.stack


def test_whoami_names_caller_credential_and_end(byline: CommandLine, stack: RunningStack) -> None:
    """A job sees who it is, through what and until when."""
    token = stack.machine_token()
    done = byline.having(BYLINE_URL=stack.url, BYLINE_TOKEN=token)("whoami")
    assert done.returncode == 0, done.stderr
    facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert facts["name"] == "nightly-train"
    assert facts["kind"] == "application"
    assert facts["credential"] == "token"
    assert facts["until"].endswith(("(in 15 minutes)", "(in 14 minutes)"))
    assert token not in done.stdout


def test_whoami_as_json_is_the_answer_of_the_service(
    byline: CommandLine, stack: RunningStack
) -> None:
    """A script gets the service's own document, with the credential."""
    ready = byline.having(BYLINE_URL=stack.url, BYLINE_TOKEN=stack.machine_token())
    document = json.loads(ready("whoami", "--json").stdout)
    assert document["who"]["executed_by"]["subject"] == "nightly-train"
    assert document["expires_at"].endswith("+00:00")


def test_rejected_token_exits_with_four(byline: CommandLine, stack: RunningStack) -> None:
    """A token of nobody is refused with the service's reason."""
    done = byline.having(BYLINE_URL=stack.url, BYLINE_TOKEN="not-a-token")("whoami")
    assert done.returncode == 4
    assert "byline login" in done.stderr
