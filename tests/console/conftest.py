"""The running stack and the browser that the tests of the console's pages share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.openid_provider import ADA
from local.stack import Stack
from tests.console.browser import Browser
from tests.local.chromium import open_chromium

PROJECT = "research"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A running stack."""
    with Stack() as stack:
        yield stack


# Not for the session: Playwright admits one browser in a process, and other tests have their own.
@pytest.fixture(scope="module")
def browser(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, in which Ada is signed in."""
    profile: Path = tmp_path_factory.mktemp("profile")
    with open_chromium(profile) as chromium:
        browser = Browser(chromium, stack)
        browser.open("/")
        browser.sign_in(ADA)
        yield browser


@pytest.fixture(autouse=True)
def _no_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """No page throws, writes an error, or breaks its content policy."""
    yield
    if "browser" in request.fixturenames:
        assert request.getfixturevalue("browser").taken_errors() == []
