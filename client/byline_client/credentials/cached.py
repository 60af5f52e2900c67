"""A token that is fetched when it is needed, and kept until shortly before its end."""

import time
from collections.abc import Callable

from byline_client.secret_text import SecretText

EARLY_SECONDS = 30.0
"""How long before its end a token is replaced. The service's clock may be ahead of ours."""


class CachedTokens:
    """Tokens of `fetch`, which returns a token and its end in Unix seconds."""

    def __init__(self, fetch: Callable[[], tuple[SecretText, float]]) -> None:
        self._fetch = fetch
        self._token: SecretText | None = None
        self._expires_at = 0.0

    def token(self, *, renew: bool = False) -> SecretText:
        """A token that is valid now. Raises `ClientError`."""
        if renew or self._token is None or time.time() > self._expires_at - EARLY_SECONDS:
            self._token, self._expires_at = self._fetch()
        return self._token
