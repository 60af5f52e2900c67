"""`byline act-for-me`: service accounts that act for a person, within that person's rights."""

from pathlib import Path
from typing import Annotated, Any

import typer

from byline_client.cli.options import AsJson, Project, Until, given
from byline_client.cli.secret_input import read_secret
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put, put_json, put_rows, say
from byline_client.conversation import ServiceCall
from byline_client.documents import member_of, object_of, text_of
from byline_client.errors import Misused
from byline_client.listing import listed
from byline_client.principals import name_of
from byline_client.secret_text import checked_token

EXAMPLES = (
    "byline act-for-me assistant --token-file /run/assistant/token --project research",
    "byline act-for-me --project research",
    "byline act-for-me --stop ccyw4yfkwqyrbo4l3cgvdgd6xa --project research",
)
MOST = 10_000


def command(
    ctx: typer.Context,
    account: Annotated[
        str, typer.Argument(help="A name for the service account. Without one: list them.")
    ] = "",
    project: Project = "",
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with a token of the account; `-` reads standard input."
            " Default: BYLINE_ACCOUNT_TOKEN."
        ),
    ] = None,
    role: Annotated[
        str, typer.Option(help="The most that it may do. Default: project:editor.")
    ] = "",
    until: Until = "",
    stop: Annotated[
        str, typer.Option(metavar="ID", help="Let the account of this id act for you no more.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Let a service account act for you, list those that act for people, or stop one."""
    session = session_of(ctx)
    path = path_in_project(session, project, "service-accounts")
    if stop:
        if account or token_file or role or until:
            raise Misused("--stop takes the id of the account, and nothing else.")
        path = path_in_project(session, project, "service-accounts", stop)
        session.ask(ServiceCall("DELETE", path))
        say(f"{stop} acts for its person no more.")
    elif account:
        text = read_secret(
            token_file, session.environ.get("BYLINE_ACCOUNT_TOKEN", ""), what="token"
        )
        if text is None:
            raise Misused("Give a token of the account: --token-file or BYLINE_ACCOUNT_TOKEN.")
        token = checked_token(text.reveal(), source=str(token_file or "BYLINE_ACCOUNT_TOKEN"))
        body = given(token=token.reveal(), name=account, role=role, expires_at=until)
        call = ServiceCall("POST", path, body=body, repeat=True)
        document = object_of(session.ask(call), "service account", "id")
        if as_json:
            put_json(document)
        else:
            put(text_of(document, "id"))
        say(f"{account} acts for you with {text_of(document, 'role')}.")
    elif token_file or role or until:
        raise Misused("Name the service account.")
    else:
        found = list(listed(session.ask, path, "service_accounts", most=MOST))
        if as_json:
            put_json(found)
        else:
            columns = ("id", "account", "role", "acts for", "until")
            put_rows(map(_row, found), columns=columns)


def _row(account: dict[str, Any]) -> dict[str, str]:
    return {
        "id": text_of(account, "id"),
        "account": text_of(account, "name"),
        "role": text_of(account, "role"),
        "acts for": name_of(member_of(account, "who", "acts_for")),
        "until": text_of(account, "expires_at")[:19].replace("T", " "),
    }
