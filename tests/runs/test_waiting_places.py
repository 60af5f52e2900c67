"""Places of requests that wait for messages: how many there are, and how many a caller gets."""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import count
from typing import Any

import pytest

from byline.identity.caller import Caller
from serve_runs.errors import RequestFailed
from serve_runs.messages.places import (
    PARTITION,
    PLACES_OF_A_PERSON,
    TAKEN_SECONDS,
    WaitingPlaces,
)
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import TABLE, DynamoDb, LostAnswer

ISSUER = "https://issuer.example"
_requests = count()


def person(subject: str) -> Caller:
    """A person."""
    return Caller("user", "alb", ISSUER, subject, subject, subject)


def application(subject: str) -> Caller:
    """A service account."""
    return Caller("application", "bearer", ISSUER, subject, subject, subject)


def places_of(
    dynamodb: DynamoDb, *, places: int = 100, now: Callable[[], float] = time.time
) -> WaitingPlaces:
    """The places, as another invocation has them."""
    return WaitingPlaces(dynamodb.client, TABLE, places=places, now=now)


def take_all(stack: ExitStack, places: WaitingPlaces, caller: Caller | None, tries: int) -> int:
    """Let a caller send `tries` requests that wait. Returns how many got a place."""
    taken = 0
    for _ in range(tries):
        with suppress(RequestFailed):
            stack.enter_context(places.take(caller, request_id=f"request-{next(_requests)}"))
            taken += 1
    return taken


@pytest.mark.parametrize("caller", [person("ada"), None], ids=["person", "anonymous"])
def test_person_and_all_anonymous_callers_get_a_few_places(
    dynamodb: DynamoDb, caller: Caller | None
) -> None:
    """However many requests one sends, only a few wait; another person's still find a place."""
    with ExitStack() as stack:
        taken = take_all(stack, places_of(dynamodb), caller, 30)
        assert 1 <= taken <= PLACES_OF_A_PERSON
        assert take_all(stack, places_of(dynamodb), person("grace"), 1) == 1
    assert dynamodb.rows() == []


def test_application_leaves_places_for_others(dynamodb: DynamoDb) -> None:
    """One service account gets more places than a person, and at most half of all."""
    with ExitStack() as stack:
        taken = take_all(stack, places_of(dynamodb, places=40), application("gpu"), 150)
        assert PLACES_OF_A_PERSON < taken <= 20


def test_all_callers_together_get_no_more_than_all_places(dynamodb: DynamoDb) -> None:
    """The number of places limits what waiting requests take of the concurrency."""
    with ExitStack() as stack:
        taken = sum(
            take_all(stack, places_of(dynamodb, places=7), person(f"person-{number}"), 5)
            for number in range(20)
        )
        assert taken == 7
        assert len(dynamodb.rows()) == 7


@pytest.mark.parametrize(("seconds", "taken"), [(TAKEN_SECONDS - 1, 0), (TAKEN_SECONDS + 1, 1)])
def test_place_of_a_dead_function_is_free_after_its_time(
    dynamodb: DynamoDb, seconds: int, taken: int
) -> None:
    """A place that was never given back is taken again when no wait can last any longer."""
    then = time.time()
    dead = ExitStack()
    assert take_all(dead, places_of(dynamodb, places=1, now=lambda: then), person("ada"), 1) == 1
    with ExitStack() as stack:
        later = places_of(dynamodb, places=1, now=lambda: then + seconds)
        assert take_all(stack, later, person("ada"), 1) == taken
    dead.close()


def test_late_wait_does_not_free_the_place_of_another(dynamodb: DynamoDb) -> None:
    """A request gives back only the place that it holds."""
    then = time.time()
    late, new = ExitStack(), ExitStack()
    take_all(late, places_of(dynamodb, places=1, now=lambda: then), person("ada"), 1)
    later = places_of(dynamodb, places=1, now=lambda: then + TAKEN_SECONDS + 1)
    assert take_all(new, later, person("grace"), 1) == 1
    late.close()
    assert len(dynamodb.rows()) == 1
    new.close()
    assert dynamodb.rows() == []


class TestRequests:
    """`GET …/messages?wait=`."""

    @pytest.fixture
    def one_place(self, start_api: Callable[..., RunsApi]) -> RunsApi:
        """The function with a single place."""
        return start_api(WAITING_REQUESTS="1")

    def get(self, api: RunsApi, by: Credential, run: str, **query: str) -> Any:
        """Read the messages of a run."""
        return api.call("GET", f"/v1/projects/apollo/runs/{run}/messages", by=by, query=query)

    def test_wait_without_a_free_place_is_refused(
        self, one_place: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """It is answered 429 at once, and the same request without `wait` is answered."""
        run = one_place.create(ada)["id"]
        with ExitStack() as stack:
            take_all(stack, places_of(dynamodb, places=1), person("grace"), 1)
            started = time.monotonic()
            answer = self.get(one_place, ada, run, wait="20")
            assert (answer.status, answer.reason) == (429, "too_many_waits")
            assert answer.headers["retry-after"] == "5"
            assert time.monotonic() - started < 10
            assert self.get(one_place, ada, run).status == 200
        assert self.get(one_place, ada, run, wait="1").status == 200

    def test_place_is_free_after_each_end_of_a_wait(
        self, one_place: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """After a wait, a lost answer and a refusal, no place stays taken."""
        run = one_place.create(ada)["id"]
        assert self.get(one_place, ada, run, wait="1").status == 200
        dynamodb.faults.append(LostAnswer("PutItem"))
        assert self.get(one_place, ada, run, wait="1").status == 200
        assert self.get(one_place, web.browser("eve"), run, wait="1").status == 404
        assert [row for row in dynamodb.rows() if row["project"]["S"] == PARTITION] == []

    @pytest.mark.parametrize("anonymous", ["refuse", "allow"])
    def test_wait_that_another_site_started_is_refused(
        self,
        start_api: Callable[..., RunsApi],
        ada: Credential,
        dynamodb: DynamoDb,
        anonymous: str,
    ) -> None:
        """A page cannot take its visitor's places. Without `wait` the link is answered."""
        trust, visitor = ("ignore", NO_CREDENTIAL) if anonymous == "allow" else ("verify", ada)
        api = start_api(ANONYMOUS_CALLERS=anonymous, IDENTITY_TRUST=trust)
        run = api.create(visitor)["id"]
        foreign = Credential((*visitor.headers, ("sec-fetch-site", "cross-site")), visitor.group)
        dynamodb.calls.clear()
        answer = self.get(api, foreign, run, wait="1")
        assert (answer.status, answer.reason) == (403, "cross_site_request")
        assert not [call for call in dynamodb.calls if call.operation == "PutItem"]
        assert self.get(api, foreign, run).status == 200

    def test_existing_message_takes_no_place(
        self, one_place: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """Only a request that really waits needs one."""
        run = one_place.create(ada)["id"]
        path = f"/v1/projects/apollo/runs/{run}/messages"
        one_place.call("POST", path, by=ada, document={"role": "user", "content": "x"})
        dynamodb.calls.clear()
        assert self.get(one_place, ada, run, wait="20").status == 200
        assert not [call for call in dynamodb.calls if call.operation == "PutItem"]
