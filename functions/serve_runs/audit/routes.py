"""The route of the audit trail: who did what, on whose behalf, and when.

caller → policy → one query for each principal or resource. Other packages write the records.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler import Response

from byline.identity.caller import MAX_PRINCIPAL_BYTES
from serve_runs.audit.requests import ListAudit
from serve_runs.audit.store import ActorRecords, list_records
from serve_runs.audit.trail import AuditedResource, principal_text
from serve_runs.audit.views import record_json
from serve_runs.calls import Call, json_answer
from serve_runs.errors import RequestFailed
from serve_runs.profiles.store import Profiles
from serve_runs.web.paging import Position, decode_position, encode_position, fitting
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
        """A project's audit records, newest first: about a resource, or of a principal."""
        call.access.require("read_audit", call.access.resource("Audit", ""))
        query = call.query(ListAudit)
        subject = self._subject(query, call)
        binding = repr(subject)
        after = decode_position(query.cursor, query=binding).id if query.cursor else None
        subjects = [subject, *self._owners(query.person, call.project)]
        found, last = list_records(
            self.client, self.table, subjects, limit=query.limit, after=after
        )
        shown = fitting([record_json(item) for item in found])
        if len(shown) < len(found):
            last = shown[-1]["id"]
        next_cursor = encode_position(Position(call.project, last), query=binding) if last else None
        return json_answer(200, {"records": shown, "next_cursor": next_cursor})

    def _subject(self, query: ListAudit, call: Call) -> AuditedResource | ActorRecords:
        if query.run is not None:
            return AuditedResource(call.project, "run", query.run)
        if query.runner is not None:
            return AuditedResource(call.project, "runner", query.runner)
        if query.credential is not None:
            return AuditedResource(call.project, "credential", query.credential)
        return ActorRecords(call.project, self._principal(query.person or "", call))

    def _owners(self, person: str | None, project: str) -> list[ActorRecords]:
        """The records of each principal whose e-mail address is `person`."""
        if person is None or "@" not in person or _is_principal(person):
            return []
        return [ActorRecords(project, owner.text) for owner in self.profiles.find_by_email(person)]

    def _principal(self, person: str, call: Call) -> str:
        """The principal that `person` names.

        `person` is `me`, a record's `principal`, or a subject of the default issuer, even if it
        looks like an e-mail address. An unknown principal has no records, so its list is empty.
        """
        if person == "me":
            return principal_text(call.known_caller())
        principal = person if _is_principal(person) else f"user:{self.default_issuer}#{person}"
        if len(principal.encode()) > MAX_PRINCIPAL_BYTES:
            raise RequestFailed("invalid_parameter", "`person` is too long.")
        return principal


def _is_principal(person: str) -> bool:
    return person.startswith(("user:", "application:", "unknown:"))
