"""The routes of messages, which people and a run's runner write in the run.

caller → the run and its runner → policy → a new row, or the rows after the reader's last one.
"""

import time
from dataclasses import dataclass

from aws_lambda_powertools.event_handler import Response

from byline.identity.caller import Principal
from byline.tables.rows import Item
from serve_runs.access.decisions import Resource
from serve_runs.calls import Call, is_foreign_page, json_answer
from serve_runs.errors import RequestFailed, forbidden, not_found
from serve_runs.messages.places import WaitingPlaces
from serve_runs.messages.requests import ListMessages, PostMessage
from serve_runs.messages.store import MessageStore
from serve_runs.messages.views import message_json
from serve_runs.profiles.store import Profiles
from serve_runs.runners.store import RunnerStore
from serve_runs.runners.tokens import own_principal
from serve_runs.web.paging import fitting
from serve_runs.web.requests import idempotency_key
from serve_runs.web.routing import Route

MESSAGES = "/v1/projects/<project>/runs/<run_id>/messages"

POLL_SECONDS = 1.0

ANSWER_SECONDS = 1.0
"""How much of an invocation's time is left for the answer when the wait ends."""

NO_RUNNER = "-"
"""A placeholder that cannot name a runner. It is read where a run has no runner, so that the number
of reads does not depend on the run."""


@dataclass(frozen=True, slots=True)
class MessageRoutes:
    """The routes of messages, with the stores that they use."""

    store: MessageStore
    runners: RunnerStore
    places: WaitingPlaces
    profiles: Profiles

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("GET", MESSAGES, self.list_messages),
            Route("POST", MESSAGES, self.post_message, takes_body=True),
        )

    def list_messages(self, call: Call, run_id: str) -> Response[str]:
        """A run's messages after the one with the id `after`, the oldest first.

        With `wait`, an empty list is answered only after so many seconds without a new message.
        Raises `RequestFailed`: `too_many_waits` where too many requests wait already,
        `cross_site_request` where a page of another site would take one of the caller's places.
        """
        query = call.query(ListMessages)
        self._require("read_messages", call, run_id)
        found = self.store.after(call.project, run_id, after=query.after, limit=query.limit)
        if query.wait and not found:
            if is_foreign_page(call.event, call.caller):
                raise RequestFailed("cross_site_request")
            with self.places.take(call.caller, request_id=call.action.request_id):
                found = self._wait(call, run_id, query)
            # During the wait a role may have been revoked, or the run deleted.
            call.renew()
            self._require("read_messages", call, run_id)
        messages = [message_json(item) for item in found]
        self.profiles.complete(messages)
        shown = fitting(messages)
        next_after = shown[-1]["id"] if shown else query.after
        return json_answer(200, {"messages": shown, "next_after": next_after})

    def post_message(self, call: Call, run_id: str) -> Response[str]:
        """Post a message in a run, as a user or as its runner: 201, or 200 where its
        `Idempotency-Key` posted it before."""
        key = idempotency_key(call.event)
        body = call.body(PostMessage)
        action = f"post_{body.role}_message"
        run = self._require(action, call, run_id)
        item, outcome = self.store.post(
            call.project,
            run_id,
            message=body,
            action=call.action.on(run, action, access=call.access),
            key=key,
        )
        call.log(f"message {outcome}", run=run_id, role=body.role)
        return json_answer(201 if outcome == "created" else 200, message_json(item))

    def _require(self, action: str, call: Call, run_id: str) -> Resource:
        """The run as a resource. Raises `RequestFailed` unless the caller may carry out `action`.

        `forbidden` for a caller that may read the run or its messages, else `not_found`. The number
        of reads depends only on the caller, so it does not reveal whether the run exists.
        """
        access = call.access
        found = self.store.find_run(call.project, run_id)
        # A runner's service account is an application, so people need no read of the runner.
        is_application = call.caller is not None and call.caller.kind == "application"
        executor = self._executor(call.project, found) if is_application else None
        resource = access.resource("Run", run_id, executor=executor)
        if not access.may(action, resource):
            sees_run = access.may("read_run", resource) or access.may("read_messages", resource)
            raise forbidden(action) if sees_run and found is not None else not_found()
        if found is None:
            raise not_found()
        return resource

    def _executor(self, project: str, run: Item | None) -> Principal | None:
        """The service account that the run's runner is registered with now."""
        name = NO_RUNNER if run is None else run.get("runner", {}).get("S", NO_RUNNER)
        row = self.runners.find(project, name)
        return None if row is None else own_principal(row)

    def _wait(self, call: Call, run_id: str, query: ListMessages) -> list[Item]:
        """The messages as soon as one exists; an empty list when the time is over.

        Raises `Rejected` when the caller's token expires.
        """
        left = call.context.get_remaining_time_in_millis() / 1000 - ANSWER_SECONDS
        until = time.monotonic() + min(query.wait, left)
        found: list[Item] = []
        while not found and (rest := until - time.monotonic()) > 0:
            time.sleep(min(POLL_SECONDS, rest))
            call.renew()
            found = self.store.after(call.project, run_id, after=query.after, limit=query.limit)
        return found
