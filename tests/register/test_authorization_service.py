"""The calls of the authorization service, what its answers mean, and when a call is retried."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from byline.fetch import POST_TIMEOUT_SECONDS
from byline.registration.answers import PASSING
from byline.registration.authorization_service import (
    ATTEMPTS,
    DELIVERY_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PATIENCE_SECONDS,
    WAIT_SECONDS,
    AuthorizationService,
    Delivery,
    post_json,
    resource,
)
from byline.registration.principals import typed
from stand_ins.authorization_service import (
    AuthorizationStandIn,
    Fails,
    Hangs,
    serve_authorization,
)
from stand_ins.clock import Clock
from tests.identity.loopback import Respond, answer, serve, silence

ADA = typed("user", subject="ada", issuer="https://issuer.example")
NIGHTLY = typed("application", subject="nightly", issuer="https://issuer.example")
RUN = resource("task", "01M6DMBE000000000000000001")
AGENT = resource("agent", "forecaster")

DONE = Delivery(None, is_certain=True)
LIMIT = 0.3
"""The time limit of a call, in seconds."""


@dataclass
class RecordedService:
    """A client of the service, with the events that it counted and the seconds that it slept."""

    service: AuthorizationService
    clock: Clock
    counted: list[tuple[Any, ...]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def register(self, *, seconds: float = 60) -> Delivery:
        return self.service.register(ADA, RUN, parent=AGENT, until=self.clock() + seconds)

    def deregister(self) -> Delivery:
        return self.service.deregister(ADA, RUN, until=self.clock() + 60)


def client_of(url: str, *, random: Callable[[], float] = lambda: 1.0) -> RecordedService:
    clock = Clock()
    counted: list[tuple[Any, ...]] = []
    slept: list[float] = []
    service = AuthorizationService(
        url,
        post=partial(post_json, timeout_seconds=LIMIT),
        now=clock,
        sleep=slept.append,
        random=random,
        count=lambda *event: counted.append(event),
    )
    return RecordedService(service, clock, counted, slept)


@pytest.fixture
def stand_in() -> Iterator[AuthorizationStandIn]:
    with serve_authorization() as authorization:
        yield authorization


@pytest.fixture
def client(stand_in: AuthorizationStandIn) -> RecordedService:
    return client_of(stand_in.url)


def test_registration_is_sent_in_the_services_format(
    client: RecordedService, stand_in: AuthorizationStandIn
) -> None:
    """A registration names the creator, the resource and its parent in the service's own fields."""
    assert client.register() == DONE
    [request] = stand_in.requests
    assert request.path == "/v1/authz/register"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "principal": {"type": "user", "id": "ada", "issuer": "https://issuer.example"},
        "resource": {"type": "task", "selector": "01M6DMBE000000000000000001"},
        "parent": {"type": "agent", "selector": "forecaster"},
    }


def test_registration_without_an_agent_has_a_parent_of_null(
    client: RecordedService, stand_in: AuthorizationStandIn
) -> None:
    """The document has the member `parent` all the same."""
    client.service.register(NIGHTLY, RUN, parent=None, until=client.clock() + 60)
    document = json.loads(stand_in.requests[0].body)
    assert document["parent"] is None
    assert document["principal"]["type"] == "service_account"


def test_deregistration_has_no_parent(
    client: RecordedService, stand_in: AuthorizationStandIn
) -> None:
    """The document names the principal and the resource only."""
    client.register()
    assert stand_in.graph.tasks
    assert client.deregister() == DONE
    assert stand_in.requests[1].path == "/v1/authz/deregister"
    assert json.loads(stand_in.requests[1].body).keys() == {"principal", "resource"}
    assert not stand_in.graph.tasks


def test_grant_and_revoke_name_the_operation(
    client: RecordedService, stand_in: AuthorizationStandIn
) -> None:
    """A grant and its revocation send the same fields."""
    key = resource("api_key", "nightly")
    until = client.clock() + 60
    assert client.service.grant(ADA, key, operation="read", until=until) == DONE
    assert len(stand_in.graph.grants) == 1
    assert json.loads(stand_in.requests[0].body).keys() == {"principal", "resource", "operation"}
    assert client.service.revoke(ADA, key, operation="read", until=until) == DONE
    assert not stand_in.graph.grants
    paths = [request.path for request in stand_in.requests]
    assert paths == ["/v1/authz/grant", "/v1/authz/revoke"]


@pytest.mark.parametrize(
    ("status", "body", "error", "is_certain"),
    [
        (401, b"", "unauthorized", True),
        (403, b"", "forbidden", True),
        (200, b'{"success": false}', "declined", True),
        (200, b"", "unusable_answer", False),
        (200, b"null", "unusable_answer", False),
        (200, b"<html>", "unusable_answer", False),
        (200, b"\xff", "unusable_answer", False),
        (200, b'{"success": "true"}', "unusable_answer", False),
        (200, b'{"success": 1}', "unusable_answer", False),
        (200, b"[" * 100_000, "unusable_answer", False),
        (201, b'{"success": true}', "unexpected_status", False),
        (400, b"", "unexpected_status", False),
        (404, b"", "unexpected_status", False),
        (409, b"", "unexpected_status", False),
        (422, b"", "unexpected_status", False),
        (501, b'{"success": true}', "unexpected_status", False),
        (505, b"", "unexpected_status", False),
    ],
)
def test_final_answer_is_not_retried(
    client: RecordedService,
    stand_in: AuthorizationStandIn,
    status: int,
    body: bytes,
    error: Any,
    is_certain: bool,  # noqa: FBT001 - a column
) -> None:
    """The error class says what failed, and the result whether the call may have taken effect."""
    stand_in.faults.append(Fails(status, body))
    assert client.register() == Delivery(error, is_certain)
    assert len(stand_in.requests) == 1
    assert client.counted == [
        ("attempt", "register", None),
        ("failure", "register", error),
    ]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (408, "timeout"),
        (425, "rate_limited"),
        (429, "rate_limited"),
        (500, "server_error"),
        (502, "bad_gateway"),
        (503, "unavailable"),
        (504, "server_error"),
        (507, "server_error"),
        (599, "server_error"),
    ],
)
def test_passing_answer_is_followed_by_three_more_attempts(
    client: RecordedService, stand_in: AuthorizationStandIn, status: int, error: Any
) -> None:
    """A service without capacity is called four times, with jittered exponential waits."""
    stand_in.faults.extend([Fails(status)] * 9)
    assert client.register() == Delivery(error, is_certain=False)
    assert error in PASSING
    assert len(stand_in.requests) == ATTEMPTS == 4
    assert client.slept == [WAIT_SECONDS, 2 * WAIT_SECONDS, 4 * WAIT_SECONDS]
    again = [("retry", "register", error), ("attempt", "register", None)]
    assert client.counted == [
        ("attempt", "register", None),
        *again * 3,
        ("failure", "register", error),
    ]


def test_retry_after_within_patience_is_waited_for(
    client: RecordedService, stand_in: AuthorizationStandIn
) -> None:
    """The service asks for a short wait, and the delivery makes exactly that wait."""
    stand_in.faults.append(Fails(429, retry_after=f"{PATIENCE_SECONDS:.0f}"))
    assert client.register().error is None
    assert client.slept == [PATIENCE_SECONDS]
    assert not client.service.is_paused


def test_longer_retry_after_ends_the_delivery_and_pauses_the_service(
    client: RecordedService, stand_in: AuthorizationStandIn
) -> None:
    """No call of any operation is made before the time for which the service asked."""
    stand_in.faults.append(Fails(503, retry_after="300"))
    assert client.register() == Delivery("unavailable", is_certain=False)
    assert client.slept == []
    client.clock.advance(299)
    assert client.deregister() == Delivery("rate_limited", is_certain=True)
    assert len(stand_in.requests) == 1
    client.clock.advance(1)
    assert client.deregister() == DONE


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fails(503, retry_after="999999999"), LONGEST_PAUSE_SECONDS),
        (Fails(503, retry_after="soon"), 0),
        (Fails(403, retry_after="300"), 0),
    ],
)
def test_pause_has_a_limit_and_needs_a_passing_answer(
    client: RecordedService, stand_in: AuthorizationStandIn, fault: Fails, seconds: float
) -> None:
    """An absurd header cannot end registration, and a refusal is not a request to wait."""
    stand_in.faults.extend([fault] * ATTEMPTS)
    client.register()
    assert max(0.0, client.service.paused_until - client.clock()) == seconds


def test_third_retry_may_still_succeed(
    client: RecordedService, stand_in: AuthorizationStandIn
) -> None:
    """The last attempt may succeed, and the ones before it stay uncertain."""
    stand_in.faults.extend([Fails(502)] * 3)
    assert client.register() == Delivery(None, is_certain=False)
    assert client.counted[-1] == ("success", "register", None)


def test_waits_are_jittered(stand_in: AuthorizationStandIn) -> None:
    """Each wait is a random part of its upper limit."""
    client = client_of(stand_in.url, random=iter([0.5, 0.25, 0.0]).__next__)
    stand_in.faults.extend([Fails(503)] * 3)
    client.register()
    assert client.slept == [0.5 * WAIT_SECONDS, 0.5 * WAIT_SECONDS, 0.0]


def test_connection_that_breaks_is_tried_again(
    client: RecordedService, stand_in: AuthorizationStandIn
) -> None:
    """A broken connection is retried, because the request may have arrived."""
    stand_in.faults.append(Hangs("at once", is_reset=True))
    assert client.register() == Delivery(None, is_certain=False)
    assert ("retry", "register", "network") in client.counted


def test_refused_connection_is_a_network_error() -> None:
    """A refused connection may succeed later."""
    with serve_authorization() as gone:
        url = gone.url
    outcome = client_of(url).register()
    assert outcome.error == "network"
    assert outcome.error in PASSING


@pytest.mark.parametrize("carried_out", ["at once", "late", "never"])
def test_call_without_an_answer_is_uncertain(
    client: RecordedService, stand_in: AuthorizationStandIn, carried_out: str
) -> None:
    """A call that timed out may take effect at once, later or never."""
    stand_in.faults.append(Hangs(carried_out))
    assert client.register() == Delivery(None, is_certain=False)
    assert ("retry", "register", "timeout") in client.counted


def test_no_retry_begins_that_could_end_late(
    client: RecordedService, stand_in: AuthorizationStandIn
) -> None:
    """A retry with just enough time is made, and one with too little is not."""
    stand_in.faults.extend([Fails(503), Fails(503)])
    room = WAIT_SECONDS + POST_TIMEOUT_SECONDS
    assert client.register(seconds=room - 0.1).error == "unavailable"
    assert len(stand_in.requests) == 1
    assert client.register(seconds=room + 0.1).error is None


def test_longest_delivery_is_four_calls_and_their_waits() -> None:
    """`DELIVERY_SECONDS` is the sum of the time limits and the longest waits."""
    assert pytest.approx(4 * POST_TIMEOUT_SECONDS + 3 * PATIENCE_SECONDS) == DELIVERY_SECONDS


@pytest.mark.parametrize(
    ("respond", "error"),
    [
        (silence, "timeout"),
        (answer(b"x" * 300_000), "unusable_answer"),
        (answer(b"x", headers="Content-Length: 100\r\n"), "network"),
        (answer(status="307 Temporary", headers="Location: /elsewhere\r\n"), "unusable_answer"),
    ],
    ids=["silence", "too long", "cut short", "redirect"],
)
def test_unusable_answer_is_refused(respond: Respond, error: str) -> None:
    """Answers are bounded in time and size, and redirects are not followed."""
    with serve(respond) as server:
        outcome = client_of(server.url).register(seconds=0)
    assert (outcome.error, outcome.is_certain) == (error, False)
    assert b"POST /v1/authz/register" in server.requests[0]
