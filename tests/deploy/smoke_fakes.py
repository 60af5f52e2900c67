"""The surroundings of checks whose stack is a fake, and the verdict of one check."""

from typing import Any

from tools.smoke.endpoint import Endpoint
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Check, Verdict, verdicts


class FakeStack:
    """A deployed stack whose clients are fakes, by service."""

    def __init__(self, **clients: Any) -> None:
        self._clients = clients
        self.outputs = {"RunsTable": "runs", "AccessTable": "access"}
        self.live = {"Role": "arn:aws:iam::123456789012:role/runs"}

    def client(self, service: str) -> Any:
        return self._clients[service]


def verdict_of(check: Check) -> Verdict:
    """The verdict of one check."""
    [verdict] = verdicts([("check", check)])
    return verdict


def around(stack: Any) -> Surroundings:
    """The surroundings of a check of `stack` that sends no request."""
    endpoint = Endpoint("https://byline.example.com")
    return Surroundings(stack=stack, endpoint=endpoint, project="smoke-1", patience=0)
