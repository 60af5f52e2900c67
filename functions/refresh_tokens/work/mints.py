"""Minting once for all runners of a unit that may share a token, and minding their clients.

A client that its issuer refused, or asked to wait, is not asked again until that is over, whichever
of its runners comes along.
"""

from collections.abc import Callable

from byline.caching import Clock
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import KnownToken, due_window, is_nearly_dead
from byline.refresh.work_units import MintKey
from refresh_tokens.clients.store import ClientStore, VersionedClient
from refresh_tokens.errors import REFUSALS_OF_A_CLIENT, REFUSALS_OF_A_REQUEST, RefreshFailed
from refresh_tokens.minting.mint import Mint, MintedToken
from refresh_tokens.plan import BREAKER_RECHECK_SECONDS, REFUSED_RETRY_SECONDS, retry_at
from refresh_tokens.runner_table import ClientState, ClientStates


class Postponed(Exception):
    """No token for now: try again at `until`, seconds since the epoch.

    `asked`: whether the issuer was asked just now, so that each failure is counted once.
    """

    def __init__(self, error_class: str, *, until: int, asked: bool) -> None:
        super().__init__(error_class)
        self.error_class = error_class
        self.until = until
        self.asked = asked


class UnitMints:
    """The mints of one invocation: each mint key at most once for as long as the outcome holds.

    For several threads, as long as no two of them are at the same unit.
    """

    def __init__(
        self,
        *,
        mint: Mint,
        clients: ClientStore,
        states: ClientStates,
        now: Clock,
        random: Callable[[], float],
    ) -> None:
        self._mint = mint
        self._clients = clients
        self._states = states
        self._now = now
        self._random = random
        self._outcomes: dict[MintKey, MintedToken | Postponed] = {}

    def token_for(self, row: RunnerRow) -> MintedToken:
        """A token for the runner of `row`, minted just now or for another one. Raises `Postponed`.

        One that would already be due itself is no new token to anybody.
        """
        key = row.mint_key
        outcome = self._outcomes.get(key)
        now = self._now()
        if isinstance(outcome, Postponed) and now < outcome.until:
            raise outcome
        if isinstance(outcome, MintedToken) and not _is_due(outcome, now=now):
            self._require_life(outcome, row)
            return outcome
        try:
            token = self._minted(key, row)
        except Postponed as postponed:
            self._outcomes[key] = Postponed(
                postponed.error_class, until=postponed.until, asked=False
            )
            raise
        self._outcomes[key] = token
        return token

    def _require_life(self, token: MintedToken, row: RunnerRow) -> None:
        """Raise `Postponed` where a token that was good enough for another runner is not for this.

        A new runner takes what an issuer's cache still has; one with a token may have a better one.
        """
        now = int(self._now())
        life = token.expires_at - now
        if not is_nearly_dead(life, full=token.full_lifetime, known=_known(row), now=now):
            return
        until = retry_at(
            attempts=row.attempts + 1,
            retry_after=None,
            deadline=row.deadline,
            now=now,
            random=self._random,
        )
        raise Postponed("nearly_dead_token", until=until, asked=False)

    def _minted(self, key: MintKey, row: RunnerRow) -> MintedToken:
        now = int(self._now())
        state = self._states.get(key.project, key.client)
        if state is not None and state.broken_version is None and now < state.retry_at:
            raise Postponed(state.error_class, until=state.retry_at, asked=False)
        client: VersionedClient | None = None
        try:
            client = self._clients.get(key.project, key.client)
            if (
                state is not None
                and client.version == state.broken_version
                and now < state.retry_at
            ):
                until = min(now + BREAKER_RECHECK_SECONDS, state.retry_at)
                raise Postponed(state.error_class, until=until, asked=False)
            if isinstance(client.secret, RefreshFailed):
                raise client.secret
            token = self._mint.mint(key, client.secret, known=_known(row))
        except RefreshFailed as failure:
            raise self._failed(key, row, state, client, failure) from None
        if state is not None:
            self._states.clear(key.project, key.client, before=state)
        return token

    def _failed(
        self,
        key: MintKey,
        row: RunnerRow,
        state: ClientState | None,
        client: VersionedClient | None,
        failure: RefreshFailed,
    ) -> Postponed:
        now = int(self._now())
        error_class = failure.error_class
        if error_class in REFUSALS_OF_A_REQUEST:
            return Postponed(error_class, until=now + REFUSED_RETRY_SECONDS, asked=True)
        of_this_token = error_class in ("answer_unusable", "nearly_dead_token")
        attempts = row.attempts if of_this_token or state is None else state.attempts
        until = retry_at(
            attempts=attempts + 1,
            retry_after=failure.retry_after,
            deadline=row.deadline,
            now=now,
            random=self._random,
        )
        if of_this_token:
            # The client's other tokens may be well, as after a refused request.
            return Postponed(error_class, until=until, asked=True)
        refused = error_class in REFUSALS_OF_A_CLIENT
        if refused:
            until = now + REFUSED_RETRY_SECONDS
        # A secret that is not there has no version; the next one to be made has another one.
        version = client.version if client is not None else ""
        new_state = ClientState(
            error_class=error_class,
            since=now,
            retry_at=until,
            attempts=attempts + 1,
            broken_version=version if refused else None,
        )
        self._states.put(key.project, key.client, new_state, before=state)
        recheck = now + BREAKER_RECHECK_SECONDS
        return Postponed(error_class, until=min(until, recheck) if refused else until, asked=True)


def _is_due(token: MintedToken, *, now: float) -> bool:
    return now >= token.issued_at + due_window(token.lifetime).first


def _known(row: RunnerRow) -> KnownToken | None:
    if row.lifetime is None or row.expires_at is None:
        return None
    return KnownToken(lifetime=row.lifetime, expires_at=row.expires_at)
