"""The route of RunsFunction about the audit trail: who did what, on whose behalf, and when.

caller → may they read it → one query. Records are written by what they are about.
"""

from aws_lambda_powertools.event_handler import Response

from byline.aws import dynamodb
from byline.errors import Rejected
from byline.identity.caller import MAX_PRINCIPAL_BYTES, Caller
from serve_runs.access.admins import default_issuer
from serve_runs.access.context import principal_text
from serve_runs.audit.listing import Doings, list_records
from serve_runs.audit.records import Resource, record_json
from serve_runs.audit.requests import ListAudit
from serve_runs.runs.listing import fitting
from serve_runs.service import (
    access_of,
    access_table,
    app,
    caller_of_read,
    json_answer,
    people,
    settings,
)
from serve_runs.web.cursors import Position, decode_cursor, encode_cursor
from serve_runs.web.problems import Problem
from serve_runs.web.requests import path_name, read_query

client = dynamodb()


@app.get("/v1/projects/<project>/audit")
def list_audit_records(project: str) -> Response[str]:
    """What was done in a project, newest first: to a run, a runner or a credential; or by somebody
    and on behalf of them."""
    caller = caller_of_read()
    project = path_name(project, of="project")
    access = access_of(caller, project)
    access.require("read_audit", access.resource("Audit", ""))
    query = read_query(app.current_event, ListAudit)
    subject = _subject(query, caller, project)
    binding = repr(subject)
    after = decode_cursor(query.cursor, query=binding).id if query.cursor else None
    subjects = [subject, *_owners(query.person, project)]
    found, last = list_records(client, access_table, subjects, limit=query.limit, after=after)
    shown = fitting([record_json(item) for item in found])
    if len(shown) < len(found):
        last = shown[-1]["id"]
    next_cursor = encode_cursor(Position(project, last), query=binding) if last else None
    return json_answer(200, {"records": shown, "next_cursor": next_cursor})


def _subject(query: ListAudit, caller: Caller | None, project: str) -> Resource | Doings:
    if query.run is not None:
        return Resource(project, "run", query.run)
    if query.runner is not None:
        return Resource(project, "runner", query.runner)
    if query.credential is not None:
        return Resource(project, "credential", query.credential)
    return Doings(project, _principal(query.person or "", caller))


def _owners(person: str | None, project: str) -> list[Doings]:
    """What those did whose e-mail `person` is, if it is one."""
    if person is None or "@" not in person or _is_principal(person):
        return []
    return [Doings(project, owner.text) for owner in people.with_email(person)]


def _is_principal(person: str) -> bool:
    return person.startswith(("user:", "application:", "unknown:"))


def _principal(person: str, caller: Caller | None) -> str:
    """Whom `person` names: `me`, a principal as records have it, or a subject of the issuer that
    browsers sign in with, even where it looks like an e-mail. One that nobody is has done nothing.
    """
    if person == "me":
        if caller is None:
            raise Rejected("no_credentials", "nobody is known, so nothing is theirs")
        return principal_text(caller)
    issuer = default_issuer(settings)
    principal = person if _is_principal(person) else f"user:{issuer}#{person}"
    if len(principal.encode()) > MAX_PRINCIPAL_BYTES:
        raise Problem(400, "invalid_parameter", "`person` is too long.")
    return principal
