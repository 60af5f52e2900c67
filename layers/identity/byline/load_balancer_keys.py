"""The public keys of load balancers: one PEM for each key id, cached.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
Rotation is not documented, so nothing here assumes a "current" key.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from byline.caching import BoundedCache, Clock, SingleFlight
from byline.errors import Rejected, Unavailable
from byline.fetch import Fetch, FetchFailed

KEY_LIFETIME_SECONDS = 3_600
"""After this a key is fetched anew."""

STALE_LIFETIME_SECONDS = 86_400
"""Until this age a key goes on counting while it cannot be fetched: no outage erases a good key."""

UNKNOWN_KEY_COOLDOWN_SECONDS = 60
"""For how long a key id that nobody publishes is refused without asking again."""

OUTAGE_COOLDOWN_SECONDS = 5
"""For how long after a failed fetch the same key is not fetched again."""

UNKNOWN_KEYS_A_MINUTE = 20
"""A forger can invent key ids without end. Past so many that nobody published, no new one is
fetched until the minute is over."""

CACHED_KEYS = 64

type KeyId = tuple[str, str]
"""(base URL, `kid`)."""


@dataclass(frozen=True, slots=True)
class _Held:
    key: EllipticCurvePublicKey
    fresh_until: float


class LoadBalancerKeys:
    """Keys by base URL, which comes from configuration and never from a token, and `kid`."""

    def __init__(self, *, fetch: Fetch, now: Clock) -> None:
        self._fetch = fetch
        self._now = now
        self._held: BoundedCache[KeyId, _Held] = BoundedCache(CACHED_KEYS, now=now)
        self._unknown: BoundedCache[KeyId, Literal["unknown"]] = BoundedCache(CACHED_KEYS, now=now)
        self._outages: BoundedCache[KeyId, str] = BoundedCache(CACHED_KEYS, now=now)
        self._unknown_at: deque[float] = deque(maxlen=UNKNOWN_KEYS_A_MINUTE)
        self._flights: SingleFlight[KeyId] = SingleFlight()
        self.failed_fetches = 0
        """Counts up for the life of the process; the metric is its difference."""

    def get(self, base_url: str, kid: str) -> EllipticCurvePublicKey:
        """The P-256 key `kid`.

        Raises `Rejected` (`unknown_key`: nobody publishes it; `unusable_key`: it is not on P-256)
        and `Unavailable` (it could not be fetched, and no good copy is at hand).
        """
        key_id = (base_url, kid)
        held = self._held.get(key_id)
        if held is not None and self._now() < held.fresh_until:
            return held.key
        return self._flights.run(key_id, lambda: self._renew(key_id))

    def _renew(self, key_id: KeyId) -> EllipticCurvePublicKey:
        held = self._held.get(key_id)
        if held is not None and self._now() < held.fresh_until:
            return held.key  # another thread has fetched it meanwhile
        if self._unknown.get(key_id):
            raise _unknown_key()
        failure = self._outages.get(key_id)
        if failure is None:
            try:
                return self._fetch_key(key_id, is_known=held is not None)
            except FetchFailed as error:
                failure = str(error)
                self.failed_fetches += 1
                self._outages.put(key_id, failure, until=self._now() + OUTAGE_COOLDOWN_SECONDS)
        if held is not None:
            return held.key
        raise Unavailable("load_balancer_keys", failure)

    def _fetch_key(self, key_id: KeyId, *, is_known: bool) -> EllipticCurvePublicKey:
        now = self._now()
        crowded = len(self._unknown_at) == UNKNOWN_KEYS_A_MINUTE and now < self._unknown_at[0] + 60
        if crowded and not is_known:
            raise FetchFailed("too many unknown key ids within a minute")
        base_url, kid = key_id
        answer = self._fetch(f"{base_url}/{kid}")
        # S3, which publishes GovCloud's keys, answers 403 for what does not exist.
        if answer.status in (403, 404) and not is_known:
            self._unknown_at.append(now)
            self._unknown.put(key_id, "unknown", until=now + UNKNOWN_KEY_COOLDOWN_SECONDS)
            raise _unknown_key()
        if answer.status != 200:
            raise FetchFailed(f"status {answer.status}")
        key = _p256_key(answer.body)
        held = _Held(key, fresh_until=now + KEY_LIFETIME_SECONDS)
        self._held.put(key_id, held, until=now + STALE_LIFETIME_SECONDS)
        return key


def _unknown_key() -> Rejected:
    return Rejected("unknown_key", "no load balancer of the region publishes this key id")


def _p256_key(pem: bytes) -> EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise FetchFailed("the answer is not a public key in PEM") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Rejected("unusable_key", "a load balancer's key is on P-256")
    return key
