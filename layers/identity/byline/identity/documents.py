"""Documents that an issuer publishes: fetched when needed, kept while they cannot be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

import msgspec

from byline.caching import Clock
from byline.errors import Source, Unavailable
from byline.fetch import Fetch, FetchFailed

STALE_LIFETIME_SECONDS = 86_400
"""Until this age a copy goes on counting while no newer one can be had: no outage and no bad answer
erases a good one."""

RENEWAL_COOLDOWN_SECONDS = 60
"""A document in which something is missing is fetched early at most this often, whatever strangers
invent."""

OUTAGE_COOLDOWN_SECONDS = 5
"""For how long after a failed fetch the same document is not fetched again."""


@dataclass(frozen=True, slots=True)
class Copy[T]:
    """A document as it was at `fetched_at`, seconds since the epoch."""

    value: T
    fetched_at: float
    fresh_until: float


class LastGood[T]:
    """The last good copy of one document.

    `load` fetches and reads it, and raises `FetchFailed` for whatever is not good. `lifetime` is in
    seconds; after it the document is fetched anew when it is next asked for.
    """

    def __init__(
        self, load: Callable[[], T], *, source: Source, lifetime: float, now: Clock
    ) -> None:
        self._load = load
        self._source: Source = source
        self._lifetime = lifetime
        self._now = now
        self._copy: Copy[T] | None = None
        self._failure: Unavailable | None = None
        self._failed_at = float("-inf")
        self._renewed_at = float("-inf")
        self._lock = Lock()
        self.failed_fetches = 0
        """Counts up for the life of the process; the metric is its difference."""

    def get(self) -> Copy[T]:
        """A fresh copy, or the last good one where no fresh one can be had.

        Raises `Unavailable` where there is none younger than `STALE_LIFETIME_SECONDS`.
        """
        copy = self._copy
        if copy is not None and self._now() < copy.fresh_until:
            return copy
        with self._lock:
            copy = self._copy  # another thread may have fetched it meanwhile
            now = self._now()
            if copy is not None and now < copy.fresh_until:
                return copy
            try:
                return self._fetch()
            except Unavailable:
                if copy is None or now >= copy.fetched_at + STALE_LIFETIME_SECONDS:
                    raise
                return copy

    def newer_than(self, copy: Copy[T]) -> Copy[T]:
        """The document again, because `copy` lacks something; `copy` itself during the cooldown.

        Raises `Unavailable` where it could not be fetched: what is missing may well exist by now.
        """
        with self._lock:
            if self._copy is not None and self._copy is not copy:
                return self._copy
            if self._now() < self._renewed_at + RENEWAL_COOLDOWN_SECONDS:
                return copy
            renewed = self._fetch()
            self._renewed_at = renewed.fetched_at
            return renewed

    def _fetch(self) -> Copy[T]:
        now = self._now()
        if self._failure is not None and now < self._failed_at + OUTAGE_COOLDOWN_SECONDS:
            raise Unavailable(self._failure.source, self._failure.detail)
        try:
            value = self._load()
        except FetchFailed as error:
            self.failed_fetches += 1
            self._failure = Unavailable(self._source, str(error))
        except Unavailable as error:
            # What this document's address is read from; counted there.
            self._failure = error
        else:
            self._failure = None
            self._copy = Copy(value, fetched_at=now, fresh_until=now + self._lifetime)
            return self._copy
        self._failed_at = now
        raise self._failure


def fetch_document[T](
    url: str, shape: type[T], *, fetch: Fetch, headers: Mapping[str, str] | None = None
) -> T:
    """The JSON document at `url`, checked against `shape`. Raises `FetchFailed`."""
    answer = fetch(url, headers=headers)
    if answer.status != 200:
        raise FetchFailed(f"status {answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # `from None`: messages may quote the document.
        raise FetchFailed(f"the answer is not JSON of the shape {shape.__name__}") from None
