"""What a registration makes of a runner's row: the decisions, without any call."""

from dataclasses import replace

from byline.refresh.runner_rows import DELETED_LIFETIME_SECONDS, RunnerRow
from byline.tables.items import rfc3339
from serve_runs.access.context import Act
from serve_runs.runners.requests import Registration

RESTART_SPACING_SECONDS = 60
"""After a refresh that failed, a restart brings the next one forward to no sooner than this: a
runner that restarts in a loop must not make us hammer its issuer."""


def new_runner(registration: Registration, *, above: int, now: float) -> RunnerRow:
    """The row of a runner that there was not: due at once, its generation beyond `above`.

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
        revision=registration.act.request_id,
        generation=_generation(above=above, now=now),
        deadline=int(now),
        due_at=int(now),
        created_at=rfc3339(now),
        updated_at=rfc3339(now),
        registered_by=registration.act.identity,
        last_request=registration.act.request_id,
    )
    return replace(row, shard=row.work_unit.shard)


def registered(row: RunnerRow, registration: Registration, *, now: float) -> RunnerRow:
    """The row after a registration of the same runner: `row` itself where nothing is to be done.

    A token belongs to what it was minted for. A registration that asks for another one starts
    without: the old one, with its old rights, must not be handed to a new subject.
    """
    body = registration.body
    after = replace(
        row,
        client=body.client,
        audience=body.audience,
        resource=body.resource,
        scope=body.scope,
        subject=body.subject,
        # The same subject stays the same one, whatever issuer knows whoever says it again.
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
        # A refresh under way was begun for the old registration: its commit will not count.
        revision=registration.act.request_id,
        updated_at=rfc3339(now),
        registered_by=registration.act.identity,
        last_request=registration.act.request_id,
    )
    if after.mint_key == row.mint_key:
        return _restarted(after, registration, now=now)
    return replace(
        after,
        generation=_generation(above=row.generation, now=now),
        shard=after.work_unit.shard,
        due_at=int(now),
        deadline=int(now),
        slot=None,
        lifetime=None,
        issued_at=None,
        expires_at=None,
        refreshed_at=None,
        attempts=0,
        last_error=None,
    )


def deleted(row: RunnerRow, *, act: Act, now: float) -> RunnerRow:
    """The row of a runner that is deleted, due for its secrets to be swept."""
    return replace(
        row,
        shard=row.work_unit.shard,
        due_at=int(now),
        deleted_at=int(now),
        deleted_by=act.identity,
        last_request=act.request_id,
        ttl=int(now) + DELETED_LIFETIME_SECONDS,
    )


def _restarted(row: RunnerRow, registration: Registration, *, now: float) -> RunnerRow:
    """The row of a runner that came back: its next try is near, where the last one failed."""
    if row.last_error is None or row.due_at is None:
        return row
    due_at = max(int(now), row.last_error.at + RESTART_SPACING_SECONDS)
    if due_at >= row.due_at:
        return row
    return replace(row, due_at=due_at, last_request=registration.act.request_id)


def _generation(*, above: int, now: float) -> int:
    """Milliseconds, so that it is beyond every count of an earlier runner, and beyond `above`."""
    return max(above + 1, int(now * 1000))
