"""`byline who`: everything that happened to a run, and who did it."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from byline_client.cli.options import AsJson, Project
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put_json, put_rows, say
from byline_client.conversation import ServiceCall
from byline_client.documents import member_of, object_of, text_of
from byline_client.errors import RequestRefused
from byline_client.listing import listed
from byline_client.messages import read_messages
from byline_client.principals import name_of

EXAMPLES = (
    "byline who 01K9ZB4M7YV5T3Q8RXN2D6H1WC --project research",
    "byline who 01K9ZB4M7YV5T3Q8RXN2D6H1WC --project research --json",
)
MOST = 1000
COLUMNS = ("at", "what", "by", "for", "why")
ENDS = {"succeeded": "finish_run", "failed": "fail_run", "cancelled": "cancel_run"}
PEOPLE = {
    "create_run": ("executed_by", "on_behalf_of"),
    "start_run": ("started_by", "started_on_behalf_of"),
    "finish_run": ("finished_by", "finished_on_behalf_of"),
    "fail_run": ("finished_by", "finished_on_behalf_of"),
    "cancel_run": ("cancelled_by", "cancelled_on_behalf_of"),
}
"""The members of a run that say who carried out an action, and on whose behalf."""


def command(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="The id of the run.")],
    project: Project = "",
    as_json: AsJson = False,
) -> None:
    """Show what happened to a run, by whom and for whom, the oldest first."""
    session = session_of(ctx)
    path = path_in_project(session, project, "runs", run)
    document = object_of(session.ask(ServiceCall("GET", path)), "run", "id")
    messages = list(read_messages(session.ask, f"{path}/messages", after=None))
    try:
        audit = path_in_project(session, project, "audit")
        found = listed(session.ask, audit, "records", most=MOST, query={"run": run})
        events = [_of_record(record) for record in found]
        # Those of users are in the audit trail too.
        messages = [message for message in messages if message.get("role") == "runner"]
    except RequestRefused as refused:
        if refused.status not in (403, 404):
            raise
        say(f"byline: the times of the changes are missing: {refused}")
        events = list(_of_run(document))
    events += map(_of_message, messages)
    events.sort(key=lambda event: event["at"] or "~")
    if as_json:
        put_json(events)
        return
    put_rows(map(_row, events), columns=COLUMNS, piped=COLUMNS)


def _of_record(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": text_of(record, "at"),
        "action": text_of(record, "action"),
        "actor": member_of(record, "who", "actor") or {"name": text_of(record, "principal")},
        "on_behalf_of": member_of(record, "who", "on_behalf_of"),
        "reason": record.get("reason"),
        "exit_code": record.get("exit_code"),
    }


def _of_run(run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The changes that the run itself names. It has the time of its creation alone."""
    for action, (actor, person) in PEOPLE.items():
        by = member_of(run, "who", actor)
        is_end = action == ENDS.get(text_of(run, "status"))
        if action == "create_run" or (by and (action == "start_run" or is_end)):
            yield {
                "at": text_of(run, "created_at") if action == "create_run" else None,
                "action": action,
                "actor": by,
                "on_behalf_of": member_of(run, "who", person),
                "reason": run.get("reason") if is_end else None,
                "exit_code": run.get("exit_code") if is_end else None,
            }


def _of_message(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": text_of(message, "created_at"),
        "action": f"post_{text_of(message, 'role')}_message",
        "actor": member_of(message, "who", "author"),
        "on_behalf_of": member_of(message, "who", "on_behalf_of"),
        "reason": None,
        "exit_code": None,
    }


def _row(event: dict[str, Any]) -> dict[str, str]:
    why = [f"exit code {event['exit_code']}"] if event["exit_code"] is not None else []
    why += [str(event["reason"])] if event["reason"] else []
    return {
        "at": str(event["at"] or "")[:19].replace("T", " "),
        "what": event["action"].replace("_", " "),
        "by": name_of(event["actor"]),
        "for": name_of(event["on_behalf_of"]),
        "why": ", ".join(why),
    }
