"""RunsFunction's init comes to an end."""

import gc
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest


@pytest.fixture
def stopped_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("stopped_collector")
def test_collector_runs_once_the_function_is_loaded(
    cold_start: Callable[..., ModuleType],
) -> None:
    """Init stops the garbage collector, and no request is answered without one."""
    cold_start(POWERTOOLS_SERVICE_NAME="loaded-anew")
    assert gc.isenabled()
