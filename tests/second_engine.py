"""Plugin of pytest for `make test-second-engine`: too few passed tests fail the run."""

import pytest

from stand_ins.engine import MOTO, selected_engine

LEAST_PASSED = 4_000


def pytest_configure() -> None:
    """Refuse to run on moto."""
    if selected_engine() == MOTO:
        raise pytest.UsageError("Set BYLINE_TEST_ENGINE to the second engine.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which fewer than `LEAST_PASSED` tests passed."""
    if hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    passed = len(reporter.stats.get("passed", []))
    if passed < LEAST_PASSED:
        reporter.write_line(f"\n{passed} tests passed. At least {LEAST_PASSED} must.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
