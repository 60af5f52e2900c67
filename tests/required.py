"""Programs that some tests need: missing, they skip a test, or fail it where they are required."""

import os
from typing import NoReturn

import pytest

from stand_ins.engine import MOTO, selected_engine


def skip_or_fail(program: str, reason: str) -> NoReturn:
    """Skip the running test; fail it where `BYLINE_REQUIRE_<PROGRAM>` is 1, as in CI."""
    variable = f"BYLINE_REQUIRE_{program.upper()}"
    if os.environ.get(variable) == "1":
        pytest.fail(f"{reason}, and {variable} is 1")
    pytest.skip(f"{reason} (set {variable}=1 to fail instead)")


def needs_moto(reason: str) -> pytest.MarkDecorator:
    """A mark that skips a test where the environment selects another implementation of AWS."""
    return pytest.mark.skipif(selected_engine() != MOTO, reason=reason)
