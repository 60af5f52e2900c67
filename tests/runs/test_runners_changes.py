"""What a registration makes of a row, for every row and every registration."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from byline.identity.caller import Caller
from byline.refresh.runner_rows import LastError, RunnerRow, read_runner, runner_item
from serve_runs.audit.trail import ActionContext
from serve_runs.runners.changes import RESTART_SPACING_SECONDS, deleted, new_runner, registered
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration

NOW = 1_800_000_000.25
SOME = st.none() | st.sampled_from(["a", "b"])
BODIES = st.builds(
    RegisterRunner, client=st.sampled_from(["a", "b"]), audience=SOME, scope=SOME, subject=SOME
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
    """The same, by another request."""
    return replace(registration, action=replace(registration.action, request_id=request_id))


REGISTRATIONS = st.builds(
    RunnerRegistration,
    project=st.just("payments"),
    runner=st.just("nightly"),
    body=BODIES,
    action=st.builds(ActionContext, CALLERS, st.just("new")),
)
EARLIER = st.builds(
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


@given(EARLIER, REGISTRATIONS)
def test_registering_twice_is_registering_once(
    row: RunnerRow, registration: RunnerRegistration
) -> None:
    """Idempotent: the second time there is nothing to do, and nothing is done."""
    once = registered(row, registration, now=NOW)
    assert registered(once, by_request(registration, "again"), now=NOW) == once


@given(EARLIER, REGISTRATIONS)
def test_row_is_what_was_registered_last(row: RunnerRow, registration: RunnerRegistration) -> None:
    """Whatever it was: the body's members, whose subject it is, and the unit they belong to."""
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


@given(EARLIER, REGISTRATIONS)
def test_a_token_stays_exactly_where_it_is_the_same_token(
    row: RunnerRow, registration: RunnerRegistration
) -> None:
    """Another mint key starts above every generation and without a token; the same keeps all."""
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


@given(EARLIER, REGISTRATIONS)
def test_what_changes_leaves_a_refresh_under_way_behind(
    row: RunnerRow, registration: RunnerRegistration
) -> None:
    """A worker's commit names what it read: revision, generation and due time."""
    after = registered(row, registration, now=NOW)
    if after != row:
        assert (after.revision, after.generation, after.due_at) != (
            row.revision,
            row.generation,
            row.due_at,
        )
        assert after.last_request == "new"


@given(EARLIER, REGISTRATIONS)
def test_no_registration_puts_a_refresh_off(
    row: RunnerRow, registration: RunnerRegistration
) -> None:
    """Nor does one bring it nearer to a failure than the spacing, but for another token."""
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
def test_new_runner_starts_above_its_namesakes(
    registration: RunnerRegistration, above: int
) -> None:
    """By the clock where that is above them, else just above them."""
    row = new_runner(registration, above=above, now=NOW)
    assert row.generation > above
    assert row.generation >= int(NOW * 1000)
    assert (row.due_at, row.deadline, row.is_live) == (int(NOW), int(NOW), True)


@given(EARLIER)
def test_deleted_row_is_due_for_sweeping_elsewhere(row: RunnerRow) -> None:
    """Out of the project's partition, in the index, and in the same unit as before."""
    buried = deleted(row, action=ActionContext(None, "new"), now=NOW)
    assert buried.key != row.key
    assert not buried.is_live
    assert (buried.shard, buried.due_at, buried.work_unit) == (row.shard, int(NOW), row.work_unit)
    assert read_runner(runner_item(buried)) == buried
