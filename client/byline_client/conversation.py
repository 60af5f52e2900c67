"""One call of the service as a sequence of steps: requests, waits, and the meaning of the answer.

The steps do no input and no output, so the sync and the async client share them.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from byline_client.addresses import origin_of
from byline_client.errors import ClientError, RequestRefused, ServiceUnavailable, SignInRequired

FIRST_WAIT_SECONDS = 0.3
LONGEST_WAIT_SECONDS = 8.0
PASSING = frozenset({429, 500, 502, 503, 504})
"""The statuses after which a harmless call is sent again."""


@dataclass(frozen=True)
class ServiceCall:
    """A call of the service. `path` begins with `/`.

    It is sent again where no answer came, if it is a GET, PUT or DELETE, a POST with an idempotency
    key, or where `repeat` says that a repetition is harmless.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, Any] | None = None
    idempotency_key: str = ""
    repeat: bool = False

    @property
    def is_harmless(self) -> bool:
        """Whether the service does the same once, however often the call is sent."""
        return self.repeat or self.method != "POST" or bool(self.idempotency_key)


@dataclass(frozen=True)
class Send:
    """The step to send the call. `renew`: with another token than the last one, which expired."""

    renew: bool = False


@dataclass(frozen=True)
class Wait:
    """The step to wait."""

    seconds: float


class HttpAnswer(Protocol):
    """An HTTP answer, as httpx has it."""

    @property
    def status_code(self) -> int:
        """The status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in any case."""

    def json(self) -> Any:
        """The JSON document of the body. Raises `ValueError`."""


class Created(dict[str, Any]):
    """The document of a 201 answer: the call made what it describes."""


@dataclass(frozen=True)
class NoAnswer:
    """A request without an answer. `sent`: whether the service may have received it."""

    what: str
    sent: bool


Outcome = HttpAnswer | NoAnswer | None
Steps = Generator[Send | Wait, Outcome, Any]


def conversation(
    call: ServiceCall, *, url: str, deadline_seconds: float, now: Callable[[], float]
) -> Steps:
    """The steps of a call. Returns the document of the answer; None for 204.

    No attempt starts later than `deadline_seconds` after the first one. Raises `ClientError`.
    """
    started, wait, renew = now(), FIRST_WAIT_SECONDS, False
    while True:
        outcome = yield Send(renew=renew)
        if isinstance(outcome, NoAnswer):
            error: ClientError = ServiceUnavailable(f"{origin_of(url)} {outcome.what}.")
            may_retry, pause = call.is_harmless or not outcome.sent, 0.0
        else:
            assert outcome is not None  # noqa: S101 - the driver answers each `Send`
            if outcome.status_code == 401 and not renew:
                renew = True
                continue
            result = read_answer(outcome, url=url)
            if not isinstance(result, ClientError):
                return result[0]
            error, pause = result, _retry_after(outcome)
            may_retry = outcome.status_code in PASSING and call.is_harmless
        # Full jitter, so that many clients do not come back at once.
        seconds = max(pause, random.uniform(wait / 2, wait))  # noqa: S311 - no secret
        if not may_retry or now() + seconds > started + deadline_seconds:
            raise error
        yield Wait(seconds)
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)


def read_answer(answer: HttpAnswer, *, url: str) -> tuple[Any] | ClientError:
    """The document of an answer in a tuple, or the error that it means."""
    status, service = answer.status_code, origin_of(url)
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if 300 <= status < 400 or (status < 300 and media_type == "text/html"):
        target = answer.headers.get("location", "")
        where = f"redirects to {origin_of(target)}" if "://" in target else "answers with a page"
        return SignInRequired(
            f"{service} {where}, as for a browser that has to sign in. Run `byline login {service}`"
            ", or set BYLINE_TOKEN. If you have, check that the URL is Byline's."
        )
    if status == 204:
        return (None,)
    is_json = media_type == "application/json" or media_type.endswith("+json")
    document: Any = None
    if is_json:
        try:
            document = answer.json()
        except (ValueError, RecursionError):
            is_json = False
    if status < 300:
        if status == 201 and isinstance(document, dict):
            document = Created(document)
        return (document,) if is_json else _unusable(service, "an answer that is not JSON")
    refused = RequestRefused(status, document if isinstance(document, dict) else {})
    if status == 401:
        return SignInRequired(f"{refused} Run `byline login {service}`.")
    if status >= 500:
        return ServiceUnavailable(f"{service} failed: {refused}")
    return refused


def _unusable(service: str, what: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"{service} sent {what}. Check that the URL is Byline's.")


def _retry_after(answer: HttpAnswer) -> float:
    """The seconds of `Retry-After` (RFC 9110, section 10.2.3), 0 for none or a date."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
