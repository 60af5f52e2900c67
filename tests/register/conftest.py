"""A new world for each test."""

from collections.abc import Iterator

import pytest

from tests.register.world import RegistrationWorld, new_world


@pytest.fixture
def world() -> Iterator[RegistrationWorld]:
    with new_world() as world:
        yield world
