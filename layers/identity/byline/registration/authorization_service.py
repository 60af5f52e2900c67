"""The client of the organisation's authorization service: its calls and their retries.

`POST {url}/v1/authz/{operation}` with a JSON document. Calls are repeated, so the service must
treat a repeated call like a single one. The module is imported only where registration is on.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from byline.caching import Clock
from byline.fetch import POST_TIMEOUT_SECONDS, Answer, FetchFailed, send
from byline.registration.answers import (
    NOT_DONE,
    PASSING,
    ErrorClass,
    FailedAttempt,
    failure_of,
    failure_without_answer,
)
from byline.registration.counters import Count, Operation, count_in
from byline.registration.principals import Json
from byline.registration.settings import RegistrationSettings
from byline.retries import jittered_wait

if TYPE_CHECKING:
    from byline.metrics import Metrics

ATTEMPTS = 4
"""The calls of one delivery, at the most."""

WAIT_SECONDS = 0.2
"""The longest wait before the second attempt. It doubles before each further one."""

PATIENCE_SECONDS = 2.0
"""The longest wait before an attempt. A delivery ends if the service asks for a longer wait."""

DELIVERY_SECONDS = ATTEMPTS * POST_TIMEOUT_SECONDS + (ATTEMPTS - 1) * PATIENCE_SECONDS
"""The longest time that a delivery takes."""

LONGEST_PAUSE_SECONDS = 3_600
"""The longest pause for which the service can ask. One wrong header does not end registration."""


class PostJson(Protocol):
    """The answer to a POST of `document`, encoded JSON, to `url`. Raises `FetchFailed`."""

    def __call__(self, url: str, *, document: bytes) -> Answer: ...


def post_json(
    url: str, *, document: bytes, timeout_seconds: float = POST_TIMEOUT_SECONDS
) -> Answer:
    """The answer to a POST of `document`, encoded JSON, with the limits and errors of `fetch`."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return send(
        "POST", url, headers=headers, timeout_seconds=timeout_seconds, body=lambda: document
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome of a call and its retries; `error` is None after a success.

    `is_certain`: no attempt can take effect after this outcome. False if an attempt ended without
    an answer of the service, even where a later attempt succeeded.
    """

    error: ErrorClass | None
    is_certain: bool


def resource(kind: Literal["agent", "task", "api_key"], selector: str) -> Json:
    """A resource in the service's own format. A run is a `task`."""
    return {"type": kind, "selector": selector}


class AuthorizationService:
    """Sends calls to the service at `url`. `random` is uniform from 0 to 1.

    Every call takes `until`, in seconds since the epoch: no retry begins that could end later. The
    first attempt is always made, except before `paused_until`.
    """

    def __init__(
        self,
        url: str,
        *,
        post: PostJson,
        now: Clock,
        sleep: Callable[[float], None],
        random: Callable[[], float],
        count: Count,
    ) -> None:
        self._url = url
        self._post = post
        self._now = now
        self._sleep = sleep
        self._random = random
        self._count = count
        self.paused_until = 0.0
        """Until then the service asked for no calls (`Retry-After`), in seconds since the epoch."""

    @property
    def is_paused(self) -> bool:
        """Whether the service asked for a pause that is not over."""
        return self._now() < self.paused_until

    def register(self, who: Json, what: Json, *, parent: Json | None, until: float) -> Delivery:
        """Register the resource `what`, below `parent`, with its creator `who`."""
        return self._deliver("register", _document(who, what) | {"parent": parent}, until)

    def deregister(self, who: Json, what: Json, *, until: float) -> Delivery:
        """Remove the resource `what`, which `who` created."""
        return self._deliver("deregister", _document(who, what), until)

    def grant(self, who: Json, what: Json, *, operation: str, until: float) -> Delivery:
        """Allow `who` the `operation` on `what`."""
        return self._deliver("grant", _document(who, what) | {"operation": operation}, until)

    def revoke(self, who: Json, what: Json, *, operation: str, until: float) -> Delivery:
        """Withdraw the grant of the `operation` on `what` from `who`."""
        return self._deliver("revoke", _document(who, what) | {"operation": operation}, until)

    def _deliver(self, operation: Operation, document: Json, until: float) -> Delivery:
        if self.is_paused:
            return Delivery("rate_limited", is_certain=True)
        body = msgspec.json.encode(document)
        is_certain = True
        attempt = 1
        while True:
            self._count("attempt", operation, None)
            failure = self._attempt(operation, body)
            if failure is None:
                self._count("success", operation, None)
                return Delivery(None, is_certain)
            error = failure.error
            is_certain = is_certain and error in NOT_DONE
            wait = self._wait(attempt, failure)
            is_over = self._now() + wait + POST_TIMEOUT_SECONDS > until
            if error not in PASSING or attempt == ATTEMPTS or wait > PATIENCE_SECONDS or is_over:
                self._note_pause(failure)
                self._count("failure", operation, error)
                return Delivery(error, is_certain)
            self._sleep(wait)
            self._count("retry", operation, error)
            attempt += 1

    def _wait(self, attempt: int, failure: FailedAttempt) -> float:
        """Seconds until the next attempt: a back-off, or longer where the service asks for it."""
        back_off = jittered_wait(attempt, base_seconds=WAIT_SECONDS, random=self._random)
        return max(back_off, failure.retry_after or 0.0)

    def _note_pause(self, failure: FailedAttempt) -> None:
        if failure.error in PASSING and failure.retry_after is not None:
            pause = min(failure.retry_after, LONGEST_PAUSE_SECONDS)
            self.paused_until = max(self.paused_until, self._now() + pause)

    def _attempt(self, operation: Operation, body: bytes) -> FailedAttempt | None:
        try:
            answer = self._post(f"{self._url}/v1/authz/{operation}", document=body)
        except FetchFailed as error:
            return failure_without_answer(error)
        return failure_of(answer, now=self._now())


def _document(who: Json, what: Json) -> dict[str, Any]:
    return {"principal": who, "resource": what}


def authorization_service(
    settings: RegistrationSettings, *, metrics: "Metrics"
) -> AuthorizationService:
    """The service of the settings. Its calls are counted in `metrics`."""
    return AuthorizationService(
        settings.url,
        post=post_json,
        now=time.time,
        sleep=time.sleep,
        random=random.random,
        count=count_in(metrics, names=settings.counters),
    )
