"""The cache of load balancers' keys: alive through outages, unmoved by floods."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    SECP384R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import PublicFormat as Public

from byline.errors import Rejected, Unavailable
from byline.fetch import Answer, FetchFailed
from byline.identity.load_balancer_keys import (
    CACHED_KEYS,
    FRUITLESS_FETCHES_A_MINUTE,
    KEY_LIFETIME_SECONDS,
    OUTAGE_COOLDOWN_SECONDS,
    REFUSED_KEY_COOLDOWN_SECONDS,
    STALE_LIFETIME_SECONDS,
    WITHDRAWAL_SECONDS,
    LoadBalancerKeys,
)
from tests.identity.alb_tokens import (
    KEY_URL,
    KEYS_URL,
    KID,
    NOW,
    PublishedKeys,
    SetClock,
    pem,
    signing_key,
)

PEM = pem(signing_key())
PUBLISHED = Answer(200, PEM)
OUTAGES = [
    FetchFailed("ConnectTimeoutError"),
    *(Answer(status, PEM) for status in (201, 204, 400, 401, 429, 500, 503)),
    Answer(200, b""),
    Answer(200, b"<html>captive portal</html>"),
    Answer(200, PEM[:-40]),
    Answer(
        200,
        signing_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ),
]
WITHDRAWN = [Answer(404, b"NoSuchKey"), Answer(403, b"AccessDenied")]
UNUSABLE = [
    Answer(200, pem(generate_private_key(SECP384R1()))),
    Answer(200, pem(generate_private_key(SECP256K1()))),
    *(
        Answer(200, key.public_key().public_bytes(Encoding.PEM, Public.SubjectPublicKeyInfo))
        for key in (rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate())
    ),
]


class Cache:
    """The cache with its collaborators at hand."""

    def __init__(self, published: Answer | FetchFailed = PUBLISHED) -> None:
        self.clock = SetClock()
        self.published = PublishedKeys({KEY_URL: published})
        self.keys = LoadBalancerKeys(fetch=self.published, now=self.clock)

    def get(self, kid: str = KID) -> EllipticCurvePublicKey:
        return self.keys.get(KEYS_URL, kid)

    def publish(self, answer: Answer | FetchFailed) -> None:
        self.published.answers[KEY_URL] = answer

    @property
    def fetches(self) -> int:
        return self.published.calls.total()


def kid(number: int) -> str:
    return str(UUID(int=number))


def test_key_is_fetched_from_the_configured_address() -> None:
    """`{base}/{kid}`, and once."""
    cache = Cache()
    assert pem(cache.get()) == PEM
    assert cache.get() is cache.get()
    assert cache.published.calls == {KEY_URL: 1}


def test_key_is_kept_in_its_last_second_and_fetched_anew_in_the_next() -> None:
    """Rotation is not documented, so a key has a lifetime."""
    cache = Cache()
    cache.get()
    cache.clock.time = NOW + KEY_LIFETIME_SECONDS - 0.001
    cache.get()
    assert cache.fetches == 1
    cache.publish(Answer(200, pem(signing_key("the next"))))
    cache.clock.time = NOW + KEY_LIFETIME_SECONDS
    assert pem(cache.get()) == pem(signing_key("the next"))
    assert cache.fetches == 2


@pytest.mark.parametrize("answer", WITHDRAWN)
def test_withdrawn_key_counts_a_few_minutes_longer(answer: Answer) -> None:
    """A key that the region no longer publishes is refused, once that was no single answer."""
    cache = Cache()
    good = cache.get()
    cache.publish(answer)
    cache.clock.time = withdrawn_at = NOW + KEY_LIFETIME_SECONDS
    assert cache.get() is good
    cache.clock.time = withdrawn_at + WITHDRAWAL_SECONDS - 0.001
    assert cache.get() is good
    cache.clock.time += REFUSED_KEY_COOLDOWN_SECONDS
    for _ in range(2):
        with pytest.raises(Rejected) as rejection:
            cache.get()
        assert rejection.value.reason == "unknown_key"


@pytest.mark.parametrize("between", [PUBLISHED, FetchFailed("late")])
def test_key_with_single_answers_that_it_is_unpublished_goes_on_counting(
    between: Answer | FetchFailed,
) -> None:
    """Between two such answers the key was published, or nobody knows: the time starts again."""
    cache = Cache()
    cache.get()
    for second in (0, 1, 2):
        cache.clock.time = NOW + KEY_LIFETIME_SECONDS + second * (WITHDRAWAL_SECONDS + 1)
        cache.publish(Answer(404, b"NoSuchKey"))
        assert pem(cache.get()) == PEM
        cache.clock.time += REFUSED_KEY_COOLDOWN_SECONDS
        cache.publish(between)
        assert pem(cache.get()) == PEM
        cache.clock.time += KEY_LIFETIME_SECONDS if between is PUBLISHED else 0


@pytest.mark.parametrize("failure", [*OUTAGES, *UNUSABLE])
def test_good_key_lives_through_an_outage_until_it_is_too_old(
    failure: Answer | FetchFailed,
) -> None:
    """A bad fetch never erases a good key, and a day is the end of it."""
    cache = Cache()
    good = cache.get()
    cache.publish(failure)
    cache.clock.time = NOW + KEY_LIFETIME_SECONDS
    assert cache.get() is good
    assert cache.keys.failed_fetches == 1
    cache.clock.time = NOW + STALE_LIFETIME_SECONDS - 0.001
    assert cache.get() is good
    cache.clock.time = NOW + STALE_LIFETIME_SECONDS
    with pytest.raises((Unavailable, Rejected)):
        cache.get()


def test_good_key_after_an_outage_is_the_new_one() -> None:
    """An outage ends: what is published then counts, for a whole lifetime."""
    cache = Cache()
    cache.get()
    cache.publish(FetchFailed("ConnectTimeoutError"))
    cache.clock.time = NOW + KEY_LIFETIME_SECONDS
    cache.get()
    cache.publish(Answer(200, pem(signing_key("the next"))))
    cache.clock.time += OUTAGE_COOLDOWN_SECONDS
    assert pem(cache.get()) == pem(signing_key("the next"))
    cache.clock.time += KEY_LIFETIME_SECONDS - 1
    cache.get()
    assert cache.fetches == 3


@pytest.mark.parametrize("failure", OUTAGES)
def test_outage_is_asked_again_after_its_cooldown(failure: Answer | FetchFailed) -> None:
    """An outage answers 503 without asking for some seconds, then asks again."""
    cache = Cache(failure)
    for _ in range(3):
        with pytest.raises(Unavailable) as outage:
            cache.get()
        assert outage.value.source == "load_balancer_keys"
    cache.clock.time = NOW + OUTAGE_COOLDOWN_SECONDS - 0.001
    with pytest.raises(Unavailable):
        cache.get()
    assert (cache.fetches, cache.keys.failed_fetches) == (1, 1)

    cache.publish(Answer(200, PEM))
    cache.clock.time = NOW + OUTAGE_COOLDOWN_SECONDS
    assert pem(cache.get()) == PEM


def test_outage_with_a_good_key_is_not_asked_with_every_request() -> None:
    """Living on a good copy, requests do not each wait for a fetch that fails."""
    cache = Cache()
    cache.get()
    cache.publish(FetchFailed("ConnectTimeoutError"))
    cache.clock.time = NOW + KEY_LIFETIME_SECONDS
    for _ in range(10):
        cache.get()
    assert cache.fetches == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [*((a, "unknown_key") for a in WITHDRAWN), *((a, "unusable_key") for a in UNUSABLE)],
)
def test_refused_key_is_asked_for_again_after_its_cooldown(answer: Answer, reason: str) -> None:
    """An unpublished key is remembered as unknown for a minute; it may be published later."""
    cache = Cache(answer)
    cache.clock.time = NOW
    for later in (0, 1, REFUSED_KEY_COOLDOWN_SECONDS - 0.001):
        cache.clock.time = NOW + later
        with pytest.raises(Rejected) as refusal:
            cache.get()
        assert refusal.value.reason == reason
    assert (cache.fetches, cache.keys.failed_fetches) == (1, 0)

    cache.publish(Answer(200, PEM))
    cache.clock.time = NOW + REFUSED_KEY_COOLDOWN_SECONDS
    assert pem(cache.get()) == PEM


@pytest.mark.parametrize("answer", [*OUTAGES, *WITHDRAWN, *UNUSABLE])
def test_flood_of_invented_key_ids_makes_few_fetches(answer: Answer | FetchFailed) -> None:
    """A forger with any number of key ids causes at most twenty fetches a minute.

    It does not matter why no key came: an outage must not open the gate.
    """
    cache = Cache()
    good = cache.get()
    for number in range(500):
        cache.published.answers[f"{KEYS_URL}/{kid(number)}"] = answer
        with pytest.raises((Rejected, Unavailable)):
            cache.get(kid(number))
    assert cache.fetches == 1 + FRUITLESS_FETCHES_A_MINUTE
    assert cache.get() is good


def test_flood_of_one_region_does_not_stop_another() -> None:
    """Each region has fetches of its own, so a new key of another one is found at once."""
    cache = Cache()
    for number in range(FRUITLESS_FETCHES_A_MINUTE + 1):
        with pytest.raises((Rejected, Unavailable)):
            cache.get(kid(number))
    other = "https://public-keys.auth.elb.eu-west-1.amazonaws.com"
    cache.published.answers[f"{other}/{KID}"] = PUBLISHED
    assert pem(cache.keys.get(other, KID)) == PEM


def test_flood_does_not_stop_the_renewal_of_a_known_key() -> None:
    """Who floods us with invented ids cannot make a good key grow stale."""
    cache = Cache()
    cache.get()
    cache.clock.time = NOW + KEY_LIFETIME_SECONDS
    for number in range(FRUITLESS_FETCHES_A_MINUTE + 1):
        with pytest.raises((Rejected, Unavailable)):
            cache.get(kid(number))
    cache.publish(Answer(200, pem(signing_key("the next"))))
    assert pem(cache.get()) == pem(signing_key("the next"))


def test_new_key_waits_for_the_end_of_a_flood() -> None:
    """During a flood a new key is an outage (503, retried), and is fetched a minute later."""
    cache = Cache()
    for number in range(FRUITLESS_FETCHES_A_MINUTE):
        with pytest.raises(Rejected):
            cache.get(kid(number))
    cache.clock.time = NOW + 59.999
    with pytest.raises(Unavailable):
        cache.get()
    cache.clock.time = NOW + 60
    assert pem(cache.get()) == PEM


def test_keys_are_bounded() -> None:
    """More keys than are remembered: the least recently used is fetched again."""
    cache = Cache()
    for number in range(CACHED_KEYS + 1):
        cache.published.answers[f"{KEYS_URL}/{kid(number)}"] = Answer(200, PEM)
        cache.get(kid(number))
    assert cache.fetches == CACHED_KEYS + 1
    cache.get(kid(CACHED_KEYS))
    assert cache.fetches == CACHED_KEYS + 1
    cache.get(kid(0))
    assert cache.fetches == CACHED_KEYS + 2


def test_same_key_id_at_another_address_is_another_key() -> None:
    """Regions do not share keys."""
    cache = Cache()
    cache.get()
    with pytest.raises(Rejected):
        cache.keys.get("https://elsewhere.example.com", KID)


@pytest.mark.parametrize("answer", [Answer(200, PEM), FetchFailed("late"), Answer(404, b"")])
def test_concurrent_misses_make_one_fetch(answer: Answer | FetchFailed) -> None:
    """Eight threads that miss the same key at once wait for one fetch, whatever it brings."""
    all_there = Barrier(8)
    fetching, go_on = Event(), Event()
    published = PublishedKeys({KEY_URL: answer})

    def slow_fetch(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        fetching.set()
        go_on.wait(5)
        return published(url, headers=headers)

    keys = LoadBalancerKeys(fetch=slow_fetch, now=SetClock())

    def get(_: int) -> Any:
        all_there.wait(5)
        try:
            return pem(keys.get(KEYS_URL, KID))
        except (Rejected, Unavailable) as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        results = threads.map(get, range(8))
        assert fetching.wait(5)
        go_on.set()
        assert len(set(results)) == 1
    assert published.calls.total() == 1


def test_fetch_under_way_does_not_hold_up_other_keys() -> None:
    """A slow key delays only the requests that need it."""
    go_on = Event()
    published = PublishedKeys()
    slow_url = f"{KEYS_URL}/{kid(1)}"
    published.answers[slow_url] = Answer(200, PEM)

    def fetch(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        if url == slow_url:
            go_on.wait(5)
        return published(url, headers=headers)

    keys = LoadBalancerKeys(fetch=fetch, now=SetClock())
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(keys.get, KEYS_URL, kid(1))
        assert pem(keys.get(KEYS_URL, KID)) == PEM
        assert not slow.done()
        go_on.set()
        assert pem(slow.result(5)) == PEM
