"""What follows from a refresh for a runner's row: the decisions, without any call.

Pure: rows and outcomes in, rows out. `make simulate` runs this very code on simulated time.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from byline.refresh.runner_rows import LastError, RunnerRow
from byline.refresh.timing import (
    DAY_SECONDS,
    MIN_LIFETIME_SECONDS,
    SOON_SECONDS,
    back_off,
    due_after,
    is_short_lived,
    slots_for,
    spread_seed,
    wait_as_told,
)

BREAKER_RECHECK_SECONDS = 300
"""How often a client whose secret was refused is looked at: has it another one by now?"""

REFUSED_RETRY_SECONDS = 3_600
"""How often a refused client or request is tried all the same: what was wrong may have been mended
at the issuer, where nobody here sees it. One try an hour locks no client."""

MOST_SLOTS = slots_for(MIN_LIFETIME_SECONDS)
"""A worker that was under way when the runner was deleted may have seen a shorter lifetime."""

SWEEP_AGAIN_SECONDS = 300
"""After this a deleted runner's secrets are swept once more: longer than any worker lives, so that
what one wrote without knowing of the deletion goes as well."""


def is_meant(row: RunnerRow, *, up_to: int | None) -> bool:
    """Whether a due runner is one that a turn is for, which is limited `up_to` a deadline or not.

    A first token waits for no other's deadline, and a deleted runner needs no write.
    """
    return up_to is None or row.deadline <= up_to or row.expires_at is None or not row.is_live


def by_deadline(rows: Iterable[RunnerRow]) -> list[RunnerRow]:
    """The rows whose tokens die first, first; deleted runners after all that live."""
    return sorted(rows, key=lambda row: (not row.is_live, row.deadline, row.project, row.runner))


def next_slots(row: RunnerRow, lifetime: int) -> int:
    """How many secrets the runner's tokens are written to in turn, never fewer than before."""
    return slots_for(lifetime, at_least=row.slots or 1)


def refreshed(
    row: RunnerRow, *, slot: int, slots: int, issued_at: int, expires_at: int, now: int
) -> RunnerRow:
    """The row after its next generation was put into `slot`."""
    generation = row.generation + 1
    lifetime = expires_at - issued_at
    seed = spread_seed(project=row.project, runner=row.runner, generation=generation)
    started, writes = row.window_started_at, row.window_writes or 0
    if started is None or now >= started + DAY_SECONDS:
        started, writes = now, 0
    return replace(
        row,
        generation=generation,
        slot=slot,
        slots=slots,
        lifetime=lifetime,
        issued_at=issued_at,
        expires_at=expires_at,
        deadline=expires_at,
        refreshed_at=now,
        due_at=issued_at + due_after(lifetime, seed=seed),
        attempts=0,
        last_error=None,
        window_started_at=started,
        window_writes=writes + 1,
    )


def postponed(row: RunnerRow, *, error_class: str, until: int, now: int) -> RunnerRow:
    """The row after a refresh that failed: due again at `until`, and telling why."""
    return replace(
        row,
        due_at=max(until, now + 1),
        attempts=row.attempts + 1,
        last_error=LastError(error_class=error_class, at=now),
    )


def is_due_soon(row: RunnerRow, *, now: int) -> bool:
    """Whether a runner that was refreshed or postponed is due again before a tick may come.

    A failure is worth a try of its own only where ticks would come too late: for a first token, and
    for short-lived ones. With all others it is the planner who knows whose turn it is, after an
    outage more than ever.
    """
    if row.shard is None or row.due_at is None or row.due_at - now >= SOON_SECONDS:
        return False
    if not row.attempts or row.expires_at is None:
        return True
    return row.expires_at > now and is_short_lived(row.lifetime or 0)


def retry_at(
    *,
    attempts: int,
    retry_after: float | None,
    deadline: int,
    now: int,
    random: Callable[[], float],
) -> int:
    """When to try again: as the issuer told, else exponentially later with full jitter."""
    if retry_after is not None:
        return now + int(wait_as_told(retry_after, deadline=deadline, now=now)) + 1
    return now + int(back_off(attempts, random=random)) + 1


def slots_to_sweep(row: RunnerRow, *, now: int) -> int:
    """How many of a deleted runner's slots to look into: in the end into all there can be."""
    return (row.slots or 1) if _is_first_sweep(row, now=now) else MOST_SLOTS


def swept(row: RunnerRow, *, now: int) -> RunnerRow:
    """A deleted runner's row after its secrets were deleted: once more later, then never again."""
    if row.deleted_at is not None and _is_first_sweep(row, now=now):
        return replace(row, due_at=row.deleted_at + SWEEP_AGAIN_SECONDS)
    return replace(row, shard=None, due_at=None)


def _is_first_sweep(row: RunnerRow, *, now: int) -> bool:
    return row.deleted_at is not None and now < row.deleted_at + SWEEP_AGAIN_SECONDS
