"""OAuth clients: their credentials in Secrets Manager, their states in RunnersTable, and mints.

A client that its issuer refused, or asked to wait, is not asked for any of its tokens until that is
over.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from byline.caching import Clock
from byline.refresh.timing import MintedToken, known_token
from byline.refresh.token_rows import TokenRow, client_key
from byline.refresh.work_units import SecretNames
from byline.tables.rows import ConditionFailed, Contended, attributes, values_of, write_row
from refresh_tokens.client_secrets import ClientSecret, read_client_secret
from refresh_tokens.errors import RefreshFailed, RetryLater, failure_of_store
from refresh_tokens.minting import Mint
from refresh_tokens.retries import (
    ClientState,
    SecretVersion,
    TokenLife,
    after_failure,
    back_off_until,
    life_of,
    may_ask,
    next_look,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_secretsmanager.client import SecretsManagerClient


@dataclass(frozen=True, slots=True)
class VersionedClient:
    """A client's credentials, or why they are unusable, in one version of its secret.

    A client that was refused is tried again with another `version`.
    """

    version: SecretVersion
    secret: ClientSecret | RefreshFailed


READ_VERSIONS = 256
"""The most versions of clients' secrets that are kept as they were read."""


class ClientStore:
    """Reads clients' secrets. A version never changes, so each is decoded once: a private key
    takes as long as a request. For several threads."""

    def __init__(self, client: "SecretsManagerClient", *, names: SecretNames) -> None:
        self._client = client
        self._names = names
        self._versions: dict[tuple[str, str], ClientSecret] = {}

    def get(self, project: str, client: str) -> VersionedClient:
        """The client in its secret's current version.

        Raises `RefreshFailed` where the secret cannot be read at all.
        """
        name = self._names.client(project, client)
        try:
            answer = self._client.get_secret_value(SecretId=name)
        except self._client.exceptions.ResourceNotFoundException:
            detail = f"Secrets Manager has no secret `{name}`."
            raise RefreshFailed("client_secret_unusable", detail) from None
        except (ClientError, BotoCoreError) as error:
            raise failure_of_store(error, call=f"read the secret `{name}`") from None
        version = SecretVersion(answer["VersionId"], answer["CreatedDate"].timestamp())
        secret = self._versions.get((name, version.id))
        if secret is None:
            try:
                secret = read_client_secret(answer.get("SecretString", ""))
            except RefreshFailed as unusable:
                return VersionedClient(version, unusable)
            if len(self._versions) >= READ_VERSIONS:
                self._versions.clear()
            self._versions[name, version.id] = secret
        return VersionedClient(version, secret)


STATE_LIFETIME_SECONDS = 2_592_000
"""How long a state is kept: 30 days. A client that is not used any more leaves nothing behind."""


class ClientStates:
    """The states of clients in RunnersTable: their trouble, or the secret that worked.

    Writes are best effort: a lost state is found out again by asking the issuer, each token's own
    row says when, and a minted token must not be lost because of it.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def get(self, project: str, client: str) -> ClientState | None:
        """The client's state, None where it has none.

        A row that cannot be read is deleted. It would keep every later state from being written.
        """
        key = client_key(project, client)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        if "Item" not in answer:
            return None
        try:
            return msgspec.convert(values_of(answer["Item"]), ClientState)
        except (KeyError, ValueError, msgspec.ValidationError):
            self._write(lambda: self._client.delete_item(TableName=self._table, Key=key))
            return None

    def put(
        self, project: str, client: str, state: ClientState, *, before: ClientState | None
    ) -> None:
        """Keep `state`, unless another worker has changed it since `before` was read."""
        values: dict[str, Any] = msgspec.to_builtins(state)
        values["ttl"] = state.since + STATE_LIFETIME_SECONDS
        item = attributes(values) | client_key(project, client)
        self._write(
            lambda: self._client.put_item(TableName=self._table, Item=item, **_unchanged(before))
        )

    def _write(self, write: Callable[[], object]) -> None:
        with suppress(ConditionFailed, Contended, ClientError, BotoCoreError):
            write_row(self._client, write)


def _unchanged(before: ClientState | None) -> Any:
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(runner)"}
    return {
        "ConditionExpression": "since = :since AND attempts = :attempts",
        "ExpressionAttributeValues": attributes(
            {":since": before.since, ":attempts": before.attempts}
        ),
    }


WORKING_SECONDS = 10
"""How long a client that got a token is asked without reading its secret and its state again."""


@dataclass(frozen=True, slots=True)
class _Working:
    """A client that got a token, and its state afterwards. `until`: in seconds since the epoch."""

    client: VersionedClient
    state: ClientState
    until: float


class ClientMints:
    """Mints tokens as their clients, where the client's state permits it. For several threads."""

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
        self._working: dict[tuple[str, str], _Working] = {}

    def for_each[T](
        self,
        rows: Iterable[TokenRow],
        use: Callable[[TokenRow, MintedToken], T],
        *,
        threads: Executor,
        until: float,
    ) -> Iterator[tuple[TokenRow, T | RetryLater]]:
        """What `use` makes of each row's next generation, without rows for which no time is left.

        Each client asks for one token, and for its others on `threads` only after that success. So
        an issuer that is down, or refuses a client, is asked once.
        """

        def mint(row: TokenRow) -> T | RetryLater | None:
            if self._now() >= until:
                return None  # an issuer may take seconds for each mint
            try:
                token = self.token_for(row)
            except RetryLater as later:
                return later
            return use(row, token)

        of_clients: dict[tuple[str, str], list[TokenRow]] = {}
        for row in rows:
            of_clients.setdefault((row.project, row.client), []).append(row)
        # In the order of their first rows: the earliest deadline must not wait for others.
        for first, *others in of_clients.values():
            outcome = mint(first)
            one_by_one = outcome is None or isinstance(outcome, RetryLater)
            outcomes = (outcome, *(map if one_by_one else threads.map)(mint, others))
            for row, found in zip((first, *others), outcomes, strict=True):
                if found is not None:
                    yield row, found

    def token_for(self, row: TokenRow) -> MintedToken:
        """The next generation of the token. Raises `RetryLater`.

        Its cause is the error if nobody expected it.
        """
        try:
            return self._minted(row)
        except (RetryLater, ClientError, BotoCoreError):
            raise
        except Exception as error:
            until = back_off_until(life_of(row), now=int(self._now()), random=self._random)
            detail = f"The mint met an error that Byline does not expect: {type(error).__name__}."
            raise RetryLater("unexpected_error", detail, until=until, asked=True) from error

    def _minted(self, row: TokenRow) -> MintedToken:
        now, key = int(self._now()), (row.project, row.client)
        working = self._working.get(key)
        if working is not None and now < working.until:
            state: ClientState | None = working.state
        else:
            working, state = None, self._states.get(row.project, row.client)
        in_trouble = state is not None and state.error_class
        if state is not None and in_trouble and state.version is None:
            _require_turn(state, life_of(row), version=None, now=now)
        version: SecretVersion | None = None
        try:
            client = working.client if working else self._clients.get(row.project, row.client)
            version = client.version
            if state is not None and in_trouble:
                _require_turn(state, life_of(row), version=version.id, now=now)
            if isinstance(client.secret, RefreshFailed):
                raise client.secret
            token = self._mint.mint(row.mint_key, client.secret, known=known_token(row))
        except RefreshFailed as failure:
            self._working.pop(key, None)
            later, new_state = after_failure(
                failure,
                life_of(row),
                state=state,
                version=version,
                now=int(self._now()),
                random=self._random,
            )
            if new_state is not None:
                self._states.put(row.project, row.client, new_state, before=state)
            raise later from None
        if state is None or state.error_class or state.worked_version != version.id:
            works = ClientState(
                error_class="",
                since=int(self._now()),
                retry_at=0,
                attempts=0,
                worked_version=version.id,
            )
            self._states.put(row.project, row.client, works, before=state)
            state = works
        if working is None:
            self._working[key] = _Working(client, state, now + WORKING_SECONDS)
        return token


def _require_turn(state: ClientState, life: TokenLife, *, version: str | None, now: int) -> None:
    """Raise `RetryLater` where the client still waits."""
    if not may_ask(state, life, version=version, now=now):
        until = next_look(state, life, now=now)
        raise RetryLater(state.error_class, state.detail, until=until, asked=False)
