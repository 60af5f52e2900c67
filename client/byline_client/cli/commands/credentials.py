"""`byline credentials`: tokens of other systems that runs use, and who reads them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from byline_client.cli.options import AsJson, Project, given
from byline_client.cli.secret_input import read_secret
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put, put_json, put_rows, say
from byline_client.conversation import ServiceCall
from byline_client.documents import member_of, object_of
from byline_client.errors import Misused
from byline_client.labels import labels_of
from byline_client.listing import listed
from byline_client.principals import name_of

EXAMPLES = (
    "byline credentials --project research",
    "byline credentials put github --provider github --file token.txt --project research",
    "byline credentials readers github --runner trainer --project research",
    "byline credentials delete github --project research",
)
MOST = 10_000
Credential = Annotated[str, typer.Argument(help="The name of the credential.")]
Roles = Annotated[
    list[str] | None, typer.Option("--role", help="Who has this role reads it; repeat for more.")
]
Runners = Annotated[
    list[str] | None, typer.Option("--runner", help="This runner reads it; repeat for more.")
]
Applications = Annotated[
    list[str] | None,
    typer.Option(
        "--application", metavar="ISSUER#SUBJECT", help="This one reads it; repeat for more."
    ),
]
RunLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--run-label", metavar="KEY=VALUE", help="They read it only for runs with this label."
    ),
]


def command(ctx: typer.Context, project: Project = "", as_json: AsJson = False) -> None:
    """List, store and delete a project's credentials, and name their readers."""
    session = session_of(ctx)
    if ctx.invoked_subcommand:
        session.project = project
        return
    path = path_in_project(session, project, "credentials")
    found = list(listed(session.ask, path, "credentials", most=MOST))
    if as_json:
        put_json(found)
        return
    put_rows(map(_row, found), columns=("credential", "provider", "readers", "url", "changed by"))


def put_(
    ctx: typer.Context,
    credential: Credential,
    provider: Annotated[
        str, typer.Option(help="github, gitlab, jira, google, vertex, kubeconfig or generic.")
    ],
    file: Annotated[Path, typer.Option(help="The file with the token; `-` reads standard input.")],
    project: Project = "",
    url: Annotated[str, typer.Option(help="The address of the system.")] = "",
    email: Annotated[str, typer.Option(help="The account of the token.")] = "",
    role: Roles = None,
    runner: Runners = None,
    application: Applications = None,
    run_label: RunLabels = None,
    as_json: AsJson = False,
) -> None:
    """Store a credential, or replace it. Without options for readers, they stay as they are."""
    session = session_of(ctx)
    readers = _readers(role, runner, application, run_label)
    path = path_in_project(session, project, "credentials", credential)
    token = read_secret(file, what="token")
    assert token is not None  # noqa: S101 - the option is required
    body = given(provider=provider, token=token.reveal(), url=url, email=email, readers=readers)
    document = object_of(session.ask(ServiceCall("PUT", path, body=body)), "credential", "name")
    if as_json:
        put_json(document)
    else:
        put(credential)
    say(f"{credential} is stored. It is read by: {_row(document)['readers']}.")


def readers(
    ctx: typer.Context,
    credential: Credential,
    project: Project = "",
    role: Roles = None,
    runner: Runners = None,
    application: Applications = None,
    run_label: RunLabels = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="Nobody reads it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show who reads a credential, or name other readers in place of all."""
    session = session_of(ctx)
    bound = _readers(role, runner, application, run_label)
    if nobody and bound:
        raise Misused("--nobody excludes all readers.")
    call = ServiceCall("GET", path_in_project(session, project, "credentials", credential))
    if bound or nobody:
        path = path_in_project(session, project, "credentials", credential, "readers")
        call = ServiceCall("PUT", path, body={"readers": bound})
    document = object_of(session.ask(call), "credential", "name")
    if as_json:
        put_json(document.get("readers"))
        return
    for reader in _shown(document):
        put(reader)


def delete(ctx: typer.Context, credential: Credential, project: Project = "") -> None:
    """Delete a credential and its secret."""
    session = session_of(ctx)
    path = path_in_project(session, project, "credentials", credential)
    session.ask(ServiceCall("DELETE", path))
    say(f"{credential} is deleted.")


SUBCOMMANDS = {"put": put_, "readers": readers, "delete": delete}


def _readers(
    roles: list[str] | None,
    runners: list[str] | None,
    applications: list[str] | None,
    run_labels: list[str] | None,
) -> list[dict[str, Any]]:
    """The readers of the options, as a request has them. Raises `Misused`."""
    found: list[dict[str, Any]] = [{"role": role} for role in roles or ()]
    found += [{"runner": runner} for runner in runners or ()]
    for text in applications or ():
        issuer, joint, subject = text.partition("#")
        if not (issuer and joint and subject):
            raise Misused("--application must be ISSUER#SUBJECT.")
        found.append({"issuer": issuer, "subject": subject})
    labels = labels_of(run_labels or [], option="--run-label")
    if labels and not found:
        raise Misused("--run-label needs --role, --runner or --application.")
    return [{**reader, "run_labels": labels} for reader in found] if labels else found


def _shown(credential: dict[str, Any]) -> list[str]:
    """The readers in words. One that is not bound is read by a role."""
    found = credential.get("readers")
    if not isinstance(found, list):
        return ["role credential:token-reader"]
    return [_words(object_of(reader, "reader")) for reader in found]


def _words(reader: dict[str, Any]) -> str:
    kind = next((kind for kind in ("role", "runner") if reader.get(kind)), "")
    who = f"{kind} {reader[kind]}" if kind else f"{reader.get('issuer')}#{reader.get('subject')}"
    labels = reader.get("run_labels")
    if not isinstance(labels, dict) or not labels:
        return who
    return f"{who} for runs with {' '.join(f'{key}={value}' for key, value in labels.items())}"


def _row(credential: dict[str, Any]) -> dict[str, str]:
    return {
        "credential": str(credential.get("name")),
        "provider": str(credential.get("provider")),
        "readers": ", ".join(_shown(credential)) or "nobody",
        "url": str(credential.get("url") or ""),
        "changed by": name_of(member_of(credential, "who", "updated_by")),
    }
