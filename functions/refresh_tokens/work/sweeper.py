"""Cleaning up after runners that were deleted: their tokens revoked, their secrets deleted."""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from byline.caching import Clock
from byline.identity.unverified import UnverifiedToken
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import token_secret_name
from refresh_tokens.clients.store import ClientStore
from refresh_tokens.errors import RefreshFailed
from refresh_tokens.minting.mint import Mint
from refresh_tokens.plan import MOST_SLOTS, slots_to_sweep
from refresh_tokens.runner_table import RunnerTable
from refresh_tokens.token_writer import TokenWriter, UnreadableSecret


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Sweeps, with everything that it needs for it. Deletes on `threads`.

    Its methods raise `ClientError`, `BotoCoreError` and `Contended`; a later call does the rest.
    """

    runners: RunnerTable
    writer: TokenWriter
    clients: ClientStore
    mint: Mint
    threads: Executor
    now: Clock

    def sweep(self, row: RunnerRow) -> None:
        """Revoke a deleted runner's token where it was nobody else's, and delete its secrets.

        A runner that was registered under the name since writes over them, and is left alone.
        """
        self._revoke(row)
        if self.runners.registered(row) != "absent":
            return
        self._discard(row, slots=slots_to_sweep(row, now=int(self.now())))
        registered = self.runners.registered(row)
        if isinstance(registered, RunnerRow):
            # Registered meanwhile: its own token may have been deleted with the old ones.
            self.runners.make_due_now(registered, now=int(self.now()))

    def discard(self, row: RunnerRow) -> None:
        """Delete every secret that the runner may have had."""
        self._discard(row, slots=MOST_SLOTS)

    def _discard(self, row: RunnerRow, *, slots: int) -> None:
        names = (token_secret_name(row.project, row.runner, slot) for slot in range(slots))
        # A worker that was under way when the runner was deleted may have put one more; what is
        # newer belongs to a runner that was registered under the name since.
        discard = partial(self.writer.discard_up_to, generation=row.generation + 1)
        for _ in self.threads.map(discard, names):
            pass

    def _revoke(self, row: RunnerRow) -> None:
        if row.slot is None:
            return
        try:
            current = self.writer.current(token_secret_name(row.project, row.runner, row.slot))
        except UnreadableSecret:
            return
        if current is None or current.generation > row.generation + 1:
            return
        if self.runners.is_shared(row.mint_key):
            return
        try:
            client = self.clients.get(row.project, row.client).secret
        except RefreshFailed:
            return  # without its client nobody can revoke; the token dies within its minutes
        if not isinstance(client, RefreshFailed):
            self.mint.revoke(UnverifiedToken(current.token), client)
