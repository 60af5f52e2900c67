"""A function's init phase, during which the garbage collector is off."""

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


def test_collector_is_off_while_modules_are_imported() -> None:
    """From the first import on, until init ends."""
    importlib.reload(init_phase)
    assert not gc.isenabled()


def test_collector_is_on_after_init_and_ignores_the_objects_of_init() -> None:
    """Requests make garbage; the objects of init stay for the life of the process."""
    importlib.reload(init_phase)
    init_phase.end_init()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000
