"""`byline token`: the token of a runner, once or kept fresh in a file."""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from byline_client.cli.options import Project
from byline_client.cli.session import Session, project_of, session_of
from byline_client.cli.terminal import say
from byline_client.errors import ClientError, Misused, ServiceUnavailable
from byline_client.private_files import write_private
from byline_client.runner_tokens import RunnerToken, TokenSource, read_call, runner_token

EXAMPLES = (
    "byline token trainer --project research --file /run/tokens/trainer",
    "byline token watch trainer --project research --file /run/trainer --exec 'pkill -HUP x'",
)
LONGEST_WAIT_SECONDS = 30.0


def command(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="[watch] RUNNER", help="The runner.")],
    project: Project = "",
    file: Annotated[
        Path | None, typer.Option(help="Write the token into this file, for its owner only.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Write the token to standard output.")
    ] = False,
    source: Annotated[
        TokenSource,
        typer.Option("--from", help="Read it from the API, or as an AWS role from its secrets."),
    ] = "api",
    execute: Annotated[
        str, typer.Option("--exec", metavar="COMMAND", help="Run it after each new token.")
    ] = "",
) -> None:
    """Read the token of a runner, or keep it fresh in a file with `watch`."""
    session = session_of(ctx)
    is_watch = words[:1] == ["watch"] and len(words) == 2
    if len(words) != 1 + is_watch:
        raise Misused("Name one runner: `byline token RUNNER` or `byline token watch RUNNER`.")
    if is_watch and (file is None or show):
        raise Misused("`byline token watch` needs --file, and does not take --show.")
    if not is_watch and (file is None) is not show:
        raise Misused("Name a file with --file, or let the token be shown with --show.")
    if execute and not is_watch:
        raise Misused("--exec needs `watch`.")
    after = _words(execute)
    read = _reader(session, project_of(session, project), words[-1], source)
    if is_watch and file is not None:
        watch(read, file, after)
        return
    token = read().token
    if file is None:
        sys.stdout.write(f"{token.reveal()}\n")
    else:
        write_private(file, token.reveal())


def watch(read: Callable[[], RunnerToken], file: Path, after: list[str]) -> None:
    """Keep `file` fresh until SIGTERM or SIGINT, and run `after` when it has a new token.

    Before the first token it raises all errors but `ServiceUnavailable`. Later it tries again after
    each: the file keeps the last token.
    """
    written, wait = "", 1.0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    while True:
        try:
            token = read()
        except ClientError as error:
            if not written and not isinstance(error, ServiceUnavailable):
                raise
            say(f"byline: the token was not read: {error}")
            time.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            continue
        wait = 1.0
        if token.token.reveal() != written:
            write_private(file, token.token.reveal())
            written = token.token.reveal()
            say(f"byline: wrote a token that ends in {token.expires_at - time.time():.0f} seconds")
            _run(after)
        time.sleep(token.pause(time.time()))


def _reader(
    session: Session, project: str, runner: str, source: TokenSource
) -> Callable[[], RunnerToken]:
    """The function that reads the runner's newest token. Raises `Misused`."""
    if source == "secrets-manager":
        from byline_client.runner_secrets import RunnerSecrets  # noqa: PLC0415 - an extra

        return RunnerSecrets(session.ask, project, runner).read
    call = read_call(project, runner)
    return lambda: runner_token(session.ask(call))


def _words(command: str) -> list[str]:
    """The words of a command, without a shell. Raises `Misused`."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise Misused(f"--exec is not a command: {error}.") from None


def _end(*_: object) -> None:
    raise SystemExit(0)


def _run(words: list[str]) -> None:
    if not words:
        return
    try:
        done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    except OSError as error:
        say(f"byline: {words[0]} did not start: {error.strerror}")
    else:
        if done.returncode:
            say(f"byline: {words[0]} ended with {done.returncode}")
