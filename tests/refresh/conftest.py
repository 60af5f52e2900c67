"""The planner and the refresher with stand-ins for AWS and an issuer, and their output."""

from collections.abc import Callable, Iterator

import pytest

from tests.refresh.deployment import Deployment, RealTime, deployed
from tests.refresh.world import World, new_world

Said = Callable[[], list[str]]


@pytest.fixture
def present() -> Iterator[World]:
    """A world on the real clock."""
    with new_world(clock=RealTime()) as world:
        yield world


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], present: World) -> Iterator[Said]:
    """The lines of log and metrics so far. At the end, none may hold a secret's text."""
    lines: list[str] = []

    def read() -> list[str]:
        captured = capsys.readouterr()
        lines.extend((captured.out + captured.err).splitlines())
        return lines

    yield read
    assert not present.aws.secrets.texts.occur_in(read())
    assert present.aws.leaks() == []
    assert not present.aws.secrets.texts.occur_in(present.rows())


@pytest.fixture
def deployment(present: World, said: Said) -> Iterator[Deployment]:
    """The functions as they are deployed, with a higher write limit."""
    del said
    with deployed(present) as functions:
        yield functions
