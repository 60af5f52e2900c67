"""`byline catch-up`: the records of runs that ended while the service could not be reached."""

import typer

from byline_client.cli.session import session_of
from byline_client.cli.terminal import put, say
from byline_client.settings import config_folder
from byline_client.spool import Spool, caller_of

EXAMPLES = ("byline catch-up", "byline --profile work catch-up")


def command(ctx: typer.Context) -> None:
    """Record the runs that ended while the service could not be reached."""
    session = session_of(ctx)
    spool = Spool(config_folder(session.environ))
    caller = caller_of(lambda: session.credential)
    recorded = spool.deliver(session.settings.url, caller, session.ask, say=say)
    put(str(recorded))
    others = sum(1 for _ in spool.entries())
    if others:
        say(f"{others} runs of other callers or services remain.")
