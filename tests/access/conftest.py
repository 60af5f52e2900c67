"""Fixtures that run RunsFunction and AWS in one process, for thousands of requests."""

from collections.abc import Iterator

import pytest

from tests.access.in_process import AwsInProcess, InProcess, aws_in_process, load, trusted_issuers
from tests.access.sample_project import SampleProject, SampleProjects
from tests.runs.identity_server import Web, serve_identities


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """The load balancer's signing keys of the region, and a token issuer."""
    with serve_identities() as web:
        yield web


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsInProcess]:
    """The AWS in this process, shared by the tests of a module."""
    with aws_in_process() as aws:
        yield aws


@pytest.fixture(scope="module")
def apis(web: Web, aws: AwsInProcess) -> dict[bool, InProcess]:
    """The function by whether anyone may create a project.

    Where anyone may, anonymous callers may call too.
    """
    del aws
    common = {
        "PROJECT_ADMINS": f"root, application:{web.url}#deployer",
        "TRUSTED_ISSUERS": trusted_issuers(web),
    }
    return {
        False: load(web, **common),
        True: load(web, **common, PROJECT_CREATION="anyone", ANONYMOUS_CALLERS="allow"),
    }


@pytest.fixture(scope="module")
def sample_projects(apis: dict[bool, InProcess], aws: AwsInProcess) -> SampleProjects:
    """The sample projects of a module's tests."""
    return SampleProjects(apis[False], aws)


@pytest.fixture
def sample(sample_projects: SampleProjects) -> SampleProject:
    """A project with one resource of each kind, as new."""
    return sample_projects.new()
