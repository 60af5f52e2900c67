"""Documents that an issuer publishes, fetched at their use and kept through an outage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

import msgspec

from byline.caching import Clock
from byline.errors import KeySource, Unavailable
from byline.fetch import AnswerRefused, Fetch, FetchFailed

STALE_LIFETIME_SECONDS = 86_400
"""The age up to which a copy is used while no newer one can be fetched. Neither an outage nor a bad
answer erases a good copy."""

RENEWAL_COOLDOWN_SECONDS = 10
"""The least time between two early fetches of a document that lacks a key. It limits the fetches
that a stranger can cause with invented key ids, and how long these can delay a new key."""

OUTAGE_COOLDOWN_SECONDS = 5
"""The time after a failed fetch in which the same document is not fetched again."""


class UnexpectedStatus(AnswerRefused):
    """A server answered at the document's address, but not with the document."""


@dataclass(frozen=True, slots=True)
class Copy[T]:
    """One fetched copy of a document. Times are seconds since the epoch."""

    value: T
    fetched_at: float
    fresh_until: float


class LastGood[T]:
    """The last good copy of one document.

    `load` fetches and reads the document; it raises `FetchFailed` for a bad one. After `lifetime`
    seconds the next use fetches the document again.
    """

    def __init__(
        self, load: Callable[[], T], *, source: KeySource, lifetime: float, now: Clock
    ) -> None:
        self._load = load
        self._source: KeySource = source
        self._lifetime = lifetime
        self._now = now
        self._copy: Copy[T] | None = None
        self._failure: Unavailable | None = None
        self._failed_at = float("-inf")
        self._renewed_at = float("-inf")
        self._lock = Lock()
        self.failed_fetches = 0
        """Counts from the start of the process. The metric is the difference of two readings."""

    def get(self) -> Copy[T]:
        """A fresh copy, or the last good one where the fetch of a fresh one fails.

        Raises `Unavailable` where no copy is younger than `STALE_LIFETIME_SECONDS`. Its cause is
        the `FetchFailed` of the latest fetch.
        """
        copy = self._copy
        if copy is not None and self._now() < copy.fresh_until:
            return copy
        with self._lock:
            copy = self._copy  # another thread may have fetched it in the meantime
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
        """A newer copy, because `copy` lacks a key.

        Raises `Unavailable` where none can be fetched, and during the cooldown: the issuer may
        publish the key by now.
        """
        with self._lock:
            if self._copy is not None and self._copy is not copy:
                return self._copy
            if self._now() < self._renewed_at + RENEWAL_COOLDOWN_SECONDS:
                raise Unavailable(
                    self._source,
                    "the key is not in the copy, which was fetched a few seconds ago",
                )
            renewed = self._fetch()
            self._renewed_at = renewed.fetched_at
            return renewed

    def _fetch(self) -> Copy[T]:
        now = self._now()
        if self._failure is not None and now < self._failed_at + OUTAGE_COOLDOWN_SECONDS:
            cause = self._failure.__cause__
            raise Unavailable(self._failure.source, self._failure.detail) from cause
        try:
            value = self._load()
        except FetchFailed as error:
            self.failed_fetches += 1
            self._failure = Unavailable(self._source, str(error))
            # Without traceback and context, which would keep the answer in memory.
            self._failure.__cause__ = error.with_traceback(None)
            error.__context__ = None
        except Unavailable as error:
            # The discovery document failed, which names this one. It counts its own failures.
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
    """The JSON document at `url`, decoded as `shape`.

    Raises `FetchFailed`: for another status than 200 that does not pass `UnexpectedStatus`, for
    another document `AnswerRefused`.
    """
    answer = fetch(url, headers=headers)
    if answer.status != 200:
        is_passing = answer.status == 429 or answer.status >= 500
        refusal = FetchFailed if is_passing else UnexpectedStatus
        raise refusal(f"status {answer.status} instead of 200")
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # `from None`: the library's message may quote the document.
        raise AnswerRefused(f"the answer is not JSON of the shape {shape.__name__}") from None
