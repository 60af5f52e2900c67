"""A runner as the API shows it: how its token is doing, and never the token."""

from typing import Any, Literal

from byline.identity.caller import read_executed_by
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import token_secret_name
from byline.tables.items import rfc3339

RunnerStatus = Literal["waiting", "ready", "failing", "expired"]


def runner_json(row: RunnerRow, *, secrets: str, now: float) -> dict[str, Any]:
    """The runner, every field there, null where nothing is known.

    `secrets`: the ARN that all secrets' begin with, see `secrets_of`. `now`: seconds since the
    epoch.
    """
    has_token = row.expires_at is not None and row.slot is not None
    name = token_secret_name(row.project, row.runner, row.slot or 0)
    return {
        "name": row.runner,
        "project": row.project,
        "client": row.client,
        "audience": row.audience,
        "resource": row.resource,
        "scope": row.scope,
        "subject": row.subject,
        "status": status_of(row, now=now),
        "issued_at": _time(row.issued_at),
        "expires_at": _time(row.expires_at),
        "refreshed_at": _time(row.refreshed_at),
        "secret_arn": f"{secrets}{name}" if has_token else None,
        "last_error": _last_error(row),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "registered_by": row.registered_by and read_executed_by(row.registered_by),
    }


def status_of(row: RunnerRow, *, now: float) -> RunnerStatus:
    """`waiting` for its first token; `ready`; `failing`: the last refresh did; `expired`.

    A runner that fails may still have a token that lives; one that is expired has none.
    """
    if row.expires_at is not None and row.expires_at <= now:
        return "expired"
    if row.last_error is not None:
        return "failing"
    return "waiting" if row.expires_at is None else "ready"


def secrets_of(function_arn: str) -> str:
    """What the ARNs of the secrets beside a function begin with.

    What follows is a secret's name. Without the six random characters at its end it is a partial
    ARN, by which Secrets Manager finds the secret all the same, because no name of ours ends as
    such a suffix does; a policy writes `-??????` after it. Knowing the rest would cost a call for
    each runner of a listing, or a hundred bytes in each of its rows and index entries.
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen
    """
    _, partition, _, region, account, *_ = function_arn.split(":")
    return f"arn:{partition}:secretsmanager:{region}:{account}:secret:"


def _last_error(row: RunnerRow) -> dict[str, Any] | None:
    if row.last_error is None:
        return None
    return {"class": row.last_error.error_class, "at": rfc3339(row.last_error.at)}


def _time(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)
