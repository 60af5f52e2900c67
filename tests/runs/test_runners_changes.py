"""The row that a registration or a deletion makes, for generated rows and registrations."""

from copy import replace

from hypothesis import given
from hypothesis import strategies as st

from byline.identity.caller import Caller
from byline.refresh.runner_rows import LastError, RunnerRow, read_runner, runner_item
from serve_runs.audit.trail import ActionContext
from serve_runs.runners.changes import RESTART_SPACING_SECONDS, deleted, new_runner, registered
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration

NOW = 1_800_000_000.25
OPTIONAL_TEXT = st.none() | st.sampled_from(["a", "b"])
BODIES = st.builds(
    RegisterRunner,
    client=st.sampled_from(["a", "b"]),
    audience=OPTIONAL_TEXT,
    scope=OPTIONAL_TEXT,
    subject=OPTIONAL_TEXT,
)
CALLERS = st.none() | st.sampled_from(
    [
        Caller(
            kind="application",
            source="bearer",
            issuer=issuer,
            subject="ci",
            token_subject="ci",
            name="ci",
        )
        for issuer in ("https://one.example", "https://other.example")
    ]
)


def by_request(registration: RunnerRegistration, request_id: str) -> RunnerRegistration:
    """The same registration by another request."""
    return replace(registration, action=replace(registration.action, request_id=request_id))


REGISTRATIONS = st.builds(
    RunnerRegistration,
    project=st.just("payments"),
    runner=st.just("nightly"),
    body=BODIES,
    action=st.builds(ActionContext, CALLERS, st.just("new")),
)
EARLIER_ROWS = st.builds(
    lambda registration, **state: replace(
        new_runner(by_request(registration, "old"), above=0, now=NOW - 5_000), **state
    ),
    REGISTRATIONS,
    generation=st.integers(1, 2**45),
    due_at=st.integers(int(NOW) - 500, int(NOW) + 5_000),
    slot=st.none() | st.integers(0, 3),
    slots=st.just(4),
    expires_at=st.none() | st.integers(int(NOW) - 500, int(NOW) + 5_000),
    last_error=st.none()
    | st.builds(
        LastError,
        error_class=st.just("invalid_scope"),
        at=st.integers(int(NOW) - 500, int(NOW)),
    ),
)


@given(EARLIER_ROWS, REGISTRATIONS)
def test_repeated_registration_changes_nothing(
    row: RunnerRow, registration: RunnerRegistration
) -> None:
    """A second registration by another request gives the same row."""
    once = registered(row, registration, now=NOW)
    assert registered(once, by_request(registration, "again"), now=NOW) == once


@given(EARLIER_ROWS, REGISTRATIONS)
def test_registration_determines_the_row(row: RunnerRow, registration: RunnerRegistration) -> None:
    """The row has the members of the body, the issuer of the subject and the work unit."""
    after, body = registered(row, registration, now=NOW), registration.body
    assert (after.client, after.audience, after.scope, after.subject) == (
        body.client,
        body.audience,
        body.scope,
        body.subject,
    )
    is_same_subject = row.subject_issuer is not None and row.subject == after.subject
    issuer = row.subject_issuer if is_same_subject else registration.subject_issuer
    assert after.subject_issuer == issuer
    assert after.shard == after.work_unit.shard
    assert read_runner(runner_item(after)) == after


@given(EARLIER_ROWS, REGISTRATIONS)
def test_token_stays_only_with_the_same_mint_key(
    row: RunnerRow, registration: RunnerRegistration
) -> None:
    """Another mint key starts with a higher generation and no token; the same key keeps both."""
    after = registered(row, registration, now=NOW)
    if after.mint_key == row.mint_key:
        assert (after.generation, after.slot, after.expires_at) == (
            row.generation,
            row.slot,
            row.expires_at,
        )
    else:
        assert after.generation > row.generation
        assert (after.slot, after.expires_at, after.last_error) == (None, None, None)
        assert after.due_at == int(NOW)
    assert after.slots == row.slots


@given(EARLIER_ROWS, REGISTRATIONS)
def test_changed_row_invalidates_a_running_refresh(
    row: RunnerRow, registration: RunnerRegistration
) -> None:
    """A change differs in revision, generation or due time, which a worker's commit compares."""
    after = registered(row, registration, now=NOW)
    if after != row:
        assert (after.revision, after.generation, after.due_at) != (
            row.revision,
            row.generation,
            row.due_at,
        )
        assert after.last_request == "new"


@given(EARLIER_ROWS, REGISTRATIONS)
def test_registration_never_delays_a_refresh(
    row: RunnerRow, registration: RunnerRegistration
) -> None:
    """The due time never moves back, and after a failure it keeps the spacing of restarts."""
    after = registered(row, registration, now=NOW)
    assert row.due_at is not None
    assert after.due_at is not None
    if after.mint_key != row.mint_key:
        return
    assert after.due_at <= row.due_at
    if after.due_at < row.due_at:
        assert row.last_error is not None
        assert after.due_at >= max(int(NOW), row.last_error.at + RESTART_SPACING_SECONDS)


@given(REGISTRATIONS, st.integers(0, 2**46))
def test_new_runner_has_a_generation_above_earlier_runners(
    registration: RunnerRegistration, above: int
) -> None:
    """The generation is that of the clock, or one above an earlier runner of the name."""
    row = new_runner(registration, above=above, now=NOW)
    assert row.generation > above
    assert row.generation >= int(NOW * 1000)
    assert (row.due_at, row.deadline, row.is_live) == (int(NOW), int(NOW), True)


@given(EARLIER_ROWS)
def test_tombstone_is_due_for_the_sweep_of_its_unit(row: RunnerRow) -> None:
    """A tombstone has another partition than its row, and is due in the same work unit."""
    tombstone = deleted(row, action=ActionContext(None, "new"), now=NOW)
    assert tombstone.key != row.key
    assert not tombstone.is_live
    assert (tombstone.shard, tombstone.due_at, tombstone.work_unit) == (
        row.shard,
        int(NOW),
        row.work_unit,
    )
    assert read_runner(runner_item(tombstone)) == tombstone
