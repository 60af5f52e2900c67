"""The service that recordings are made of and read by."""

from collections.abc import Iterator

import pytest

from tests.releases.service import Service, service


@pytest.fixture
def of() -> Iterator[Service]:
    """A deployment with empty tables."""
    with service() as started:
        yield started
