"""Random requests by random callers are answered as the model of the access rules says.

`make property` runs ten thousand sequences; `PROPERTY_SEED` chooses which.
"""

import os
from collections import Counter
from collections.abc import Iterator
from inspect import signature
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.access import (
    access_operations,
    expiry_operations,
    run_operations,
    token_operations,
)
from tests.access.comparison import CALLERS, PRINCIPALS, PROJECTS, ROOT, SECRET, Comparison, Step
from tests.access.in_process import AwsInProcess, InProcess
from tests.access.model import ROLES
from tests.identity.alb_tokens import segments_of
from tests.runs.runs_api import log_to_standard_output

SEQUENCES = int(os.environ.get("PROPERTY_SEQUENCES", "60"))
SEED = int(os.environ.get("PROPERTY_SEED", "4"))

WEIGHTS = {"bind_credential": 2, "read_credential_token": 5}
OPERATIONS = [
    operation
    for module in (run_operations, access_operations, token_operations, expiry_operations)
    for name, operation in vars(module).items()
    if getattr(operation, "__module__", "") == module.__name__
    and "step" in signature(operation).parameters
    and not name.startswith("_")
    for _ in range(WEIGHTS.get(name, 1))
]
CREATING = [
    *[access_operations.grant_role] * 8,
    run_operations.create_run,
    token_operations.register_runner,
    *[token_operations.write_credential] * 2,
    token_operations.bind_credential,
    access_operations.create_service_account,
    access_operations.allow_agent,
]


ROLE_WEIGHTS = {"project:editor": 3, "project:admin": 2}
ROLE_WEIGHTS |= {"credential:token-reader": 2, "runner:token-reader": 2}
ANY_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "operation": st.sampled_from(OPERATIONS),
    "caller": st.sampled_from(CALLERS),
    "project": st.sampled_from([*PROJECTS[:1] * 3, *PROJECTS]),
    "name": st.sampled_from(["one", "two"]),
    "number": st.integers(0, 15),
    "other": st.sampled_from(PRINCIPALS),
    "role": st.sampled_from(
        [role for role in sorted(ROLES) for _ in range(ROLE_WEIGHTS.get(role, 1))]
    ),
}


def steps(**given: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    """A strategy for steps with any values except the given ones."""
    return st.builds(Step, **(ANY_VALUES | given))


FIRST_STEP = steps(
    caller=st.just(ROOT),
    operation=st.sampled_from(CREATING),
    number=st.sampled_from(range(0, 16, 2)),
)
"""Without these steps, most requests would come from callers without a role, about missing
resources."""


@st.composite
def sequences(draw: st.DrawFn) -> list[Step]:
    """Steps that create roles and resources, then any steps."""
    first_steps = draw(st.lists(FIRST_STEP, min_size=12, max_size=18))
    return [*first_steps, *draw(st.lists(steps(), min_size=12, max_size=36))]


@pytest.fixture(scope="module")
def answers() -> Iterator[Counter[tuple[str, int]]]:
    """Counts the answers of each operation by status; printed at the end with `-s`."""
    counted: Counter[tuple[str, int]] = Counter()
    yield counted
    for operation in sorted({name for name, _ in counted}):
        statuses = {status: n for (name, status), n in sorted(counted.items()) if name == operation}
        print(f"{operation}: {statuses}")  # noqa: T201


@seed(SEED)
@settings(max_examples=SEQUENCES, database=None)
@given(sequence=sequences(), anyone_creates=st.booleans())
def test_random_requests_are_answered_as_the_model_says(
    apis: dict[bool, InProcess],
    aws: AwsInProcess,
    answers: Counter[tuple[str, int]],
    capsys: pytest.CaptureFixture[str],
    sequence: list[Step],
    anyone_creates: bool,  # noqa: FBT001 - Hypothesis names its arguments
) -> None:
    """Every status, list and `on_behalf_of` equals the model's, and no log line holds a token."""
    aws.empty()
    log_to_standard_output()
    api = apis[anyone_creates]
    comparison = Comparison(api, anyone_creates=anyone_creates, allows_anonymous=anyone_creates)
    for step in sequence:
        comparison.run(step)
    answers.update(comparison.answers)
    output = "".join(capsys.readouterr())
    assert SECRET not in output
    assert not [segment for segment in segments_of(api.web.tokens) if segment in output]
