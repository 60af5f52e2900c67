"""Shares one minted token among the runners that may have it, and keeps the client's state."""

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from byline.caching import Clock
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import MintedToken, is_nearly_dead, known_token
from byline.refresh.work_units import MintKey
from refresh_tokens.clients import ClientStates, ClientStore
from refresh_tokens.errors import REFUSALS, RefreshFailed, RetryLater
from refresh_tokens.minting import Mint
from refresh_tokens.retries import (
    ClientState,
    SecretVersion,
    TokenLife,
    after_failure,
    back_off_until,
    may_ask,
    next_look,
    not_after_last_try,
)
from refresh_tokens.row_changes import life_of


class SharedMints:
    """The mints of one invocation: one per mint key for as long as its outcome holds.

    A client that its issuer refused, or asked to wait, is not asked for any of its runners until
    that is over. For several threads that work on different work units.
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
        self._outcomes: dict[MintKey, MintedToken | RetryLater] = {}

    def token_for(self, row: RunnerRow) -> MintedToken:
        """A token for the runner, minted just now for it or for another one. Raises `RetryLater`.

        A token that is already due itself is minted anew.
        """
        key = row.mint_key
        outcome = self._outcomes.get(key)
        now = self._now()
        if isinstance(outcome, RetryLater) and now < outcome.until:
            self._require_last_try(outcome, life_of(row))
        if isinstance(outcome, MintedToken) and now < outcome.due_from:
            self._require_life(outcome, row)
            return outcome
        try:
            token = self._new_token(key, row)
        except RetryLater as failure:
            self._outcomes[key] = failure
            raise
        self._outcomes[key] = token
        return token

    def _require_last_try(self, outcome: RetryLater, life: TokenLife) -> None:
        """Raise `RetryLater` unless this is a token's last try, which was not made yet."""
        now = int(self._now())
        if life.is_last_try(now=now) and not outcome.asked:
            return
        until = outcome.until
        if outcome.error_class not in REFUSALS:
            until = not_after_last_try(until, life=life, now=now)
        raise RetryLater(outcome.error_class, until=until, asked=False)

    def _require_life(self, token: MintedToken, row: RunnerRow) -> None:
        """Raise `RetryLater` where another runner's token is too old for this one.

        A runner without a token takes what an issuer's cache has left; one with a token may have a
        better one.
        """
        now = int(self._now())
        life = token.expires_at - now
        if not is_nearly_dead(life, full=token.full_lifetime, known=known_token(row), now=now):
            return
        until = back_off_until(life_of(row), now=now, random=self._random)
        raise RetryLater("nearly_dead_token", until=until, asked=False)

    def _new_token(self, key: MintKey, row: RunnerRow) -> MintedToken:
        """A new token. Raises `RetryLater`, whose cause is the error if nobody expected it."""
        try:
            return self._minted(key, row)
        except (RetryLater, ClientError, BotoCoreError):
            raise
        except Exception as error:
            until = back_off_until(life_of(row), now=int(self._now()), random=self._random)
            raise RetryLater("unexpected_error", until=until, asked=True) from error

    def _minted(self, key: MintKey, row: RunnerRow) -> MintedToken:
        now = int(self._now())
        state = self._states.get(key.project, key.client)
        in_trouble = state is not None and state.error_class
        if state is not None and in_trouble and state.version is None:
            _require_turn(state, life_of(row), version=None, now=now)
        version: SecretVersion | None = None
        try:
            client = self._clients.get(key.project, key.client)
            version = client.version
            if state is not None and in_trouble:
                _require_turn(state, life_of(row), version=version.id, now=now)
            if isinstance(client.secret, RefreshFailed):
                raise client.secret
            token = self._mint.mint(key, client.secret, known=known_token(row))
        except RefreshFailed as failure:
            later, new_state = after_failure(
                failure,
                life_of(row),
                state=state,
                version=version,
                now=int(self._now()),
                random=self._random,
            )
            if new_state is not None:
                self._states.put(key.project, key.client, new_state, before=state)
            raise later from None
        if state is None or state.error_class or state.worked_version != version.id:
            works = ClientState(
                error_class="",
                since=int(self._now()),
                retry_at=0,
                attempts=0,
                worked_version=version.id,
            )
            self._states.put(key.project, key.client, works, before=state)
        return token


def _require_turn(state: ClientState, life: TokenLife, *, version: str | None, now: int) -> None:
    """Raise `RetryLater` where the client still waits."""
    if not may_ask(state, life, version=version, now=now):
        raise RetryLater(state.error_class, until=next_look(state, life, now=now), asked=False)
