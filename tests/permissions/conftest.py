"""The evaluator of IAM policies, which Node.js runs."""

import pytest

from tests.permissions.evaluator import INSTALLED
from tests.required import skip_or_fail


@pytest.fixture(scope="session")
def evaluator() -> None:
    """Skip a test where the evaluator is not installed, or fail it where it is required."""
    if not INSTALLED.exists():
        skip_or_fail("node", "tools/setup evaluator has not run, or found no npm")
