"""CI does not pass by skipping tests."""

import pytest

from tests.required import skip_or_fail


def test_missing_program_skips_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a developer's machine a test without its program is skipped, with the reason."""
    monkeypatch.delenv("BYLINE_REQUIRE_DOCKER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Docker engine"):
        skip_or_fail("docker", "no Docker engine")


def test_missing_required_program_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment requires the program, its absence is a failure."""
    monkeypatch.setenv("BYLINE_REQUIRE_DOCKER", "1")
    with pytest.raises(pytest.fail.Exception, match="no Docker engine, and BYLINE_REQUIRE_DOCKER"):
        skip_or_fail("docker", "no Docker engine")
