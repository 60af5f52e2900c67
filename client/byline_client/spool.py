"""Runs that ended and are not recorded yet, in private files until the service can be reached.

An entry is written before the end of a run is sent, and deleted after it was recorded. A process
that is killed in between leaves an entry, and a later one repeats it, which is harmless.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from byline_client.credentials.order import Source
from byline_client.errors import ClientError, RequestRefused
from byline_client.private_files import locked, read_private, write_private
from byline_client.record import Outcome, RunEnd, RunPlan, perform, whole_record
from byline_client.tokens import Tokens, unverified_claims


@dataclass(frozen=True)
class KeptRun:
    """A run that ended. `caller`: who recorded it, so that nobody else is named as its creator."""

    url: str
    caller: str
    plan: RunPlan
    run_id: str
    end: RunEnd


def caller_of(credential: Callable[[], tuple[Source, Tokens]]) -> str:
    """Issuer and subject of the token, or the source of a token that does not name them.

    Empty where there is no token now. Whoever owns the spool may record such an entry later.
    """
    try:
        source, tokens = credential()
        claims = unverified_claims(tokens.token())
    except ClientError:
        return ""
    subject = claims.get("sub")
    return f"{claims.get('iss')}#{subject}" if subject else source.name


class Spool:
    """The entries in `folder`/spool."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "spool"

    def keep(self, entry: KeptRun) -> None:
        """Write an entry. Raises `ClientError`."""
        plan = entry.plan
        document = {
            "url": entry.url,
            "caller": entry.caller,
            "project": plan.project,
            "body": dict(plan.body),
            "key": plan.key,
            "run_id": entry.run_id,
            "outcome": entry.end.change,
            "reason": entry.end.reason,
            "exit_code": entry.end.exit_code,
        }
        write_private(self._path(plan.key), json.dumps(document) + "\n")

    def forget(self, entry: KeptRun) -> None:
        """Delete an entry that is recorded."""
        self._path(entry.plan.key).unlink(missing_ok=True)

    def entries(self) -> Iterator[KeptRun]:
        """All entries, the oldest first."""
        paths = self._folder.glob("*.json")
        for path in sorted(paths, key=lambda each: each.stat().st_mtime):
            if (entry := _parsed(read_private(path))) is not None:
                yield entry

    def deliver(
        self, url: str, caller: str, ask: Callable[..., Any], *, say: Callable[[str], None]
    ) -> int:
        """Record the entries of a caller at a service. Returns how many were recorded.

        An entry that the service refuses is deleted, because a repetition would be refused too.
        Raises `ClientError` when the service cannot be reached.
        """
        recorded = 0
        with locked(self._folder / "lock"):
            for entry in list(self.entries()):
                if entry.url != url or entry.caller not in ("", caller):
                    continue
                try:
                    run_id = perform(whole_record(entry.plan, entry.run_id, entry.end), ask)
                except RequestRefused as refused:
                    say(f"The run {entry.plan.body.get('name', '')} was not recorded: {refused}")
                else:
                    say(f"Recorded run {run_id} afterwards.")
                    recorded += 1
                self.forget(entry)
        return recorded

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _parsed(text: str | None) -> KeptRun | None:
    """The entry in a file; None for a file that was deleted meanwhile, or that is damaged."""
    try:
        members = json.loads(text or "")
        plan = RunPlan(str(members["project"]), dict(members["body"]), str(members["key"]))
        if members["outcome"] not in ("finish", "fail", "cancel"):
            return None
        code = members.get("exit_code")
        end = RunEnd(
            cast(Outcome, members["outcome"]),
            reason=str(members.get("reason") or ""),
            exit_code=code if isinstance(code, int) else None,
        )
        return KeptRun(
            str(members["url"]),
            str(members["caller"]),
            plan,
            str(members["run_id"]),
            end,
        )
    except (ValueError, KeyError, TypeError):
        return None


def record_end(
    spool: Spool, entry: KeptRun, ask: Callable[..., Any], *, say: Callable[[str], None]
) -> bool:
    """Record the end of a run, or keep it for later. Returns whether it is recorded.

    Raises nothing: the outcome of the command counts, not that of its record.
    """
    try:
        spool.keep(entry)
    except ClientError as error:
        say(f"The record cannot be kept for later: {error}")
    try:
        perform(whole_record(entry.plan, entry.run_id, entry.end), ask)
    except RequestRefused as refused:
        say(f"The end of the run was not recorded: {refused}")
        spool.forget(entry)
        return False
    except ClientError as error:
        say(f"The end of the run is not recorded yet: {error} `byline catch-up` records it later.")
        return False
    spool.forget(entry)
    return True
