"""Requests to the token endpoint of an issuer, and what it answers (RFC 6749)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from byline_client.addresses import origin_of
from byline_client.documents import text_of
from byline_client.errors import ClientError, ServiceUnavailable
from byline_client.secret_text import SecretText, checked_token

UNKNOWN_LIFETIME_SECONDS = 300.0
"""How long a token is used whose issuer does not say how long it is valid."""


class GrantRefused(ClientError):
    """The issuer refused. `code` is its error code (RFC 6749, section 5.2), without other text."""

    exit_code = 4

    def __init__(self, issuer: str, code: str) -> None:
        self.code = code if code.isascii() and code.replace("_", "").isalnum() else "error"
        super().__init__(f"{origin_of(issuer)} refused the sign-in: {self.code[:60]}.")


@dataclass(frozen=True)
class GrantedTokens:
    """An access token, and the refresh token if there is one. Unix seconds."""

    access_token: SecretText
    refresh_token: SecretText | None
    expires_at: float


def request_tokens(
    endpoint: str,
    form: Mapping[str, str],
    http: httpx.Client,
    *,
    client: tuple[str, SecretText] | None = None,
) -> GrantedTokens:
    """The tokens for a grant. `client`: id and secret of a client that is not public.

    Raises `GrantRefused`, and `ServiceUnavailable` where a later attempt may succeed.
    """
    asked_at = time.time()
    # Basic, with each part form-encoded (RFC 6749, section 2.3.1).
    auth = httpx.USE_CLIENT_DEFAULT if client is None else _basic(client)
    try:
        answer = http.post(endpoint, data=dict(form), auth=auth)
        document = answer.json()
    except httpx.HTTPError as error:
        # The library's message could quote the form.
        reason = type(error).__name__
        raise ServiceUnavailable(f"{origin_of(endpoint)} did not answer ({reason}).") from None
    except (ValueError, RecursionError):
        document = None
    if answer.status_code != 200 or not isinstance(document, dict):
        code = text_of(document, "error")
        if code and answer.status_code < 500:
            raise GrantRefused(endpoint, code)
        raise ServiceUnavailable(
            f"{origin_of(endpoint)} gave no token (HTTP {answer.status_code})."
        )
    source = f"the answer of {origin_of(endpoint)}"
    refresh = text_of(document, "refresh_token")
    lifetime = document.get("expires_in")
    if not isinstance(lifetime, (int, float)) or isinstance(lifetime, bool):
        lifetime = UNKNOWN_LIFETIME_SECONDS
    return GrantedTokens(
        access_token=checked_token(text_of(document, "access_token"), source=source),
        refresh_token=checked_token(refresh, source=source) if refresh else None,
        expires_at=asked_at + lifetime,
    )


def revoke(endpoint: str, token: SecretText, client_id: str, http: httpx.Client) -> bool:
    """Revoke a refresh token (RFC 7009). Returns whether the issuer confirmed it."""
    form = {"token": token.reveal(), "token_type_hint": "refresh_token", "client_id": client_id}
    try:
        return http.post(endpoint, data=form).status_code == 200
    except httpx.HTTPError:
        return False


def _basic(client: tuple[str, SecretText]) -> httpx.BasicAuth:
    from urllib.parse import quote_plus  # noqa: PLC0415

    client_id, secret = client
    return httpx.BasicAuth(quote_plus(client_id), quote_plus(secret.reveal()))
