"""`byline run`: a command, with its run recorded."""

import os
import shutil
from contextlib import ExitStack
from typing import Annotated

import typer

from byline_client.child_process import NOT_FOUND, CommandEnd, Interruptions
from byline_client.cli.options import Project
from byline_client.cli.session import Session, project_of, session_of
from byline_client.cli.terminal import say
from byline_client.errors import ClientError, Misused, RequestRefused
from byline_client.heartbeats import (
    ANSWER_SECONDS,
    EVERY_SECONDS,
    Heartbeats,
    allowed_silence,
)
from byline_client.labels import labels_of
from byline_client.record import RunEnd, RunPlan, new_plan, opening, perform
from byline_client.service import Service
from byline_client.settings import config_folder
from byline_client.spool import KeptRun, Spool, caller_of, record_end

EXAMPLES = (
    "byline run --project research --name nightly -- ./train.sh --epochs 3",
    "byline run --project research --name nightly --label team=ml --strict -- make data",
)
# Everything after the first word of the command belongs to the command.
CONTEXT = {"allow_interspersed_args": False, "ignore_unknown_options": False}
START_SECONDS = 5.0
"""How long a command waits for Byline before it starts without it."""


def command(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run.")],
    project: Project = "",
    name: Annotated[str, typer.Option(help="The name of the run.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; repeat for more.")
    ] = None,
    agent: Annotated[str, typer.Option(help="The agent that the run is of.")] = "",
    runner: Annotated[str, typer.Option(help="The runner that executes the run.")] = "",
    parent: Annotated[
        str, typer.Option(help="The id of the parent run. Default: BYLINE_RUN_ID.")
    ] = "",
    heartbeat: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="How often to show that the command runs; 0 for never. After four missed "
            "heartbeats the run is lost.",
        ),
    ] = EVERY_SECONDS,
    strict: Annotated[
        bool, typer.Option("--strict", help="Do not run the command if the run is not recorded.")
    ] = False,
) -> None:
    """Run a command, and record the run, its end and who started it."""
    session = session_of(ctx)
    environ = session.environ
    project = project_of(session, project)
    is_nested = environ.get("BYLINE_PROJECT") == project
    plan = new_plan(
        project,
        name=name,
        labels=labels_of(label or [], option="--label"),
        agent=agent,
        runner=runner,
        parent_run=parent or (environ.get("BYLINE_RUN_ID", "") if is_nested else ""),
        heartbeat_seconds=allowed_silence(heartbeat, option="--heartbeat"),
    )
    if shutil.which(words[0]) is None and not os.path.dirname(words[0]):  # noqa: PTH120
        say(f"byline: there is no command {words[0]}.")
        raise typer.Exit(NOT_FOUND)
    with Interruptions() as interruptions:
        run_id, can_be_recorded = _open(session, plan, is_strict=strict)
        child_environ = {**environ, "BYLINE_PROJECT": project}
        child_environ.pop("BYLINE_RUN_ID", None)
        if run_id:
            child_environ["BYLINE_RUN_ID"] = run_id
        with ExitStack() as stack:
            if run_id and heartbeat:
                stack.enter_context(_heartbeats(session, plan, run_id, heartbeat))
            ended = interruptions.run(words, child_environ)
        if can_be_recorded:
            _close(session, plan, run_id, ended)
    raise typer.Exit(ended.exit_code)


def _open(session: Session, plan: RunPlan, *, is_strict: bool) -> tuple[str, bool]:
    """Create and start the run. Returns its id, empty if it has none yet.

    The second value says whether it is worth recording its end: not if the service refuses the run.
    Raises `ClientError` with `is_strict`.
    """
    try:
        if is_strict:
            return str(perform(opening(plan), session.service.ask)), True
        _, tokens = session.credential
        url, seconds = session.settings.url, min(START_SECONDS, session.answer_seconds)
        with Service(url, tokens, answer_seconds=seconds, deadline_seconds=seconds) as service:
            return str(perform(opening(plan), service.ask)), True
    except Misused:
        raise
    except ClientError as error:
        if is_strict:
            raise
        is_refused = isinstance(error, RequestRefused)
        say(f"byline: {error}")
        later = "and is not recorded" if is_refused else "and is recorded afterwards"
        say(f"byline: the command runs without a record, {later}.")
        return "", not is_refused


def _heartbeats(session: Session, plan: RunPlan, run_id: str, every: float) -> Heartbeats:
    """The heartbeats of the run, on a connection of their own."""
    url, (_, tokens) = session.settings.url, session.credential
    seconds = min(ANSWER_SECONDS, session.answer_seconds)

    def open_service() -> Service:
        return Service(url, tokens, answer_seconds=seconds, deadline_seconds=seconds)

    return Heartbeats(plan, run_id, every=every, open_service=open_service, say=say)


def _close(session: Session, plan: RunPlan, run_id: str, ended: CommandEnd) -> None:
    """Record the end of the run, and those of earlier runs that could not be recorded."""
    end = RunEnd("finish" if ended.exit_code == 0 else "fail", ended.reason, ended.exit_code)
    if ended.was_interrupted:
        end = RunEnd("cancel")
    spool = Spool(config_folder(session.environ))
    caller = caller_of(lambda: session.credential)
    entry = KeptRun(session.settings.url, caller, plan, run_id, end)
    if record_end(spool, entry, session.ask, say=say):
        try:
            spool.deliver(entry.url, caller, session.ask, say=say)
        except ClientError as error:
            say(f"byline: earlier runs are not recorded yet: {error}")
