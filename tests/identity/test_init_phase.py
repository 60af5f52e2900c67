"""A function's init, during which nobody looks for garbage."""

import gc
import importlib
from collections.abc import Iterator

import pytest

from byline import init_phase


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """As it was, whatever a test does."""
    yield
    gc.unfreeze()
    gc.enable()


def test_collector_stands_still_while_modules_are_imported() -> None:
    """From the first import on, until init ends."""
    importlib.reload(init_phase)
    assert not gc.isenabled()


def test_collector_runs_again_after_init_and_leaves_alone_what_was_made() -> None:
    """Requests make garbage, init does not."""
    importlib.reload(init_phase)
    init_phase.end_init()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000
