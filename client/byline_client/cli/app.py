"""The command line: its global options, its commands, and the exit code of each error."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from byline_client.cli.session import Session
from byline_client.cli.terminal import put, say
from byline_client.errors import ClientError
from byline_client.version import VERSION

COMMANDS: Mapping[str, str] = {
    "login": "byline_client.cli.commands.login",
    "logout": "byline_client.cli.commands.logout",
    "run": "byline_client.cli.commands.run",
    "catch-up": "byline_client.cli.commands.catch_up",
    "runs": "byline_client.cli.commands.runs",
    "show": "byline_client.cli.commands.show",
    "who": "byline_client.cli.commands.who",
    "messages": "byline_client.cli.commands.messages",
    "cancel": "byline_client.cli.commands.cancel",
    "runners": "byline_client.cli.commands.runners",
    "token": "byline_client.cli.commands.token",
    "credentials": "byline_client.cli.commands.credentials",
    "access": "byline_client.cli.commands.access",
    "grant": "byline_client.cli.commands.grant",
    "revoke": "byline_client.cli.commands.revoke",
    "agents": "byline_client.cli.commands.agents",
    "act-for-me": "byline_client.cli.commands.act_for_me",
    "projects": "byline_client.cli.commands.projects",
    "audit": "byline_client.cli.commands.audit",
    "apply": "byline_client.cli.commands.apply",
    "export": "byline_client.cli.commands.export",
    "whoami": "byline_client.cli.commands.whoami",
}
"""The module of each command, in the order of the help text."""


class LazyCommands(TyperGroup):
    """The group of all commands. It imports a command's module when the command is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; None for an unknown one."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name])
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        options = getattr(module, "CONTEXT", {})
        # \b keeps the lines of the examples as they are.
        examples = "\b\nExamples:\n" + "".join(f"  {line}\n" for line in module.EXAMPLES)
        subcommands: Mapping[str, Any] = getattr(module, "SUBCOMMANDS", {})
        if subcommands:
            single.callback(epilog=examples, invoke_without_command=True)(module.command)
        else:
            single.command(cmd_name, epilog=examples, context_settings=options)(module.command)
        for name, subcommand in subcommands.items():
            single.command(name)(subcommand)
        command = get_command(single)
        command.name = cmd_name
        return command


application = typer.Typer(
    name="byline",
    cls=LazyCommands,
    no_args_is_help=True,
    # A traceback of Rich would show the values of local variables.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(value: bool) -> None:  # noqa: FBT001 - Typer calls it with the option's value
    if value:
        put(f"byline {VERSION}")
        raise typer.Exit


@application.callback()
def options(
    ctx: typer.Context,
    url: Annotated[
        str, typer.Option(help="The service. Default: BYLINE_URL, or the profile's.")
    ] = "",
    profile: Annotated[
        str, typer.Option(help="The sign-in. Default: BYLINE_PROFILE, or the last one.")
    ] = "",
    _: Annotated[  # noqa: FBT002 - a switch
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Its version."),
    ] = False,
) -> None:
    """Record who ran what, and use the tokens of runners.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 service unavailable, 4 not signed in.
    Ids and data go to standard output, all other text to standard error.
    """
    ctx.obj.select(url=url, profile=profile)


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command line. Returns the exit code."""
    session = Session(environ)
    try:
        code = get_command(application).main(
            list(arguments), prog_name="byline", obj=session, standalone_mode=True
        )
    except ClientError as error:
        say(f"byline: {error}")
        return error.exit_code
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Python would report it again at exit.
        sys.stderr.close()
        return 141
    finally:
        session.close()
    return int(code or 0)
