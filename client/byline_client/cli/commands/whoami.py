"""`byline whoami`: the caller as the service sees it."""

import time
from datetime import datetime, timezone
from typing import Annotated, Any

import typer

from byline_client.cli.options import AsJson
from byline_client.cli.session import Session, session_of
from byline_client.cli.terminal import put_facts, put_json, say
from byline_client.conversation import ServiceCall
from byline_client.credentials.order import consider
from byline_client.errors import ServiceUnavailable
from byline_client.tokens import unverified_expiry

EXAMPLES = ("byline whoami", "byline whoami --explain")


def command(
    ctx: typer.Context,
    explain: Annotated[
        bool, typer.Option("--explain", help="List the sources of credentials, and which is used.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show who you are to the service, through which credential, and until when."""
    session = session_of(ctx)
    if explain:
        _explain(session)
    source, tokens = session.credential
    caller = session.service.ask(ServiceCall("GET", "/v1/whoami"))
    expiry = unverified_expiry(tokens.token())
    until = None if expiry is None else datetime.fromtimestamp(expiry, tz=timezone.utc)
    if as_json:
        put_json({**caller, "credential": source.name, "expires_at": until and until.isoformat()})
        return
    put_facts(
        {
            **_identity(_member(caller, "who", "executed_by")),
            **_acts_for(caller),
            "service": session.settings.url,
            "credential": source.name,
            "until": _until(until),
        }
    )


def _explain(session: Session) -> None:
    """Say for each source whether it is there, in the order in which they are looked for."""
    for each in consider(session.settings):
        state = "used" if each.is_used else "present" if each.is_present else "absent"
        say(f"{state:<8} {each.source.name:<20} {each.source.needs}")


def _identity(who: Any) -> dict[str, str]:
    return {name: str(_member(who, name)) for name in ("name", "subject", "kind", "issuer")}


def _acts_for(caller: Any) -> dict[str, str]:
    person = _member(caller, "who", "on_behalf_of")
    return {} if person is None else {"acts for": str(_member(person, "name"))}


def _until(time_of_expiry: "datetime | None") -> str:
    if time_of_expiry is None:
        return "unknown"
    minutes = (time_of_expiry.timestamp() - time.time()) / 60
    return f"{time_of_expiry:%Y-%m-%d %H:%M:%S} UTC (in {minutes:.0f} minutes)"


def _member(document: Any, *names: str) -> Any:
    """A member of an answer. Raises `ServiceUnavailable` where the answer has another shape."""
    for name in names:
        if not isinstance(document, dict) or name not in document:
            raise ServiceUnavailable(f"The answer of the service has no `{name}`.")
        document = document[name]
    return document
