"""Clients, secrets and mints for the tests of minting."""

import json
import time
import traceback
from functools import partial
from typing import Any

import pytest

from byline.fetch import TIMEOUT_SECONDS, fetch, post
from byline.refresh.timing import KnownToken, MintedToken
from byline.refresh.work_units import MintKey
from refresh_tokens.client_secrets import ClientSecret, read_client_secret
from refresh_tokens.errors import ERROR_CLASSES, RefreshFailed
from refresh_tokens.minting import Mint
from tests.refresh.token_issuer import (
    RegisteredClient,
    TokenIssuer,
    ec_key,
    ed25519_key,
    pem_of,
    rsa_key,
)

SECRET = "S3CRET"
DEFAULT_LIFETIME = 300
LIMIT = 0.4
"""Seconds: the time limit in tests that wait for it."""

BASIC = RegisteredClient("nightly-train", "client_secret_basic", SECRET)
POST = RegisteredClient("daily-report", "client_secret_post", SECRET)
SIGNING = RegisteredClient("weekly-report", "private_key_jwt", key=rsa_key(), key_id="key-1")
SIGNING_EC = RegisteredClient("hourly-check", "private_key_jwt", key=ec_key())
SIGNING_ED25519 = RegisteredClient("yearly-check", "private_key_jwt", key=ed25519_key())

KEY = MintKey.of(project="payments", client="scheduler")


def minting(*, timeout_seconds: float = 5.0, warnings: list[str] | None = None) -> Mint:
    """The deployed mint. Its warnings are appended to `warnings`."""
    return Mint(
        post=partial(post, timeout_seconds=timeout_seconds),
        fetch=partial(fetch, timeout_seconds=min(timeout_seconds, TIMEOUT_SECONDS)),
        now=time.time,
        default_lifetime=DEFAULT_LIFETIME,
        warn=lambda _, detail: None if warnings is None else warnings.append(detail),
    )


def secret_of(
    issuer: TokenIssuer, client: RegisteredClient = BASIC, /, **changes: Any
) -> ClientSecret:
    """The client's secret as an operator writes it; `changes` of None leave a member out."""
    document: dict[str, Any] = {
        "token_endpoint": f"{issuer.url}/token",
        "client_id": client.client_id,
        "auth_method": client.auth_method,
        "client_secret": client.secret or None,
        "private_key_pem": pem_of(client.key) if client.key else None,
        "key_id": client.key_id or None,
        **changes,
    }
    return read_client_secret(
        json.dumps({name: value for name, value in document.items() if value is not None})
    )


def discovered(
    issuer: TokenIssuer, client: RegisteredClient = BASIC, /, **changes: Any
) -> ClientSecret:
    """The same client with an issuer, whose endpoints are found by discovery."""
    return secret_of(issuer, client, token_endpoint=None, issuer=issuer.url, **changes)


def mint(
    issuer: TokenIssuer, *, known: KnownToken | None = None, warnings: list[str] | None = None
) -> MintedToken:
    return minting(warnings=warnings).mint(KEY, secret_of(issuer), known=known)


def failure_of(
    issuer: TokenIssuer,
    client: ClientSecret | None = None,
    *,
    known: KnownToken | None = None,
    timeout_seconds: float = 5.0,
) -> RefreshFailed:
    """The error of a mint. Its class is known, and it quotes neither request nor answer."""
    with pytest.raises(RefreshFailed) as failed:
        minting(timeout_seconds=timeout_seconds).mint(KEY, client or secret_of(issuer), known=known)
    assert failed.value.error_class in ERROR_CLASSES
    error: BaseException | None = failed.value
    shown = "".join(traceback.format_exception(error))
    while error is not None:
        shown += f"{error!r} {error}"
        error = error.__cause__ or error.__context__
    assert SECRET not in shown
    assert "eyJ" not in shown
    return failed.value
