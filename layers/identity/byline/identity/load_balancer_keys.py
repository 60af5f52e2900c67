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
from byline.fetch import Answer, Fetch, FetchFailed

KEY_LIFETIME_SECONDS = 3_600
"""After this a key is fetched anew."""

STALE_LIFETIME_SECONDS = 86_400
"""Until this age a key goes on counting while it cannot be fetched: no outage erases a good key."""

REFUSED_KEY_COOLDOWN_SECONDS = 60
"""For how long a key id that nobody publishes is refused without asking again."""

OUTAGE_COOLDOWN_SECONDS = 5
"""For how long after a failed fetch the same key is not fetched again."""

FRUITLESS_FETCHES_A_MINUTE = 20
"""A forger can invent key ids without end. Past so many fetches that brought no key, for whatever
reason, no new id is fetched until the first of them is a minute ago."""

CACHED_KEYS = 64

type KeyId = tuple[str, str]
"""(base URL, `kid`)."""


@dataclass(frozen=True, slots=True)
class _Held:
    key: EllipticCurvePublicKey
    fresh_until: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why there is no key: an answer that refuses it (`reason`), or an outage that may pass."""

    detail: str
    reason: Literal["unknown_key", "unusable_key"] | None = None

    def error(self) -> Rejected | Unavailable:
        if self.reason is None:
            return Unavailable("load_balancer_keys", self.detail)
        return Rejected(self.reason, self.detail)


_UNKNOWN = _Failure("no load balancer of the region publishes this key id", "unknown_key")
_UNUSABLE = _Failure("a load balancer's key is on P-256", "unusable_key")
_FLOOD = _Failure("too many fetches brought no key within a minute")


class LoadBalancerKeys:
    """Keys by base URL, which comes from configuration and never from a token, and `kid`."""

    def __init__(self, *, fetch: Fetch, now: Clock) -> None:
        self._fetch = fetch
        self._now = now
        self._held: BoundedCache[KeyId, _Held] = BoundedCache(CACHED_KEYS, now=now)
        self._failures: BoundedCache[KeyId, _Failure] = BoundedCache(CACHED_KEYS, now=now)
        self._fruitless_at: deque[float] = deque(maxlen=FRUITLESS_FETCHES_A_MINUTE)
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
        failure = self._failures.get(key_id)
        if failure is None and held is None and self._is_flooded():
            failure = _FLOOD
        if failure is None:
            fetched = self._fetch_key(key_id)
            if not isinstance(fetched, _Failure):
                return fetched
            failure = fetched
            if failure.reason is None or held is not None:
                self.failed_fetches += 1
        if held is not None:
            return held.key
        raise failure.error()

    def _is_flooded(self) -> bool:
        at = self._fruitless_at
        return len(at) == FRUITLESS_FETCHES_A_MINUTE and self._now() < at[0] + 60

    def _fetch_key(self, key_id: KeyId) -> EllipticCurvePublicKey | _Failure:
        """Fetch and remember: the key, or for a while that there is none."""
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
            self._fruitless_at.append(now)
        else:
            held = _Held(published, fresh_until=now + KEY_LIFETIME_SECONDS)
            self._held.put(key_id, held, until=now + STALE_LIFETIME_SECONDS)
        return published


def _published_key(answer: Answer) -> EllipticCurvePublicKey | _Failure:
    # S3, which publishes GovCloud's keys, answers 403 for what does not exist.
    if answer.status in (403, 404):
        return _UNKNOWN
    if answer.status != 200:
        return _Failure(f"status {answer.status}")
    try:
        key = load_pem_public_key(answer.body)
    except (ValueError, UnsupportedAlgorithm):
        return _Failure("the answer is not a public key in PEM")
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        return _UNUSABLE
    return key
