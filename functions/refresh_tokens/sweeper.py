"""Sweeping after retired tokens, and after refreshes that were overtaken.

What is left of a retired token is revoked, and its secrets are deleted.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from botocore.exceptions import BotoCoreError, ClientError

from byline.caching import Clock
from byline.identity.unverified import UnverifiedToken
from byline.refresh.timing import MIN_LIFETIME_SECONDS, slots_for
from byline.refresh.token_rows import RETIRED_LIFETIME_SECONDS, TokenRow
from byline.refresh.work_units import TokenSecret
from byline.tables.rows import Contended
from refresh_tokens.clients import ClientStore
from refresh_tokens.errors import RefreshFailed
from refresh_tokens.minting import Mint
from refresh_tokens.token_table import Change, Found, TokenTable
from refresh_tokens.token_writer import TokenWriter

SWEEP_AGAIN_SECONDS = 300
"""The time from a retirement to the second sweep: longer than any worker runs, so that it finds the
secrets that a late worker wrote."""

MOST_SLOTS = slots_for(MIN_LIFETIME_SECONDS)
"""The most slots that a token can have. A late worker may have minted a token with a shorter
lifetime than the row says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Sweeps retired tokens. Secrets are read and deleted on `threads`.

    Its methods raise `ClientError`, `BotoCoreError` and `Contended`; a later call does the rest.
    """

    tokens: TokenTable
    writer: TokenWriter
    clients: ClientStore
    mint: Mint
    threads: Executor
    now: Clock

    def sweep(self, row: TokenRow) -> TokenRow:
        """Revoke what is left of a retired token, unless it may be in use, and delete its secrets.

        Returns the row to commit: due once more, then never again, and only then with an end of
        life.
        """
        again_at = (row.retired_at or 0) + SWEEP_AGAIN_SECONDS
        if self.now() < again_at:
            self.discard(row)
            return replace(row, due_at=again_at, next_try_at=None, last_error=None, ttl=None)
        self._discard(row, slots=MOST_SLOTS)
        ttl = int(self.now()) + RETIRED_LIFETIME_SECONDS
        return replace(row, shard=None, due_at=None, next_try_at=None, last_error=None, ttl=ttl)

    def mend(self, changes: Sequence[Change]) -> int:
        """Undo the writes of refreshes whose commits were refused; how many rows have changed.

        Raises the first error after all others were undone.
        """
        changed = 0
        failures: list[Exception] = []
        for before, after in changes:
            try:
                changed += self._mend(before, after) != before
            except (ClientError, BotoCoreError, Contended) as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
        return changed

    def _mend(self, before: TokenRow, after: TokenRow) -> Found:
        """Undo the write of a refresh of `before`; what the row is now.

        Only an absent row or another token's row means that this token was retired. A row that
        cannot be read may be this token's, which is in use. A row that was made due meanwhile is
        refreshed again, which finds the generation that was written.
        """
        found = self.tokens.live(before)
        if found == "unreadable":
            return found
        if found == "absent" or found.id != before.id:
            self.discard(after)
        elif found.generation > before.generation + 1:
            # This worker's generation may stand over a newer one.
            self.tokens.make_due_now(found, now=int(self.now()))
        return found

    def discard(self, row: TokenRow) -> None:
        """Revoke and delete what is in the token's slots. No later token uses their names."""
        self._discard(row, slots=row.slots or 1)

    def _discard(self, row: TokenRow, *, slots: int) -> None:
        token = self.writer.names.token
        names = [token(row.project, row.client, row.id, slot) for slot in range(slots)]
        held = dict(zip(names, self.threads.map(self.writer.held, names), strict=True))
        present = [name for name, found in held.items() if found != "absent"]
        # The token before the newest of each slot may live too: after a refresh that was asked for,
        # and where the token has one slot.
        before = self.threads.map(partial(self.writer.held, stage="AWSPREVIOUS"), present)
        contents = (*held.values(), *before)
        self._revoke(row, [content for content in contents if isinstance(content, TokenSecret)])
        for _ in self.threads.map(self.writer.delete, present):
            pass

    def _revoke(self, row: TokenRow, secrets: Iterable[TokenSecret]) -> None:
        """Revoke the tokens that live. A token that other runners may have is not revoked: an
        issuer with a cache may have given it out for the live token of the same mint key too."""
        now = self.now()
        living = [secret.token for secret in secrets if secret.expires_at.timestamp() > now]
        if not living or (row.isolated_for is None and self.tokens.live(row) != "absent"):
            return
        try:
            client = self.clients.get(row.project, row.client).secret
        except RefreshFailed:
            return  # only its client can revoke it; the token expires by itself
        if not isinstance(client, RefreshFailed):
            for text in living:
                self.mint.revoke(UnverifiedToken(text), client)
