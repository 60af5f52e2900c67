"""The row of a runner after a registration or deletion, computed without any call."""

from copy import replace

from byline.refresh.runner_rows import RunnerRow
from byline.tables.rows import rfc3339
from serve_runs.audit.trail import ActionContext
from serve_runs.runners.requests import RunnerRegistration

RESTART_SPACING_SECONDS = 60
"""The earliest time after a failed refresh at which a restart makes the next one due. A runner that
restarts in a loop must not cause a request to its issuer each time."""


def new_runner(registration: RunnerRegistration, *, above: int, now: float) -> RunnerRow:
    """The row of a new runner: due at once, with a generation greater than `above`.

    `now` is in seconds since the epoch.
    """
    body = registration.body
    row = RunnerRow(
        project=registration.project,
        runner=registration.runner,
        client=body.client,
        audience=body.audience,
        resource=body.resource,
        scope=body.scope,
        subject=body.subject,
        subject_issuer=registration.subject_issuer,
        revision=registration.action.request_id,
        generation=_generation(above=above, now=now),
        deadline=int(now),
        due_at=int(now),
        created_at=rfc3339(now),
        updated_at=rfc3339(now),
        registered_by=registration.action.identity,
        last_request=registration.action.request_id,
    )
    return replace(row, shard=row.work_unit.shard)


def registered(row: RunnerRow, registration: RunnerRegistration, *, now: float) -> RunnerRow:
    """The row after another registration of the runner; `row` itself where nothing changes.

    A registration for another token removes the current one, which has the old rights and must not
    reach a new subject. `now` is in seconds since the epoch.
    """
    body = registration.body
    after = replace(
        row,
        client=body.client,
        audience=body.audience,
        resource=body.resource,
        scope=body.scope,
        subject=body.subject,
        # The same subject keeps its issuer, even if another issuer's caller registers it again.
        subject_issuer=(
            row.subject_issuer
            if row.subject_issuer is not None and body.subject == row.subject
            else registration.subject_issuer
        ),
    )
    if after == row:
        return _restarted(row, registration, now=now)
    after = replace(
        after,
        # A new revision makes the commit fail of a refresh that began before this registration.
        revision=registration.action.request_id,
        updated_at=rfc3339(now),
        registered_by=registration.action.identity,
        last_request=registration.action.request_id,
    )
    if after.mint_key == row.mint_key:
        return _restarted(after, registration, now=now)
    return replace(
        after,
        generation=_generation(above=row.generation, now=now),
        shard=after.work_unit.shard,
        due_at=int(now),
        next_try_at=None,
        deadline=int(now),
        slot=None,
        lifetime=None,
        issued_at=None,
        expires_at=None,
        refreshed_at=None,
        attempts=0,
        last_error=None,
    )


def deleted(row: RunnerRow, *, action: ActionContext, now: float) -> RunnerRow:
    """The tombstone of a runner, due at once, so that the refresher deletes its secrets.

    It has no end of life before that.
    """
    return replace(
        row,
        shard=row.work_unit.shard,
        due_at=int(now),
        next_try_at=None,
        deleted_at=int(now),
        deleted_by=action.identity,
        last_request=action.request_id,
    )


def _restarted(row: RunnerRow, registration: RunnerRegistration, *, now: float) -> RunnerRow:
    """The row of a restarted runner. If its last refresh failed, the next one is due sooner."""
    if row.last_error is None or row.try_at is None:
        return row
    due_at = max(int(now), row.last_error.at + RESTART_SPACING_SECONDS)
    if due_at >= row.try_at:
        return row
    return replace(
        row, due_at=due_at, next_try_at=None, last_request=registration.action.request_id
    )


def _generation(*, above: int, now: float) -> int:
    """A generation greater than `above` and than an earlier runner's: the time in milliseconds."""
    return max(above + 1, int(now * 1000))
