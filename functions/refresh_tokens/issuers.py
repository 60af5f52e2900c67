"""The endpoints that issuers publish, and the revocation of tokens there."""

from threading import Lock
from typing import Literal

from byline.caching import BoundedCache, Clock
from byline.errors import Unavailable
from byline.fetch import Fetch, FetchFailed
from byline.identity.discovery import Discovery, discovery, require_as_private
from refresh_tokens.errors import RefreshFailed

CACHED_ISSUERS = 256

Endpoint = Literal["token_endpoint", "revocation_endpoint"]


class PublishedEndpoints:
    """The endpoints of issuers' discovery documents, which are kept. For several threads."""

    def __init__(self, *, fetch: Fetch, now: Clock) -> None:
        self._fetch = fetch
        self._now = now
        self._issuers: BoundedCache[str, Discovery] = BoundedCache(CACHED_ISSUERS, now=now)
        self._lock = Lock()

    def get(self, issuer: str, name: Endpoint) -> str | None:
        """The issuer's endpoint, None where it publishes none. Raises `RefreshFailed`."""
        with self._lock:
            document = self._issuers.get(issuer)
            if document is None:
                document = discovery(issuer, fetch=self._fetch, now=self._now)
                self._issuers.put(issuer, document, until=float("inf"))
        try:
            endpoint: str | None = getattr(document.get().value, name)
            if endpoint is not None:
                require_as_private(endpoint, issuer)
        except Unavailable as error:
            raise RefreshFailed("issuer_unavailable", str(error)) from None
        except FetchFailed as failure:
            raise RefreshFailed("answer_unusable", str(failure)) from None
        return endpoint
