"""Runners and tokens as the API shows them: the times of a token, and never its text."""

from typing import Any, Literal

import msgspec

from byline.identity.caller import read_executed_by, who
from byline.refresh.hints import hint_of
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import SecretNames
from byline.tables.rows import rfc3339
from serve_runs.runners.changes import Runner

TokenStatus = Literal["waiting", "ready", "failing", "expired"]


class SecretArns(msgspec.Struct, frozen=True):
    """The ARNs of tokens' secrets. `prefix`: see `secrets_prefix`."""

    names: SecretNames
    prefix: str

    def of(self, token: TokenRow) -> list[str]:
        """The secrets that a token's generations are written to in turn, by slot."""
        return [
            self.prefix + self.names.token(token.project, token.client, token.id, slot)
            for slot in range(token.slots or 0)
        ]

    def newest(self, token: TokenRow) -> str | None:
        """The secret of a token's newest generation, None before the first."""
        if token.slot is None or token.expires_at is None:
            return None
        return self.prefix + self.names.token(token.project, token.client, token.id, token.slot)


def runner_json(runner: Runner, *, arns: SecretArns, now: float) -> dict[str, Any]:
    """The runner with its token, with every field; null where a fact is unknown.

    `now`: seconds since the epoch.
    """
    row, token = runner
    return {
        "name": row.runner,
        "project": row.project,
        "client": row.client,
        "audience": row.audience,
        "resource": row.resource,
        "scope": row.scope,
        "subject": row.subject,
        "isolated": bool(row.isolated),
        "token": token.id,
        **_state(token, arns=arns, now=now),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "registered_by": row.registered_by and read_executed_by(row.registered_by),
        "who": {"registered_by": who(row.registered_by, issuer=row.registered_by_issuer)},
    }


def token_json(token: TokenRow, *, arns: SecretArns, now: float) -> dict[str, Any]:
    """A token, with every field; null where a fact is unknown. `now`: seconds since the epoch."""
    return {
        "id": token.id,
        "project": token.project,
        "client": token.client,
        "audience": token.audience,
        "resource": token.resource,
        "scope": token.scope,
        "isolated_for": token.isolated_for,
        "runners": token.runners,
        "generation": token.generation,
        **_state(token, arns=arns, now=now),
        "created_at": token.created_at,
    }


def status_of(token: TokenRow, *, now: float) -> TokenStatus:
    """`waiting` for the first token, `ready`, `failing` (the last refresh failed) or `expired`.

    A failing token may still be live; an expired one is not.
    """
    if token.expires_at is not None and token.expires_at <= now:
        return "expired"
    if token.last_error is not None:
        return "failing"
    return "waiting" if token.expires_at is None else "ready"


def secrets_prefix(function_arn: str) -> str:
    """The prefix of the ARNs of all secrets in the account and region of a function.

    The prefix and a secret's name are a partial ARN, without the six random characters at its end.
    Secrets Manager accepts it, because no name of ours ends like such a suffix. An IAM policy adds
    `-??????`. The full ARN would cost a call for each runner of a listing, or 100 bytes in each row
    and index entry.
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen
    """
    _, partition, _, region, account, *_ = function_arn.split(":")
    return f"arn:{partition}:secretsmanager:{region}:{account}:secret:"


def _state(token: TokenRow, *, arns: SecretArns, now: float) -> dict[str, Any]:
    return {
        "status": status_of(token, now=now),
        "issued_at": _time(token.issued_at),
        "expires_at": _time(token.expires_at),
        "refreshed_at": _time(token.refreshed_at),
        "secret_arn": arns.newest(token),
        "secret_arns": arns.of(token),
        "last_error": _last_error(token),
    }


def _last_error(token: TokenRow) -> dict[str, Any] | None:
    error = token.last_error
    if error is None:
        return None
    return {
        "class": error.error_class,
        "detail": error.detail,
        "hint": hint_of(error.error_class),
        "since": rfc3339(error.since),
        "next_try_at": _time(token.try_at),
    }


def _time(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)
