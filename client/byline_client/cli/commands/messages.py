"""`byline messages`: what people and the runner write in a run."""

import json
import sys
import time
import uuid
from typing import Annotated, Any

import typer

from byline_client.cli.options import Project
from byline_client.cli.session import Session, path_in_project, session_of
from byline_client.cli.terminal import put, put_json, say
from byline_client.conversation import ServiceCall
from byline_client.documents import member_of, object_of, text_of
from byline_client.errors import Misused, RequestRefused, ServiceUnavailable
from byline_client.messages import WAIT_SECONDS, read_messages
from byline_client.principals import name_of
from byline_client.record import OVER

EXAMPLES = (
    "byline messages 01K9ZB4M7YV5T3Q8RXN2D6H1WC --project research --follow",
    "byline messages 01K9ZB4M7YV5T3Q8RXN2D6H1WC --project research --post 'Use the new data.'",
)
ENDED = OVER | {"lost"}
"""The states in which no message is waited for. A lost run may come back, but nothing runs now."""

PAUSE_SECONDS = 5.0
"""The pause after a fault of the service, and where too many requests wait already."""


def command(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="The id of the run.")],
    project: Project = "",
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Wait for more, until the run has ended or is lost."),
    ] = False,
    after: Annotated[str, typer.Option(metavar="ID", help="Only messages after this one.")] = "",
    post: Annotated[
        str, typer.Option(metavar="TEXT", help="Post a message; `-` reads standard input.")
    ] = "",
    as_runner: Annotated[
        bool, typer.Option("--as-runner", help="Post as the runner of the run.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON; with --follow a document a line.")
    ] = False,
) -> None:
    """List the messages of a run, follow them, or post one."""
    session = session_of(ctx)
    path = path_in_project(session, project, "runs", run)
    if post and (follow or after or as_json):
        raise Misused("--post takes no --follow, --after and --json.")
    if post:
        _post(session, f"{path}/messages", sys.stdin.read() if post == "-" else post, as_runner)
        return
    if as_runner:
        raise Misused("--as-runner needs --post.")
    if follow:
        _follow(session, path, after or None, as_json)
        return
    found = read_messages(session.ask, f"{path}/messages", after=after or None)
    if as_json:
        put_json(list(found))
        return
    for message in found:
        _put(message)


def _post(session: Session, path: str, text: str, as_runner: bool) -> None:
    body = {"role": "runner" if as_runner else "user", "content": text}
    call = ServiceCall("POST", path, body=body, idempotency_key=str(uuid.uuid4()))
    put(text_of(object_of(session.ask(call), "message", "id"), "id"))


def _follow(session: Session, path: str, after: str | None, as_json: bool) -> None:
    """Write messages as they come, until the run has ended. Outages are waited for.

    Raises `ClientError` where the first answer is an error.
    """
    has_read = is_over = False
    longest = max(1, min(WAIT_SECONDS, int(session.answer_seconds) - 10))
    while True:
        wait = longest if has_read and not is_over else 0
        try:
            for message in read_messages(session.ask, f"{path}/messages", after=after, wait=wait):
                after, has_read = text_of(message, "id"), True
                if as_json:
                    sys.stdout.write(json.dumps(message) + "\n")
                    sys.stdout.flush()
                else:
                    _put(message)
            if is_over:
                return
            # The messages are read once more after the run has ended, so none is missed.
            document = object_of(session.ask(ServiceCall("GET", path)), "run", "status")
            is_over = text_of(document, "status") in ENDED
            has_read = True
        except (ServiceUnavailable, RequestRefused) as error:
            is_passing = isinstance(error, ServiceUnavailable) or error.status == 429
            if not has_read or not is_passing:
                raise
            say(f"byline: {error}")
            time.sleep(PAUSE_SECONDS)


def _put(message: dict[str, Any]) -> None:
    at = text_of(message, "created_at")[:19].replace("T", " ")
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content)
    person = name_of(member_of(message, "who", "on_behalf_of"))
    author = name_of(member_of(message, "who", "author")) or text_of(message, "role")
    first, *others = text.split("\n")
    put(f"{at}  {author}{f' for {person}' if person else ''}: {first}")
    for line in others:
        put(f"  {line}")
