"""Sweeping after deleted runners: their tokens are revoked, their secrets deleted."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from byline.caching import Clock
from byline.identity.unverified import UnverifiedToken
from byline.refresh.runner_rows import DELETED_LIFETIME_SECONDS, RunnerRow, UnreadableRow
from byline.refresh.timing import MIN_LIFETIME_SECONDS, slots_for
from byline.refresh.work_units import UnreadableSecret
from refresh_tokens.clients import ClientStore
from refresh_tokens.errors import RefreshFailed
from refresh_tokens.minting import Mint
from refresh_tokens.runner_table import RunnerTable
from refresh_tokens.token_writer import TokenWriter

SWEEP_AGAIN_SECONDS = 300
"""The time from a deletion to the second sweep: longer than any worker runs, so that it finds the
secrets that a late worker wrote."""

MOST_SLOTS = slots_for(MIN_LIFETIME_SECONDS)
"""The most slots that a runner can have. A late worker may have minted a token with a shorter
lifetime than the row says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Sweeps deleted runners. Secrets are deleted on `threads`.

    Its methods raise `ClientError`, `BotoCoreError` and `Contended`; a later call does the rest.
    """

    runners: RunnerTable
    writer: TokenWriter
    clients: ClientStore
    mint: Mint
    threads: Executor
    now: Clock

    def sweep(self, row: RunnerRow) -> RunnerRow:
        """Revoke a deleted runner's token unless it is shared, and delete the runner's secrets.

        A runner that was registered under the name since then overwrites them, so they are kept.
        Returns the row to commit: due once more, then never again, and only then with an end of
        life. Raises `UnreadableRow` where the name's row cannot be read, so that nothing is known.
        """
        again_at = (row.deleted_at or 0) + SWEEP_AGAIN_SECONDS
        is_first = self.now() < again_at
        self._revoke(row)
        found = self.runners.registered(row)
        if found == "unreadable":
            raise UnreadableRow(f"{row.project}/{row.runner}")
        if found == "absent":
            self._discard(row, slots=(row.slots or 1) if is_first else MOST_SLOTS)
            registered = self.runners.registered(row)
            if isinstance(registered, RunnerRow):
                # Registered meanwhile: its own token may have been deleted with the old ones.
                self.runners.make_due_now(registered, now=int(self.now()))
        if is_first:
            return replace(row, due_at=again_at, last_error=None, ttl=None)
        ttl = int(self.now()) + DELETED_LIFETIME_SECONDS
        return replace(row, shard=None, due_at=None, last_error=None, ttl=ttl)

    def discard(self, row: RunnerRow) -> None:
        """Delete every secret that the runner may have had."""
        self._discard(row, slots=MOST_SLOTS)

    def _discard(self, row: RunnerRow, *, slots: int) -> None:
        token = self.writer.names.token
        names = (token(row.project, row.runner, slot) for slot in range(slots))
        # A late worker may have written one more generation. Later generations belong to a runner
        # that was registered under the name since then.
        discard = partial(self.writer.discard_up_to, generation=row.generation + 1)
        for _ in self.threads.map(discard, names):
            pass

    def _revoke(self, row: RunnerRow) -> None:
        if row.slot is None:
            return
        name = self.writer.names.token(row.project, row.runner, row.slot)
        try:
            current = self.writer.current(name)
        except UnreadableSecret:
            return
        if current is None or current.generation > row.generation + 1:
            return
        if self.runners.is_shared(row.mint_key):
            return
        try:
            client = self.clients.get(row.project, row.client).secret
        except RefreshFailed:
            return  # only its client can revoke it; the token expires within minutes
        if not isinstance(client, RefreshFailed):
            self.mint.revoke(UnverifiedToken(current.token), client)
