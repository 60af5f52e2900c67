"""The functions of the refresh in a world of their own, and a search of all they say."""

from collections.abc import Callable, Iterator

import pytest

from tests.refresh.deployment import Deployment, RealTime, deployed
from tests.refresh.world import World, new_world

Said = Callable[[], list[str]]


@pytest.fixture
def present() -> Iterator[World]:
    """A world in which it is now."""
    with new_world(clock=RealTime()) as world:
        yield world


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], present: World) -> Iterator[Said]:
    """All that was logged and counted so far. At the end, no secret text may be among it."""
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
    """The functions as they are deployed, but for the pace."""
    del said
    with deployed(present) as functions:
        yield functions
