"""Runs of a program: `with byline_client.run("nightly", project="research") as run:`.

`async with` does the same for programs with an event loop. Where Byline cannot be reached the block
runs nevertheless, and the record is made afterwards; `strict=True` raises instead.
"""

import asyncio
import logging
import os
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

import anyio.to_thread

from byline_client.conversation import ServiceCall
from byline_client.credentials.order import Source, choose
from byline_client.errors import ClientError, Misused, RequestRefused
from byline_client.heartbeats import (
    ANSWER_SECONDS,
    EVERY_SECONDS,
    Heartbeats,
    allowed_silence,
)
from byline_client.record import RunEnd, new_plan, opening, perform, perform_async
from byline_client.service import AsyncService, Service
from byline_client.settings import config_folder, read_settings
from byline_client.spool import KeptRun, Spool, caller_of, record_end
from byline_client.tokens import Tokens

logger = logging.getLogger("byline_client")
START_SECONDS = 5.0
"""How long a block waits for Byline before it starts without it."""

Role = Literal["user", "runner"]
Content = str | dict[str, Any]
CANCELLATIONS = (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)


class RecordedRun:
    """A run, from entering the block to leaving it. `id` is empty while it is not recorded.

    A block that ends normally finishes it, an exception fails it, and a cancellation cancels it.
    A thread sends a heartbeat every `heartbeat` seconds; 0 for none. After four missed ones the run
    is lost.
    """

    def __init__(  # noqa: PLR0913 - the members of a run
        self,
        name: str = "",
        *,
        project: str = "",
        labels: Mapping[str, str] | None = None,
        agent: str = "",
        runner: str = "",
        parent_run: str = "",
        heartbeat: float = EVERY_SECONDS,
        strict: bool = False,
        url: str = "",
        profile: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        project = project or environ.get("BYLINE_PROJECT", "")
        if not project:
            raise Misused("Name the project, as `project=` or BYLINE_PROJECT.")
        self.id = ""
        self._settings = read_settings(environ, url=url, profile=profile)
        self._plan = new_plan(
            project,
            name=name,
            labels=labels,
            agent=agent,
            runner=runner,
            parent_run=parent_run,
            heartbeat_seconds=allowed_silence(heartbeat, option="`heartbeat=`"),
        )
        self._heartbeat = heartbeat
        self._heartbeats: Heartbeats | None = None
        self._strict = strict
        self._is_refused = False
        self._chosen: tuple[Source, Tokens] | None = None

    def __repr__(self) -> str:
        return f"RecordedRun(project={self._plan.project!r}, id={self.id!r})"

    def __enter__(self) -> "RecordedRun":
        try:
            with self._service(**self._patience) as service:
                self.id = perform(opening(self._plan), service.ask)
        except ClientError as error:
            self._continue_without(error)
        self._start_heartbeats()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._end(error)

    async def __aenter__(self) -> "RecordedRun":
        try:
            async with self._async_service(**self._patience) as service:
                self.id = await perform_async(opening(self._plan), service.ask)
        except ClientError as error:
            self._continue_without(error)
        self._start_heartbeats()
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        # Shielded: a cancelled block is recorded as cancelled too.
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._end, error)

    def child(self, name: str = "", **members: Any) -> "RecordedRun":
        """A run whose parent is this one. It takes the members of `run`."""
        return RecordedRun(
            name,
            **{
                "project": self._plan.project,
                "parent_run": self.id,
                "heartbeat": self._heartbeat,
                "strict": self._strict,
                "url": self._settings.url,
                "environ": self._settings.environ,
                "profile": self._settings.profile.name if self._settings.profile else "",
                **members,
            },
        )

    def message(self, content: Content, *, role: Role = "user") -> None:
        """Post a message in the run; nothing where it is not recorded. Raises `ClientError`.

        `role`: `runner` for the runner of the run, `user` for everybody else.
        """
        if self.id:
            with self._service() as service:
                service.ask(self._message(content, role))

    async def post_message(self, content: Content, *, role: Role = "user") -> None:
        """The same as `message`, for programs with an event loop."""
        if self.id:
            async with self._async_service() as service:
                await service.ask(self._message(content, role))

    def _message(self, content: Content, role: Role) -> ServiceCall:
        return ServiceCall(
            "POST",
            f"{self._plan.path}/{quote(self.id, safe='')}/messages",
            body={"role": role, "content": content},
            idempotency_key=str(uuid.uuid4()),
        )

    @property
    def _patience(self) -> dict[str, float]:
        """How long to wait for Byline before the block starts without it."""
        if self._strict:
            return {}
        return {"answer_seconds": START_SECONDS, "deadline_seconds": START_SECONDS}

    def _credential(self) -> tuple[Source, Tokens]:
        if self._chosen is None:
            self._chosen = choose(self._settings)
        return self._chosen

    def _service(self, **seconds: float) -> Service:
        return Service(self._settings.url, self._credential()[1], **seconds)

    def _async_service(self, **seconds: float) -> AsyncService:
        return AsyncService(self._settings.url, self._credential()[1], **seconds)

    def _continue_without(self, error: ClientError) -> None:
        if self._strict or isinstance(error, Misused):
            raise error
        self._is_refused = isinstance(error, RequestRefused)
        logger.warning("the run is not recorded: %s", error)

    def _start_heartbeats(self) -> None:
        if not (self.id and self._heartbeat):
            return

        def open_service() -> Service:
            return self._service(answer_seconds=ANSWER_SECONDS, deadline_seconds=ANSWER_SECONDS)

        self._heartbeats = Heartbeats(
            self._plan,
            self.id,
            every=self._heartbeat,
            open_service=open_service,
            say=logger.warning,
        )
        self._heartbeats.__enter__()

    def _end(self, error: BaseException | None) -> None:
        if self._heartbeats is not None:
            self._heartbeats.__exit__()
        if self._is_refused:
            return
        spool = Spool(config_folder(self._settings.environ))
        caller = caller_of(self._credential)
        entry = KeptRun(self._settings.url, caller, self._plan, self.id, _end_by(error))
        record_end(spool, entry, self._ask, say=logger.warning)

    def _ask(self, call: ServiceCall) -> Any:
        with self._service() as service:
            return service.ask(call)


def _end_by(error: BaseException | None) -> RunEnd:
    """How a run ended whose block was left with `error`.

    The reason is the type of the error. Its text may hold secrets, and the service keeps a reason.
    """
    if error is None:
        return RunEnd("finish")
    if isinstance(error, CANCELLATIONS):
        return RunEnd("cancel")
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        code = error.code or 0
        return RunEnd("finish" if code == 0 else "fail", exit_code=code)
    return RunEnd("fail", reason=type(error).__name__)
