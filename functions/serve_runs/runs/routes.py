"""The routes of runs: create, list, read, change, delete.

caller → policy → one transaction of the run and its audit record → the run as JSON.
"""

from collections.abc import Callable
from copy import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.event_handler import Response

from byline.caching import Clock
from byline.tables.paging import Page
from byline.tables.rows import Item
from serve_runs.audit.trail import ActionContext
from serve_runs.calls import Call, json_answer, no_content
from serve_runs.errors import RequestFailed
from serve_runs.profiles.store import Profiles
from serve_runs.role_bindings.new_projects import NewProjects
from serve_runs.runs.parents import ParentRuns
from serve_runs.runs.queries import Listed, RunQuery, id_of, list_runs, list_visible_runs
from serve_runs.runs.requests import CreateRun, EndRun, ListRuns
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import ClaimRefused, RunStore
from serve_runs.runs.views import named_runs, run_json
from serve_runs.web.paging import decode_cursor, encode_cursor, fitting
from serve_runs.web.requests import idempotency_key
from serve_runs.web.routing import Route

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

RUNS = "/v1/projects/<project>/runs"
RUN = f"{RUNS}/<run_id>"

NO_PROJECT = "-"
"""A placeholder that cannot name a project. Roles are read for it where no run was found, so that
the number of reads does not depend on the result."""


class RunRoutes(msgspec.Struct, frozen=True):
    """The routes of runs. `new_projects` is None where only admins may start a project.

    `empty_messages` ends those of a deleted run, by its project and id.
    `default_issuer`: the issuer of a person given without one, or empty.
    """

    client: "DynamoDBClient"
    table: str
    store: RunStore
    parents: ParentRuns
    profiles: Profiles
    new_projects: NewProjects | None
    empty_messages: Callable[[str, str], None]
    default_issuer: str
    now: Clock

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("POST", RUNS, self.create_run, takes_body=True),
            Route("GET", RUNS, self.list_project_runs),
            Route("GET", "/v1/runs", self.list_created_runs),
            Route("GET", RUN, self.show_run),
            Route("POST", f"{RUN}/start", self.start_run),
            Route("POST", f"{RUN}/finish", self.finish_run, takes_body=True),
            Route("POST", f"{RUN}/fail", self.fail_run, takes_body=True),
            Route("POST", f"{RUN}/cancel", self.cancel_run),
            Route("DELETE", RUN, self.delete_run),
        )

    def create_run(self, call: Call) -> Response[str]:
        """Create a run as the caller: 201, or 200 where the `Idempotency-Key` created it before."""
        key = idempotency_key(call.event)
        body = call.body(CreateRun) if call.event.get("body") else CreateRun()
        run, outcome = self._create(call, body, key)
        call.log(f"run {outcome}", run=run["id"]["S"])
        location = f"/v1/projects/{call.project}/runs/{run['id']['S']}"
        status = 201 if outcome == "created" else 200
        return json_answer(status, run_json(run), location=location)

    def list_project_runs(self, call: Call) -> Response[str]:
        """A project's runs, newest first."""
        call.access.require("read_run")
        query = call.query(ListRuns)
        listed = self._listed(query, call)
        listing = partial(list_runs, self.client, self.table, listed.queries)
        return self._answer_page(query, listed, listing)

    def list_created_runs(self, call: Call) -> Response[str]:
        """The runs of a creator, or of a person, in all projects that the caller may read."""
        query = call.query(ListRuns)
        listed = self._listed(query, call)
        visible = partial(_visible, call)
        listing = partial(
            list_visible_runs, self.client, self.table, listed.queries, visible=visible
        )
        return self._answer_page(query, listed, listing)

    def show_run(self, call: Call, run_id: str) -> Response[str]:
        """One run."""
        call.access.require("read_run")
        [run] = named_runs([self.store.get(call.project, run_id)], profiles=self.profiles)
        return json_answer(200, run)

    def start_run(self, call: Call, run_id: str) -> Response[str]:
        """Start a pending run; then it is running."""
        return self._change(call, run_id, "start")

    def finish_run(self, call: Call, run_id: str) -> Response[str]:
        """Finish a running run; then it is succeeded."""
        return self._change(call, run_id, "finish", _end(call))

    def fail_run(self, call: Call, run_id: str) -> Response[str]:
        """Fail a pending or running run; then it is failed."""
        return self._change(call, run_id, "fail", _end(call))

    def cancel_run(self, call: Call, run_id: str) -> Response[str]:
        """Cancel a pending or running run; then it is cancelled."""
        return self._change(call, run_id, "cancel")

    def delete_run(self, call: Call, run_id: str) -> Response[str]:
        """Delete a run with its messages: 204, or 404 where it does not exist."""
        self._require("delete_run", call, run_id)
        try:
            self.store.delete(call.project, run_id, action=call.action)
        except RequestFailed as failure:
            if failure.reason == "not_found":
                # An earlier request may have stopped after the run and before its messages.
                self.empty_messages(call.project, run_id)
            raise
        self.empty_messages(call.project, run_id)
        call.log("run deleted", run=run_id)
        return no_content()

    def _change(
        self, call: Call, run_id: str, change: str, end: EndRun | None = None
    ) -> Response[str]:
        transition = TRANSITIONS[change]
        self._require(transition.action, call, run_id)
        run = self.store.change(
            call.project, run_id, transition=transition, action=call.action, end=end
        )
        call.log(f"run {transition.after}", run=run_id)
        return json_answer(200, run_json(run))

    def _require(self, action: str, call: Call, run_id: str) -> None:
        run = call.access.resource("Run", run_id)
        call.access.require(action, run, find=lambda: self.store.get(call.project, run_id))

    def _create(self, call: Call, body: CreateRun, key: str | None) -> tuple[Item, str]:
        access, action = call.access, call.action
        claim: dict[str, TransactWriteItemTypeDef] = {}
        if self.new_projects is not None:
            access, claim = self.new_projects.claim(access, action)
        access.require("create_run")
        if body.parent_run is not None:
            try:
                action = self.parents.child_action(body.parent_run, access=access, action=action)
            except RequestFailed:
                # A repeated key returns its run, even if the parent was deleted since.
                before = key and self.store.created_before(
                    body, project=call.project, action=action, key=key
                )
                if not before:
                    raise
                return before, "repeated"
        try:
            return self.store.create(
                body, project=call.project, action=action, key=key, claim=claim
            )
        except ClaimRefused:
            return self._create_unclaimed(call, body, action, key)

    def _create_unclaimed(
        self, call: Call, body: CreateRun, action: ActionContext, key: str | None
    ) -> tuple[Item, str]:
        """Create a run in a new project that another request claimed first."""
        call.forget_access()
        call.access.require("create_run")
        return self.store.create(body, project=call.project, action=action, key=key)

    def _listed(self, query: ListRuns, call: Call) -> Listed:
        """The queries of a listing. Raises `RequestFailed` (`invalid_parameter`)."""
        if query.person is not None and query.created_by is not None:
            raise RequestFailed("invalid_parameter", "Give `person` or `created_by`, not both.")
        if not call.project and query.person is None and query.created_by is None:
            raise RequestFailed(
                "invalid_parameter",
                "`created_by` or `person` is required for a listing across projects.",
            )
        people: dict[str, Any] = {
            "known_caller": call.known_caller,
            "profiles": self.profiles,
            "default_issuer": self.default_issuer,
        }
        listed = RunQuery(call.project or None, None, None, query.status, query.through)
        more_starters = False
        # Imported here, because creates and most lists do without it.
        if query.is_filtered:
            from serve_runs.runs.filters import filters_of  # noqa: PLC0415

            filters, more_starters = filters_of(query, **people)
            listed = replace(listed, filters=filters)
        if query.person is not None:
            from serve_runs.runs.people import runs_of  # noqa: PLC0415

            found = runs_of(query.person, listed, **people)
        else:
            found = self._created(query.created_by, listed, call)
        return replace(found, more_people=found.more_people or more_starters)

    def _created(self, creator: str | None, listed: RunQuery, call: Call) -> Listed:
        """One query for the creator's subject, and one for each principal with its e-mail."""
        if creator == "me":
            caller = call.known_caller()
            return Listed((replace(listed, creator=caller.subject, creator_issuer=caller.issuer),))
        listed = replace(listed, creator=creator)
        if creator is None or "@" not in creator:
            return Listed((listed,))
        owners = self.profiles.find_by_email(creator)
        others = (
            replace(listed, creator=each.subject, creator_issuer=each.issuer)
            for each in owners.principals
        )
        return Listed((listed, *others), owners.are_more)

    def _answer_page(
        self, query: ListRuns, listed: Listed, listing: partial[Page]
    ) -> Response[str]:
        binding = repr(listed.queries[0])
        after = decode_cursor(query.cursor, query=binding)
        found, last = listing(limit=query.limit, after=after, now=self.now())
        shown = fitting(named_runs(found, profiles=self.profiles))
        if len(shown) < len(found):
            last = id_of(found[len(shown) - 1])
        next_cursor = encode_cursor(last, query=binding)
        return json_answer(
            200, {"runs": shown, "next_cursor": next_cursor, "more_people": listed.more_people}
        )


def _end(call: Call) -> EndRun | None:
    """How the run ended, as the body says it; None without a body."""
    return call.body(EndRun) if call.event.get("body") else None


def _visible(call: Call, found: list[Item]) -> list[Item]:
    """The runs in `found` that the caller may read.

    Roles are read even for no runs, so that the time of the answer does not reveal hidden runs.
    """
    projects = list(dict.fromkeys(run["project"]["S"] for run in found)) or [NO_PROJECT]
    accesses = call.read_accesses(projects)
    readable = {project for project, access in accesses.items() if access.may("read_run")}
    return [run for run in found if run["project"]["S"] in readable]
