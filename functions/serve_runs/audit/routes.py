"""The route of the audit trail: who did what, on whose behalf, and when.

caller → policy → one query for each principal or resource. Other packages write the records.
"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler import Response

from byline.identity.caller import principal_of
from serve_runs.audit.requests import RESOURCES, ListAudit
from serve_runs.audit.store import (
    ActorRecords,
    ListedRecords,
    ProjectRecords,
    RecordFilter,
    list_records,
)
from serve_runs.audit.trail import AuditedResource
from serve_runs.audit.views import record_json
from serve_runs.calls import Call, json_answer
from serve_runs.errors import RequestFailed
from serve_runs.profiles.people import named_people
from serve_runs.profiles.store import Profiles
from serve_runs.web.paging import decode_position, encode_position, fitting
from serve_runs.web.routing import Route

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


@dataclass(frozen=True, slots=True)
class AuditRoutes:
    """The audit route. `default_issuer`: the issuer of a subject given without one, or empty."""

    client: "DynamoDBClient"
    table: str
    profiles: Profiles
    default_issuer: str

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (Route("GET", "/v1/projects/<project>/audit", self.list_audit_records),)

    def list_audit_records(self, call: Call) -> Response[str]:
        """A project's audit records, newest first: all, about a resource, or of a principal.

        People may list their own records without the right to list those of others. A list with a
        filter may have short pages: go on while there is a `next_cursor`.
        """
        query = _permitted_query(call)
        subjects, more_people = self._subjects(query, call)
        having = _filter_of(query)
        binding = f"{subjects[0]} {having}"
        after = decode_position(query.cursor, query=binding)
        found, last = list_records(
            self.client,
            self.table,
            subjects,
            having=having,
            limit=query.limit,
            after=after,
        )
        records = [record_json(item) for item in found]
        self.profiles.complete(records)
        shown = fitting(records)
        if len(shown) < len(found):
            last = shown[-1]["id"]
        next_cursor = encode_position(call.project, last, query=binding)
        return json_answer(
            200, {"records": shown, "next_cursor": next_cursor, "more_people": more_people}
        )

    def _subjects(self, query: ListAudit, call: Call) -> tuple[list[ListedRecords], bool]:
        """The subjects of a listing, and whether more people have the e-mail address."""
        for kind in RESOURCES:
            if (name := getattr(query, kind)) is not None:
                return [AuditedResource(call.project, kind, name)], False
        if query.person is None:
            return [ProjectRecords(call.project)], False
        people = named_people(
            query.person,
            known_caller=call.known_caller,
            profiles=self.profiles,
            default_issuer=self.default_issuer,
        )
        return [ActorRecords(call.project, each) for each in people.principals], people.are_more


def _filter_of(query: ListAudit) -> RecordFilter:
    return RecordFilter(
        through=query.through,
        action=query.action,
        resource_type=query.resource,
        since=None if query.since is None else query.since.timestamp(),
        until=None if query.until is None else query.until.timestamp(),
    )


def _permitted_query(call: Call) -> ListAudit:
    """The query. Raises `RequestFailed`; for an invalid one, `not_found` comes first."""
    require = partial(call.access.require, "read_audit")
    try:
        query = call.query(ListAudit)
    except RequestFailed:
        require(call.access.resource("Audit", ""))
        raise
    caller = principal_of(call.caller)
    is_own = caller.kind == "user" and query.person in ("me", caller.text)
    require(call.access.resource("Audit", "", owner=caller if is_own else None))
    return query
