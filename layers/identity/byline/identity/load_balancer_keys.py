"""The public keys of load balancers: one PEM document for each key id, cached.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
AWS does not document the rotation of keys, so no key is taken for the current one.
"""

from collections import defaultdict, deque
from copy import replace
from typing import Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from byline.caching import BoundedCache, Clock, SingleFlight
from byline.errors import Rejected, Unavailable
from byline.fetch import Answer, Fetch, FetchFailed

KEY_LIFETIME_SECONDS = 3_600
"""The age at which a key is fetched again."""

STALE_LIFETIME_SECONDS = 86_400
"""The age up to which a key is used while it cannot be fetched. No outage erases a good key."""

WITHDRAWAL_SECONDS = 300
"""How long the region must answer that it does not publish a known key, until it counts no longer.
A single such answer may be a fault."""

REFUSED_KEY_COOLDOWN_SECONDS = 60
"""The time in which an unpublished key id is refused without another fetch."""

OUTAGE_COOLDOWN_SECONDS = 5
"""The time after a failed fetch in which the same key is not fetched again."""

FRUITLESS_FETCHES_A_MINUTE = 20
"""A forger can invent any number of key ids. After this many fetches without a key within a minute,
no new key id of that region is fetched until the minute has passed."""

CACHED_KEYS = 64

type KeyId = tuple[str, str]
"""(base URL, `kid`)."""


class _Held(msgspec.Struct, frozen=True):
    key: EllipticCurvePublicKey
    fresh_until: float
    unpublished_since: float | None = None


class _Failure(msgspec.Struct, frozen=True):
    """Why a key is missing: it is unknown or unusable (`reason`), or an outage (no `reason`)."""

    detail: str
    reason: Literal["unknown_key", "unusable_key"] | None = None

    def error(self) -> Rejected | Unavailable:
        if self.reason is None:
            return Unavailable("load_balancer_keys", self.detail)
        return Rejected(self.reason, self.detail)


_UNKNOWN = _Failure(
    "The region does not publish the token's key id (`kid`). Sign in again.", "unknown_key"
)
_UNUSABLE = _Failure(
    "The published key is not on the curve P-256, which ES256 requires.", "unusable_key"
)
_FLOOD = _Failure("too many fetches within a minute found no key")


class LoadBalancerKeys:
    """Keys by base URL and `kid`. The base URL comes from the configuration, never from a token."""

    def __init__(self, *, fetch: Fetch, now: Clock) -> None:
        self._fetch = fetch
        self._now = now
        self._held: BoundedCache[KeyId, _Held] = BoundedCache(CACHED_KEYS, now=now)
        self._failures: BoundedCache[KeyId, _Failure] = BoundedCache(CACHED_KEYS, now=now)
        self._fruitless_at: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=FRUITLESS_FETCHES_A_MINUTE)
        )
        self._flights: SingleFlight[KeyId] = SingleFlight()
        self.failed_fetches = 0
        """Counts from the start of the process. The metric is the difference of two readings."""

    def get(self, base_url: str, kid: str) -> EllipticCurvePublicKey:
        """The P-256 key `kid`.

        Raises `Rejected`: `unknown_key` where the region does not publish the key, `unusable_key`
        where it is on another curve. Raises `Unavailable` where the fetch failed and no copy
        younger than `STALE_LIFETIME_SECONDS` exists.
        """
        key_id = (base_url, kid)
        held = self._held.get(key_id)
        if held is not None and self._now() < held.fresh_until:
            return held.key
        return self._flights.run(key_id, lambda: self._renew(key_id))

    def _renew(self, key_id: KeyId) -> EllipticCurvePublicKey:
        held = self._held.get(key_id)
        if held is not None and self._now() < held.fresh_until:
            return held.key  # another thread has fetched it in the meantime
        failure = self._failures.get(key_id)
        if failure is None and held is None and self._is_flooded(key_id[0]):
            failure = _FLOOD
        if failure is None:
            fetched = self._fetch_key(key_id)
            if not isinstance(fetched, _Failure):
                return fetched
            failure = fetched
            if failure.reason is None or held is not None:
                self.failed_fetches += 1
            if held is not None:
                held = self._still_held(key_id, held, failure)
        if held is not None:
            return held.key
        raise failure.error()

    def _still_held(self, key_id: KeyId, held: _Held, failure: _Failure) -> _Held | None:
        """The held key after a failed fetch; None where the region has withdrawn it."""
        now = self._now()
        if failure is not _UNKNOWN:
            since = None
        elif held.unpublished_since is None:
            since = now
        elif now >= held.unpublished_since + WITHDRAWAL_SECONDS:
            self._held.discard(key_id)
            return None
        else:
            since = held.unpublished_since
        until = held.fresh_until - KEY_LIFETIME_SECONDS + STALE_LIFETIME_SECONDS
        self._held.put(key_id, replace(held, unpublished_since=since), until=until)
        return held

    def _is_flooded(self, base_url: str) -> bool:
        at = self._fruitless_at[base_url]
        return len(at) == FRUITLESS_FETCHES_A_MINUTE and self._now() < at[0] + 60

    def _fetch_key(self, key_id: KeyId) -> EllipticCurvePublicKey | _Failure:
        """Fetch the key, and remember it, or for a while its absence."""
        now = self._now()
        base_url, kid = key_id
        try:
            published = _published_key(self._fetch(f"{base_url}/{kid}"))
        except FetchFailed as error:
            published = _Failure(str(error))
        if isinstance(published, _Failure):
            is_outage = published.reason is None
            cooldown = OUTAGE_COOLDOWN_SECONDS if is_outage else REFUSED_KEY_COOLDOWN_SECONDS
            self._failures.put(key_id, published, until=now + cooldown)
            self._fruitless_at[base_url].append(now)
        else:
            held = _Held(published, fresh_until=now + KEY_LIFETIME_SECONDS)
            self._held.put(key_id, held, until=now + STALE_LIFETIME_SECONDS)
        return published


def _published_key(answer: Answer) -> EllipticCurvePublicKey | _Failure:
    # S3, which publishes GovCloud's keys, answers 403 for an object that does not exist.
    if answer.status in (403, 404):
        return _UNKNOWN
    if answer.status != 200:
        return _Failure(f"status {answer.status} instead of 200")
    try:
        key = load_pem_public_key(answer.body)
    except (ValueError, UnsupportedAlgorithm):
        return _Failure("the answer is not a public key in PEM")
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        return _UNUSABLE
    return key
