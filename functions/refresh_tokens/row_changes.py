"""What the refresher reads from a runner's row for its policy, and writes there after a failure."""

from dataclasses import replace

from byline.refresh.runner_rows import LastError, RunnerRow
from refresh_tokens.retries import TokenLife


def life_of(row: RunnerRow) -> TokenLife:
    """The runner's present token, as the policy of retries sees it."""
    return TokenLife(deadline=row.deadline, lifetime=row.lifetime or 0, failures=row.attempts)


def retried_later(row: RunnerRow, *, error_class: str, until: int, now: int) -> RunnerRow:
    """The row after a failed refresh: tried again at `until`, with the error's class.

    Without a live token it is due before that: the planner counts what is due.
    """
    until = max(until, now + 1)
    due_at = until
    if row.is_live:
        due_at = min(until, max(row.expires_at or 0, now + 1))
    return replace(
        row,
        due_at=due_at,
        next_try_at=until if until > due_at else None,
        attempts=row.attempts + 1,
        last_error=LastError(error_class=error_class, at=now),
    )
