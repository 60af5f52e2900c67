"""A runner as the API shows it: the times of its token, and never the token."""

from typing import Any, Literal

from byline.identity.caller import read_executed_by
from byline.refresh.runner_rows import RunnerRow
from byline.secret_names import SecretNames
from byline.tables.rows import rfc3339

RunnerStatus = Literal["waiting", "ready", "failing", "expired"]


def runner_json(row: RunnerRow, *, names: SecretNames, secrets: str, now: float) -> dict[str, Any]:
    """The runner, with every field; null where a fact is unknown.

    `secrets`: the ARN prefix of all secrets, see `secrets_prefix`. `now`: seconds since the epoch.
    """
    has_token = row.expires_at is not None and row.slot is not None
    name = names.token(row.project, row.runner, row.slot or 0)
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
    """`waiting` for the first token, `ready`, `failing` (the last refresh failed) or `expired`.

    A failing runner may still have a live token; an expired one has none.
    """
    if row.expires_at is not None and row.expires_at <= now:
        return "expired"
    if row.last_error is not None:
        return "failing"
    return "waiting" if row.expires_at is None else "ready"


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


def _last_error(row: RunnerRow) -> dict[str, Any] | None:
    if row.last_error is None:
        return None
    return {"class": row.last_error.error_class, "at": rfc3339(row.last_error.at)}


def _time(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)
