"""`byline runners`: the runners of a project, and whether their tokens are fresh."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from byline_client.cli.options import AsJson, Project, given
from byline_client.cli.session import Session, path_in_project, session_of
from byline_client.cli.terminal import put, put_facts, put_json, put_rows, say, say_warnings
from byline_client.conversation import ServiceCall
from byline_client.documents import member_of, object_of, text_of
from byline_client.errors import ClientError
from byline_client.listing import listed
from byline_client.principals import name_of

EXAMPLES = (
    "byline runners --project research --failing",
    "byline runners register trainer --client trainer --subject trainer --project research --wait",
    "byline runners refresh trainer --project research",
    "byline runners delete trainer --project research",
)
MOST = 10_000
WAIT_SECONDS = 120.0
"""How long `--wait` waits. A first token is there within seconds, or the runner is failing."""

FACTS = ("name", "project", "client", "audience", "resource", "scope", "subject", "status")
Runner = Annotated[str, typer.Argument(help="The name of the runner.")]
IsAwaited = Annotated[
    bool, typer.Option("--wait", help="Wait until its token is there, or cannot be refreshed.")
]


def command(
    ctx: typer.Context,
    project: Project = "",
    failing: Annotated[
        bool,
        typer.Option("--failing", help="Only runners whose token is expired or not refreshed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List, register and delete the runners of a project, and refresh their tokens."""
    session = session_of(ctx)
    if ctx.invoked_subcommand:
        session.project = project
        return
    found = [
        runner
        for runner in listed(
            session.ask, path_in_project(session, project, "runners"), "runners", most=MOST
        )
        if not failing or runner.get("status") in ("failing", "expired")
    ]
    if as_json:
        put_json(found)
        return
    put_rows(map(_row, found), columns=("runner", "status", "expires", "error"))


def register(
    ctx: typer.Context,
    runner: Runner,
    client: Annotated[str, typer.Option(help="The OAuth client of its tokens.")],
    project: Project = "",
    audience: Annotated[str, typer.Option(help="The audience of its tokens.")] = "",
    resource: Annotated[str, typer.Option(help="The resource of its tokens, a URI.")] = "",
    scope: Annotated[str, typer.Option(help="The scope of its tokens.")] = "",
    subject: Annotated[str, typer.Option(help="Its own subject. It reads its token.")] = "",
    isolated: Annotated[
        bool, typer.Option("--isolated", help="It shares its token with no other runner.")
    ] = False,
    wait: IsAwaited = False,
    as_json: AsJson = False,
) -> None:
    """Register a runner, or change it. An option that is left out is removed."""
    session = session_of(ctx)
    path = path_in_project(session, project, "runners", runner)
    body = given(
        client=client,
        audience=audience,
        resource=resource,
        scope=scope,
        subject=subject,
        isolated=isolated,
    )
    document = object_of(session.ask(ServiceCall("PUT", path, body=body)), "runner", "name")
    say_warnings(document)
    if wait:
        document = _awaited(session, path, document, lambda it: it.get("status") != "waiting")
    _end(document, as_json=as_json, is_awaited=wait)


def show(
    ctx: typer.Context, runner: Runner, project: Project = "", as_json: AsJson = False
) -> None:
    """Show a runner, the times of its token, and why it cannot be refreshed."""
    session = session_of(ctx)
    path = path_in_project(session, project, "runners", runner)
    document = object_of(session.ask(ServiceCall("GET", path)), "runner", "name")
    if as_json:
        put_json(document)
        return
    names = (*FACTS, "issued_at", "expires_at", "created_at")
    facts = {name: str(document[name]) for name in names if document.get(name)}
    facts["registered_by"] = name_of(member_of(document, "who", "registered_by"))
    if error := document.get("last_error"):
        facts |= {name: text_of(error, name) for name in ("class", "detail", "hint", "since")}
    put_facts({name.replace("_", " "): value for name, value in facts.items()})


def refresh(
    ctx: typer.Context,
    runner: Runner,
    project: Project = "",
    wait: IsAwaited = False,
    as_json: AsJson = False,
) -> None:
    """Refresh the token of a runner now, whatever it waits for."""
    session = session_of(ctx)
    path = path_in_project(session, project, "runners", runner)
    document = before = object_of(
        session.ask(ServiceCall("POST", f"{path}/refresh")), "runner", "name"
    )
    if wait:
        document = _awaited(session, path, before, lambda it: _state(it) != _state(before))
    _end(document, as_json=as_json, is_awaited=wait)


def delete(ctx: typer.Context, runner: Runner, project: Project = "") -> None:
    """Delete a runner. With the last runner of a token, the token is revoked."""
    session = session_of(ctx)
    session.ask(ServiceCall("DELETE", path_in_project(session, project, "runners", runner)))
    say(f"{runner} is deleted.")


SUBCOMMANDS = {"register": register, "show": show, "refresh": refresh, "delete": delete}


def _awaited(
    session: Session,
    path: str,
    runner: dict[str, Any],
    is_done: Callable[[dict[str, Any]], bool],
) -> dict[str, Any]:
    """The runner when it is done, or after the longest wait. Raises `ClientError`."""
    deadline = time.monotonic() + WAIT_SECONDS
    if not is_done(runner):
        say("Waiting for the token …")
    while not is_done(runner) and time.monotonic() < deadline:
        time.sleep(1)
        runner = object_of(session.ask(ServiceCall("GET", path)), "runner", "name")
    return runner


def _end(runner: dict[str, Any], *, as_json: bool, is_awaited: bool) -> None:
    """Write the runner. Raises `ClientError` where a token was awaited and is not there."""
    row = _row(runner)
    if as_json:
        put_json(runner)
    else:
        put(row["runner"])
    state = f"{row['runner']} is {row['status']}{': ' if row['error'] else ''}{row['error']}"
    if is_awaited and row["status"] != "ready":
        raise ClientError(state)
    say(state)


def _state(runner: dict[str, Any]) -> tuple[Any, Any]:
    """The members that change with each refresh, successful or not."""
    return runner.get("refreshed_at"), runner.get("last_error")


def _row(runner: dict[str, Any]) -> dict[str, str]:
    error = runner.get("last_error")
    detail = text_of(error, "detail") or text_of(error, "class")
    return {
        "runner": str(runner.get("name")),
        "status": str(runner.get("status")),
        "expires": str(runner.get("expires_at") or "")[:19].replace("T", " "),
        "error": detail,
    }
