"""The rows of runners and tokens after a registration, a deletion or a request for a refresh.

Pure functions: rows and times in, rows out. `now` is in seconds since the epoch.
"""

from copy import replace
from typing import NamedTuple

from ulid import ULID

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import DAY_SECONDS
from byline.refresh.token_rows import TokenRow, new_token
from byline.refresh.work_units import MintKey
from byline.tables.rows import rfc3339
from serve_runs.errors import RequestFailed
from serve_runs.runners.requests import RunnerRegistration

RESTART_SPACING_SECONDS = 10
"""The shortest time between a failed refresh and one that a registration asks for, and between two
requests for a refresh. A runner that restarts in a loop must not lock its client at the issuer."""

ASKS_PER_SLOT = 4
"""How many live tokens a secret gets by requests for a refresh in 24 hours. The refresher plans
with 90 writes, and AWS refuses the 101st: it keeps every version under 24 hours old.
https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html"""


class Runner(NamedTuple):
    """A runner and the token that it points to."""

    row: RunnerRow
    token: TokenRow


def new_runner(registration: RunnerRegistration, *, now: float) -> RunnerRow:
    """The row of a new runner."""
    body = registration.body
    return RunnerRow(
        project=registration.project,
        runner=registration.runner,
        client=body.client,
        token=_mint_key(registration).token_key,
        revision=registration.action.request_id,
        created_at=rfc3339(now),
        updated_at=rfc3339(now),
        audience=body.audience,
        resource=body.resource,
        scope=body.scope,
        isolated=1 if body.isolated else None,
        subject=body.subject,
        subject_issuer=registration.subject_issuer,
        registered_by=registration.action.identity,
        registered_by_issuer=registration.action.issuer,
    )


def registered(row: RunnerRow, registration: RunnerRegistration, *, now: float) -> RunnerRow:
    """The row after another registration of the runner; `row` itself where nothing changes."""
    body = registration.body
    after = replace(
        row,
        client=body.client,
        token=_mint_key(registration).token_key,
        audience=body.audience,
        resource=body.resource,
        scope=body.scope,
        isolated=1 if body.isolated else None,
        subject=body.subject,
        # The same subject keeps its issuer, even if another issuer's caller registers it again.
        subject_issuer=(
            row.subject_issuer
            if row.subject_issuer is not None and body.subject == row.subject
            else registration.subject_issuer
        ),
    )
    if after == row:
        return row
    return replace(
        after,
        revision=registration.action.request_id,
        updated_at=rfc3339(now),
        registered_by=registration.action.identity,
        registered_by_issuer=registration.action.issuer,
    )


def token_after(
    token: TokenRow | None, *, before: RunnerRow | None, after: RunnerRow, now: float
) -> TokenRow:
    """The token that a runner points to, once the runner's row `before` has become `after`.

    A new one where no runner pointed to it (`token` is None). An existing one has a runner more,
    unless the runner pointed to it already. If its last refresh failed, it is due again.
    """
    if token is None:
        return new_token(
            after.mint_key, token_id=str(ULID()).lower(), created_at=rfc3339(now), now=int(now)
        )
    is_joined = before is None or before.token != after.token
    return _due_again(replace(token, runners=token.runners + 1) if is_joined else token, now=now)


def left(token: TokenRow, *, now: float) -> TokenRow:
    """The token after one of its runners left it. Without a runner it is retired.

    A retired token is due at once, so that the refresher revokes it and deletes its secrets.
    """
    if token.runners > 1:
        return replace(token, runners=token.runners - 1)
    return replace(
        token,
        runners=0,
        retired_at=int(now),
        shard=token.work_unit.shard,
        due_at=int(now),
        next_try_at=None,
        attempts=0,
        last_error=None,
    )


def asked(token: TokenRow, *, now: float) -> TokenRow:
    """The token after a request for a refresh: due now.

    Raises `RequestFailed` (`too_many_refreshes`) soon after the request before, and where a live
    token was replaced on request too often.
    """
    if token.asked_at is not None and now < token.asked_at + RESTART_SPACING_SECONDS:
        raise _too_many(
            f"A refresh of this token was asked for less than {RESTART_SPACING_SECONDS} seconds "
            "ago. Retry.",
            until=token.asked_at + RESTART_SPACING_SECONDS,
            now=now,
        )
    after = replace(token, due_at=int(now), next_try_at=None, asked_at=int(now))
    is_live = token.expires_at is not None and token.expires_at > now
    if not is_live or token.last_error is not None:
        return after
    since, asks = token.asks_since, token.asks or 0
    if since is None or now >= since + DAY_SECONDS:
        since, asks = int(now), 0
    if asks >= ASKS_PER_SLOT * (token.slots or 1):
        raise _too_many(
            f"This token was replaced {asks} times in 24 hours on request, and its last refresh "
            "succeeded. Retry later.",
            until=since + DAY_SECONDS,
            now=now,
        )
    return replace(after, asks_since=since, asks=asks + 1)


def _mint_key(registration: RunnerRegistration) -> MintKey:
    body = registration.body
    return MintKey.of(
        project=registration.project,
        client=body.client,
        audience=body.audience,
        resource=body.resource,
        scope=body.scope,
        isolated_for=registration.runner if body.isolated else None,
    )


def _due_again(token: TokenRow, *, now: float) -> TokenRow:
    """The token, due now or as soon as the spacing permits where its last refresh failed."""
    if token.last_error is None or token.try_at is None or token.due_at is None:
        return token
    at = max(int(now), token.last_error.at + RESTART_SPACING_SECONDS)
    if at >= token.try_at:
        return token
    if at > now >= token.due_at:
        # It stays in the index as due, because every tick counts expired tokens there.
        return replace(token, next_try_at=at)
    return replace(token, due_at=at, next_try_at=None)


def _too_many(detail: str, *, until: int, now: float) -> RequestFailed:
    wait = max(1, int(until - now))
    return RequestFailed("too_many_refreshes", detail, retry_after_seconds=wait)
