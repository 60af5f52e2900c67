"""RunsFunction and AWS in one process, for thousands of requests."""

from collections.abc import Callable, Iterator

import pytest

from tests.access.function import InProcess, aws_in_process, load
from tests.runs.identity_server import Web, serve_identities


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """The region's keys, and an issuer."""
    with serve_identities() as web:
        yield web


@pytest.fixture(scope="module")
def empty() -> Iterator[Callable[[], None]]:
    """Empties AWS, which is in this process."""
    with aws_in_process() as empty:
        yield empty


@pytest.fixture(scope="module")
def apis(web: Web, empty: Callable[[], None]) -> dict[bool, InProcess]:
    """The function, by whether anyone may begin a project; then nobody may call, too."""
    del empty
    common = {"PROJECT_ADMINS": "root, application:deployer"}
    return {
        False: load(web, **common),
        True: load(web, **common, PROJECT_CREATION="anyone", ANONYMOUS_CALLERS="allow"),
    }
