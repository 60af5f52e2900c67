"""Fixtures that run RunsFunction and AWS in one process, for thousands of requests."""

from collections.abc import Callable, Iterator

import pytest

from tests.access.in_process import InProcess, aws_in_process, load, trusted_issuers
from tests.runs.identity_server import Web, serve_identities


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """The load balancer's signing keys of the region, and a token issuer."""
    with serve_identities() as web:
        yield web


@pytest.fixture(scope="module")
def empty() -> Iterator[Callable[[], None]]:
    """A function that deletes all rows, secrets and messages of the AWS in this process."""
    with aws_in_process() as empty:
        yield empty


@pytest.fixture(scope="module")
def apis(web: Web, empty: Callable[[], None]) -> dict[bool, InProcess]:
    """The function by whether anyone may create a project.

    Where anyone may, anonymous callers may call too.
    """
    del empty
    common = {
        "PROJECT_ADMINS": f"root, application:{web.url}#deployer",
        "TRUSTED_ISSUERS": trusted_issuers(web),
    }
    return {
        False: load(web, **common),
        True: load(web, **common, PROJECT_CREATION="anyone", ANONYMOUS_CALLERS="allow"),
    }
