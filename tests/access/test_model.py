"""The whole API against sixty lines: random requests, by random callers, with rights that come and
go between them.

`make property` plays ten thousand sequences; `PROPERTY_SEED` chooses which.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.access import right_operations, run_operations, token_operations
from tests.access.function import InProcess
from tests.access.model import ROLES
from tests.access.play import CALLERS, PROJECTS, ROOT, SECRET, Play, Step
from tests.identity.alb_tokens import segments_of
from tests.runs.runs_api import log_to_standard_output

SEQUENCES = int(os.environ.get("PROPERTY_SEQUENCES", "150"))
SEED = int(os.environ.get("PROPERTY_SEED", "4"))

OPERATIONS = [
    operation
    for module in (run_operations, right_operations, token_operations)
    for name, operation in vars(module).items()
    if getattr(operation, "__module__", "") == module.__name__
    and "step" in signature(operation).parameters
    and not name.startswith("_")
]
MAKING = [
    *[right_operations.grant_role] * 8,
    run_operations.create_run,
    token_operations.register_runner,
    token_operations.write_credential,
    right_operations.create_service_account,
]


OFTEN = {"project:editor": 3, "project:admin": 2, "credential:token-reader": 2}
ANYTHING: dict[str, st.SearchStrategy[Any]] = {
    "operation": st.sampled_from(OPERATIONS),
    "who": st.sampled_from(CALLERS),
    "project": st.sampled_from([*PROJECTS[:1] * 3, *PROJECTS]),
    "name": st.sampled_from(["one", "two"]),
    "number": st.integers(0, 15),
    "other": st.sampled_from(CALLERS),
    "role": st.sampled_from([role for role in sorted(ROLES) for _ in range(OFTEN.get(role, 1))]),
}


def steps(**given: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    """Any step, but for what is given."""
    return st.builds(Step, **(ANYTHING | given))


BEGINNING = steps(
    who=st.just(ROOT),
    operation=st.sampled_from(MAKING),
    number=st.sampled_from(range(0, 16, 2)),
)
"""Without it most requests would be about what is not there, by callers without any right."""


@st.composite
def sequences(draw: st.DrawFn) -> list[Step]:
    """A beginning, and then anything."""
    beginning = draw(st.lists(BEGINNING, min_size=12, max_size=18))
    return [*beginning, *draw(st.lists(steps(), min_size=12, max_size=36))]


@pytest.fixture(scope="module")
def answers() -> Iterator[Counter[tuple[str, int]]]:
    """How often each operation was answered in each way: shown in the end, with `-s`."""
    counted: Counter[tuple[str, int]] = Counter()
    yield counted
    for operation in sorted({name for name, _ in counted}):
        ways = {status: n for (name, status), n in sorted(counted.items()) if name == operation}
        print(f"{operation}: {ways}")  # noqa: T201


@seed(SEED)
@settings(max_examples=SEQUENCES, database=None)
@given(sequence=sequences(), anyone=st.booleans())
def test_random_sequence_of_requests_is_answered_as_the_model_says(
    apis: dict[bool, InProcess],
    empty: Callable[[], None],
    answers: Counter[tuple[str, int]],
    capsys: pytest.CaptureFixture[str],
    sequence: list[Step],
    anyone: bool,  # noqa: FBT001 - Hypothesis names its arguments
) -> None:
    """Every status, every list, and on whose behalf; and no token in any line of the log."""
    empty()
    log_to_standard_output()
    api = apis[anyone]
    play = Play(api, anyone=anyone, is_open=anyone)
    for step in sequence:
        play.play(step)
    answers.update(play.answers)
    said = "".join(capsys.readouterr())
    assert SECRET not in said
    assert not [segment for segment in segments_of(api.web.tokens) if segment in said]
