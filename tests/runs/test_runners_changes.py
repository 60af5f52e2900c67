"""The rows that a registration, a deletion and a request for a refresh make, for generated rows."""

from copy import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.identity.caller import Caller
from byline.refresh.runner_rows import RunnerRow, read_runner, runner_item
from byline.refresh.timing import DAY_SECONDS
from byline.refresh.token_rows import LastError, TokenRow, new_token, read_token_row, token_item
from serve_runs.audit.trail import ActionContext
from serve_runs.errors import RequestFailed
from serve_runs.runners.changes import (
    ASKS_PER_SLOT,
    RESTART_SPACING_SECONDS,
    asked,
    left,
    new_runner,
    registered,
    token_after,
)
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration
from serve_runs.runners.transactions import leave_token, write_token

NOW = 1_800_000_000.25
OPTIONAL_TEXT = st.none() | st.sampled_from(["a", "b"])
BODIES = st.builds(
    RegisterRunner,
    client=st.sampled_from(["a", "b"]),
    audience=OPTIONAL_TEXT,
    scope=OPTIONAL_TEXT,
    subject=OPTIONAL_TEXT,
    isolated=st.booleans(),
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
    lambda registration: new_runner(by_request(registration, "old"), now=NOW - 5_000),
    REGISTRATIONS,
)
TIMES = st.integers(int(NOW) - 500, int(NOW) + 5_000)
TOKENS = st.builds(
    lambda runner, **state: replace(
        new_token(runner.mint_key, token_id="t1", created_at="-", now=int(NOW) - 5_000), **state
    ),
    EARLIER_ROWS,
    runners=st.integers(1, 3),
    generation=st.integers(0, 9),
    due_at=TIMES,
    next_try_at=st.none() | TIMES,
    slot=st.none() | st.integers(0, 3),
    slots=st.none() | st.integers(1, 4),
    expires_at=st.none() | TIMES,
    last_error=st.none()
    | st.builds(
        LastError,
        error_class=st.just("invalid_scope"),
        since=st.integers(int(NOW) - 500, int(NOW)),
        at=st.integers(int(NOW) - 500, int(NOW)),
    ),
    asked_at=st.none() | st.integers(int(NOW) - 500, int(NOW)),
    asks_since=st.none() | st.integers(int(NOW) - 100_000, int(NOW)),
    asks=st.none() | st.integers(0, 20),
)
TOKEN = new_token(
    new_runner(
        RunnerRegistration(
            project="payments",
            runner="nightly",
            body=RegisterRunner(client="scheduler"),
            action=ActionContext(None, "old"),
        ),
        now=NOW,
    ).mint_key,
    token_id="t1",
    created_at="-",
    now=int(NOW),
)
LIVE = replace(
    TOKEN, generation=4, slots=2, slot=0, expires_at=int(NOW) + 600, due_at=int(NOW) + 300
)
FAILED = LastError(error_class="invalid_client", since=int(NOW) - 60, at=int(NOW) - 30)


@given(EARLIER_ROWS, REGISTRATIONS)
def test_repeated_registration_changes_nothing(
    row: RunnerRow, registration: RunnerRegistration
) -> None:
    """A second registration by another request gives the same row."""
    once = registered(row, registration, now=NOW)
    assert registered(once, by_request(registration, "again"), now=NOW) == once


@given(EARLIER_ROWS, REGISTRATIONS)
def test_registration_determines_the_row(row: RunnerRow, registration: RunnerRegistration) -> None:
    """The row has the members of the body, the issuer of the subject, and the token of both."""
    after, body = registered(row, registration, now=NOW), registration.body
    assert (after.client, after.audience, after.scope, after.subject, bool(after.isolated)) == (
        body.client,
        body.audience,
        body.scope,
        body.subject,
        body.isolated,
    )
    is_same_subject = row.subject_issuer is not None and row.subject == after.subject
    issuer = row.subject_issuer if is_same_subject else registration.subject_issuer
    assert after.subject_issuer == issuer
    assert after.token == after.mint_key.token_key
    assert read_runner(runner_item(after)) == after


@given(EARLIER_ROWS, REGISTRATIONS)
def test_changed_row_has_another_revision(row: RunnerRow, registration: RunnerRegistration) -> None:
    """Every write of a runner is conditional on its revision, so each change has a new one."""
    after = registered(row, registration, now=NOW)
    assert (after == row) is (after.revision == row.revision)


@given(TOKENS, EARLIER_ROWS)
def test_entered_token_has_one_runner_more(token: TokenRow, runner: RunnerRow) -> None:
    """A new runner and one that moved are counted, and one that pointed to the token is not."""
    elsewhere = replace(runner, token="a#other")
    for before, joined in ((None, 1), (elsewhere, 1), (runner, 0)):
        after = token_after(token, before=before, after=runner, now=NOW)
        assert after.runners == token.runners + joined


@given(TOKENS, EARLIER_ROWS)
def test_registration_never_delays_a_refresh(token: TokenRow, runner: RunnerRow) -> None:
    """The next try never moves back, and after a failure it keeps the spacing of restarts."""
    after = token_after(token, before=runner, after=runner, now=NOW)
    assert token.try_at is not None
    assert after.try_at is not None
    if token.last_error is None:
        assert after == token
    elif after != token:
        assert after.try_at < token.try_at
        assert after.try_at == max(int(NOW), token.last_error.at + RESTART_SPACING_SECONDS)
        assert after.due_at is not None
        assert after.due_at <= after.try_at


def test_expired_token_stays_due_until_its_next_try() -> None:
    """Every tick counts expired tokens by the index of due ones."""
    failed = replace(FAILED, at=int(NOW) - 1)
    row = replace(TOKEN, due_at=int(NOW) - 90, next_try_at=int(NOW) + 300, last_error=failed)
    runner = new_runner(_registration(), now=NOW)
    after = token_after(row, before=runner, after=runner, now=NOW)
    assert (after.due_at, after.next_try_at) == (row.due_at, int(NOW) + 9)


@given(EARLIER_ROWS)
def test_first_runner_makes_a_token_that_is_due(runner: RunnerRow) -> None:
    """The new token is the runner's, is due now, and has an id that no other token had."""
    first, second = (token_after(None, before=None, after=runner, now=NOW) for _ in range(2))
    assert first.mint_key == runner.mint_key
    assert (first.runners, first.generation, first.due_at) == (1, 0, int(NOW))
    assert first.key == runner.token_key
    assert first.id != second.id
    assert read_token_row(token_item(first)) == first


@given(TOKENS)
def test_token_without_a_runner_is_due_for_its_sweep(token: TokenRow) -> None:
    """With its last runner the row moves to another partition, in the same work unit."""
    after = left(token, now=NOW)
    assert after.runners == token.runners - 1
    if token.runners > 1:
        assert after == replace(token, runners=after.runners)
        return
    assert not after.is_live
    assert after.key != token.key
    assert (after.try_at, after.work_unit) == (int(NOW), token.work_unit)
    assert (after.id, after.slots, after.generation) == (token.id, token.slots, token.generation)
    assert read_token_row(token_item(after)) == after


class TestAskedRefresh:
    """A request for a refresh at once."""

    @given(TOKENS)
    def test_asked_token_is_due_now(self, token: TokenRow) -> None:
        """Whatever it waited for, unless it was asked for too often."""
        refused = _refusal(token, now=NOW)
        if refused is not None:
            assert refused.reason == "too_many_refreshes"
            assert refused.retry_after_seconds is not None
            assert 1 <= refused.retry_after_seconds <= DAY_SECONDS
            return
        after = asked(token, now=NOW)
        assert (after.try_at, after.due_at, after.asked_at) == (int(NOW), int(NOW), int(NOW))

    @pytest.mark.parametrize("age", [RESTART_SPACING_SECONDS - 1, RESTART_SPACING_SECONDS])
    def test_second_request_waits_for_the_spacing(self, age: int) -> None:
        """It is refused for ten seconds, and taken then."""
        now = int(NOW)
        row = replace(TOKEN, asked_at=now - age)
        if age == RESTART_SPACING_SECONDS:
            assert asked(row, now=now).asked_at == now
            return
        with pytest.raises(RequestFailed) as refused:
            asked(row, now=now)
        assert refused.value.retry_after_seconds == 1

    @pytest.mark.parametrize("slots", [1, 3])
    def test_live_token_is_replaced_four_times_a_day_for_each_secret(self, slots: int) -> None:
        """AWS keeps each version of a secret for a day, and refuses the 101st."""
        row, now, taken = replace(LIVE, slots=slots, expires_at=int(NOW) + 99_999), int(NOW), 0
        while (refused := _refusal(row, now=now)) is None:
            row = replace(asked(row, now=now), due_at=now + 300)
            taken += 1
            now += RESTART_SPACING_SECONDS
        assert taken == ASKS_PER_SLOT * slots
        assert refused.retry_after_seconds == int(NOW) + DAY_SECONDS - now
        after = asked(row, now=int(NOW) + DAY_SECONDS)
        assert (after.asks, after.asks_since) == (1, int(NOW) + DAY_SECONDS)

    @pytest.mark.parametrize(
        "row",
        [replace(LIVE, expires_at=int(NOW)), replace(LIVE, last_error=FAILED)],
        ids=["expired", "failed"],
    )
    def test_failing_token_is_asked_for_without_a_limit(self, row: TokenRow) -> None:
        """A refresh that writes no version, or replaces a dead token, uses up nothing."""
        row = replace(row, asks=99, asks_since=int(NOW) - 1)
        assert asked(row, now=NOW).asks == 99


class TestTransactions:
    """The actions that write the rows."""

    def test_update_of_a_token_changes_nothing_of_the_refreshers(self) -> None:
        """It adds to the number of runners, and sets due times only."""
        failing = replace(LIVE, last_error=FAILED, next_try_at=int(NOW) + 3_600)
        runner = new_runner(_registration(), now=NOW)
        after = token_after(failing, before=None, after=runner, now=NOW)
        update = write_token("T", after, before=failing)["Update"]
        assert update["UpdateExpression"] == (
            "SET due_at = :due_at REMOVE next_try_at ADD runners :joined"
        )
        assert update["ConditionExpression"] == (
            "id = :id AND generation = :old_generation AND due_at = :old_due_at AND "
            "attribute_not_exists(asked_at)"
        )

    def test_entering_a_healthy_token_depends_on_its_id_only(self) -> None:
        """Concurrent registrations and refreshes do not make each other fail."""
        update = write_token("T", replace(LIVE, runners=2), before=LIVE)["Update"]
        assert update["UpdateExpression"] == "ADD runners :joined"
        assert update["ConditionExpression"] == "id = :id"

    def test_retired_token_has_all_secrets_of_its_row(self) -> None:
        """A generation that was committed after the read makes the deletion fail."""
        actions = leave_token("T", left(LIVE, now=NOW), before=LIVE)
        assert actions["left token"]["Delete"]["ConditionExpression"] == (
            "id = :id AND runners = :one AND generation = :old_generation AND slots = :old_slots"
        )
        item = actions["retired token"]["Put"]["Item"]
        assert item["project"] == {"S": "retired#payments"}


def _refusal(token: TokenRow, *, now: float) -> RequestFailed | None:
    try:
        asked(token, now=now)
    except RequestFailed as failed:
        return failed
    return None


def _registration() -> RunnerRegistration:
    return RunnerRegistration(
        project="payments",
        runner="nightly",
        body=RegisterRunner(client="scheduler"),
        action=ActionContext(None, "new"),
    )
