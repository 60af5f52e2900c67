"""The endpoints that issuers publish in their discovery documents."""

from threading import Lock
from typing import Literal

from byline.caching import BoundedCache, Clock
from byline.errors import Unavailable
from byline.fetch import AnswerCutShort, AnswerRefused, Fetch, FetchFailed, TimedOut
from byline.identity.discovery import Discovery, IssuerMismatch, discovery, require_as_private
from byline.identity.documents import UnexpectedStatus
from refresh_tokens.errors import ErrorClass, RefreshFailed

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
            raise _failure(error.__cause__) from None
        except FetchFailed as failure:
            raise _failure(failure) from None
        return endpoint


def _failure(cause: BaseException | None) -> RefreshFailed:
    return RefreshFailed(_class_of(cause), f"Discovery of the issuer's endpoints failed: {cause}.")


def _class_of(cause: BaseException | None) -> ErrorClass:
    """The error class: a document with wrong contents is no outage of its issuer."""
    match cause:
        case IssuerMismatch():
            return "issuer_mismatch"
        case UnexpectedStatus():
            return "unexpected_status"
        case TimedOut():
            return "issuer_timeout"
        case AnswerRefused() if not isinstance(cause, AnswerCutShort):
            return "answer_unusable"
        case _:
            return "issuer_unavailable"
