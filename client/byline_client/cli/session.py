"""The settings, the credential and the connection of one command line."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer

from byline_client.addresses import project_path
from byline_client.errors import Misused

if TYPE_CHECKING:
    from byline_client.conversation import ServiceCall
    from byline_client.credentials.order import Source
    from byline_client.service import Service
    from byline_client.settings import Settings
    from byline_client.tokens import Tokens


class Session:
    """The settings, the credential and the connection, each made at its first use.

    `project`: the project named before a subcommand, or empty.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._url = self._profile = self.project = ""
        self._service: Service | None = None

    def select(self, *, url: str, profile: str) -> None:
        """Use the values of the global options."""
        self._url, self._profile = url, profile

    @property
    def profile_name(self) -> str:
        """The profile that the command line or the environment names; empty for none."""
        return self._profile or self.environ.get("BYLINE_PROFILE", "")

    @cached_property
    def settings(self) -> "Settings":
        """The settings. Raises `Misused` and `ClientError`."""
        from byline_client.settings import read_settings  # noqa: PLC0415

        return read_settings(self.environ, url=self._url, profile=self._profile)

    @cached_property
    def credential(self) -> "tuple[Source, Tokens]":
        """The source of tokens that is used. Raises `SignInRequired`."""
        from byline_client.credentials.order import choose  # noqa: PLC0415

        return choose(self.settings)

    @property
    def service(self) -> "Service":
        """The connection to the service."""
        if self._service is None:
            from byline_client.service import DEADLINE_SECONDS, Service  # noqa: PLC0415

            _, tokens = self.credential
            self._service = Service(
                self.settings.url,
                tokens,
                answer_seconds=self.answer_seconds,
                deadline_seconds=min(self.answer_seconds, DEADLINE_SECONDS),
            )
        return self._service

    @property
    def answer_seconds(self) -> float:
        """How long to wait for an answer. Raises `Misused`."""
        from byline_client.service import ANSWER_SECONDS  # noqa: PLC0415

        return _seconds(self.environ.get("BYLINE_TIMEOUT", ""), default=ANSWER_SECONDS)

    def ask(self, call: "ServiceCall") -> Any:
        """The answer of the service. Raises `ClientError`, also where there is no credential."""
        return self.service.ask(call)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._service is not None:
            self._service.close()


def session_of(ctx: typer.Context) -> Session:
    """The session of a command."""
    session = ctx.find_object(Session)
    assert session is not None  # noqa: S101 - set by `run`
    return session


def project_of(session: Session, given: str) -> str:
    """The project of a command: the given one, or that of BYLINE_PROJECT. Raises `Misused`."""
    project = given or session.project or session.environ.get("BYLINE_PROJECT", "")
    if not project:
        raise Misused("Name the project with --project or BYLINE_PROJECT.")
    return project


def path_in_project(session: Session, given: str, *names: str) -> str:
    """The path of a resource of the command's project. Raises `Misused`."""
    return project_path(project_of(session, given), *names)


def _seconds(text: str, *, default: float) -> float:
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise Misused("BYLINE_TIMEOUT must be a number of seconds, more than 0 and up to 3600.")
    return seconds
