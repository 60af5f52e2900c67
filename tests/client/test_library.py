"""`byline_client.run` in a program, with and without an event loop."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import byline_client
import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, TellingServer, Told, problem, told


def environment(
    url: str,
    folder: Path,
    token: str = "a.b.c",  # noqa: S107 - no secret
) -> Mapping[str, str]:
    """The settings of a program."""
    config = str(folder / "config")
    return {"BYLINE_URL": url, "BYLINE_TOKEN": token, "BYLINE_CONFIG_DIR": config}


def created(_: Received) -> Told:
    """The answer to each request of a run."""
    return Told(201, json.dumps({"id": "01JABC"}))


def changes(server: TellingServer) -> list[str]:
    """The last parts of the requested paths."""
    return [request.path.rpartition("/")[2] for request in server.received]


def test_block_is_recorded(tmp_path: Path) -> None:
    """A block that ends is a run that succeeded. Messages and children are its own."""
    with told(created) as server:
        environ = environment(server.url, tmp_path)
        with byline_client.run("nightly", project="research", environ=environ) as run:
            assert run.id == "01JABC"
            run.message("epoch 1")
            with run.child("step"):
                pass
        child = json.loads(server.received[3].body)
    assert changes(server) == ["runs", "start", "messages", "runs", "start", "finish", "finish"]
    assert child == {"name": "step", "parent_run": "01JABC", "heartbeat_seconds": 120}


@pytest.mark.parametrize(
    ("error", "change", "end"),
    [
        (ValueError("sk-secret"), "fail", {"reason": "ValueError"}),
        (SystemExit(1), "fail", {"exit_code": 1}),
        (SystemExit(1_000), "fail", None),
        (SystemExit("sk-secret"), "fail", {"reason": "SystemExit"}),
        (SystemExit(0), "finish", {"exit_code": 0}),
        (SystemExit(None), "finish", {"exit_code": 0}),
        (KeyboardInterrupt(), "cancel", None),
    ],
)
def test_error_ends_the_run_and_passes_on(
    tmp_path: Path, error: BaseException, change: str, end: object
) -> None:
    """An error fails the run, Ctrl-C cancels it, and the program sees the error.

    The reason names the type of an error and never its text.
    """
    with told(created) as server:
        environ = environment(server.url, tmp_path)
        with (
            pytest.raises(type(error)),
            byline_client.run("nightly", project="research", environ=environ),
        ):
            raise error
    assert changes(server)[-1] == change
    body = server.received[-1].body
    assert (json.loads(body) if body else None) == end


def test_heartbeats_are_sent_until_the_block_ends(tmp_path: Path) -> None:
    """The service learns the allowed silence, and hears of the block and of its child."""
    with told(created) as server:
        environ = environment(server.url, tmp_path)
        with byline_client.run(project="research", heartbeat=2.5, environ=environ) as run:
            time.sleep(3)
            with run.child():
                pass
        bodies = [json.loads(each.body) for each in server.received if each.path.endswith("/runs")]
        sent = changes(server)
        time.sleep(3)
        assert changes(server) == sent
    assert sent == ["runs", "start", "heartbeat", "runs", "start", "finish", "finish"]
    assert [body["heartbeat_seconds"] for body in bodies] == [10, 10]


def test_heartbeats_are_sent_beside_an_event_loop(tmp_path: Path) -> None:
    """A loop that waits, or is busy, sends heartbeats too."""

    async def work(url: str) -> None:
        environ = environment(url, tmp_path)
        async with byline_client.run(project="research", heartbeat=2.5, environ=environ):
            time.sleep(3)

    with told(created) as server:
        asyncio.run(work(server.url))
        assert changes(server) == ["runs", "start", "heartbeat", "finish"]


def test_run_without_heartbeats_sends_none(tmp_path: Path) -> None:
    """`heartbeat=0` leaves the run running until somebody ends it."""
    with told(created) as server:
        environ = environment(server.url, tmp_path)
        with byline_client.run(project="research", heartbeat=0, environ=environ):
            pass
        assert server.received[0].body == "{}"


@pytest.mark.parametrize("seconds", [2.4, 901, -1])
def test_heartbeats_that_the_service_refuses_raise(tmp_path: Path, seconds: float) -> None:
    """The bounds are those of the service, and the error names the parameter."""
    environ = environment("http://127.0.0.1:1", tmp_path)
    with pytest.raises(byline_client.ClientError, match="`heartbeat=`"):
        byline_client.run(project="research", heartbeat=seconds, environ=environ)


def test_event_loop_is_not_held_up(tmp_path: Path) -> None:
    """`async with` records the run, and other tasks go on meanwhile."""

    async def program(environ: Mapping[str, str]) -> None:
        async with byline_client.run("nightly", project="research", environ=environ) as run:
            await run.post_message({"epoch": 1})

    with told(created) as server:
        asyncio.run(program(environment(server.url, tmp_path)))
    assert changes(server) == ["runs", "start", "messages", "finish"]


def test_cancelled_task_cancels_the_run(tmp_path: Path) -> None:
    """A task that is cancelled leaves a cancelled run."""

    async def program(environ: Mapping[str, str]) -> None:
        is_running = asyncio.Event()

        async def work() -> None:
            async with byline_client.run("nightly", project="research", environ=environ):
                is_running.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await is_running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with told(created) as server:
        asyncio.run(program(environment(server.url, tmp_path)))
    assert changes(server)[-1] == "cancel"


@pytest.mark.parametrize("answer", [problem(403, "forbidden"), problem(401, "expired")])
def test_block_runs_where_the_run_is_not_recorded(tmp_path: Path, answer: Told) -> None:
    """A program goes on without Byline. With `strict` it does not begin."""
    with told(lambda _: answer) as server:
        environ = environment(server.url, tmp_path)
        with byline_client.run("nightly", project="research", environ=environ) as run:
            assert run.id == ""
            run.message("nobody reads this")
        with (
            pytest.raises(byline_client.ClientError),
            byline_client.run("nightly", project="research", environ=environ, strict=True),
        ):
            raise AssertionError("the block began")


def test_no_token_in_representation_or_traceback(byline: CommandLine) -> None:
    """A crash report that shows the run has no token."""
    token = "e30.c2VjcmV0LXRva2Vu.c2ln"
    program = (
        "import byline_client, traceback\n"
        "try:\n"
        "    with byline_client.run('n', project='p', strict=True) as run: pass\n"
        "except byline_client.ClientError:\n"
        "    traceback.print_exc()\n"
        "run = byline_client.run('n', project='p')\n"
        "print(repr(run), repr(run._credential()), vars(run._credential()[1]))\n"
    )
    with told(lambda _: Told(500)) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN=token)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=ready.whole_environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "Traceback" in done.stderr
    assert "c2VjcmV0LXRva2Vu" not in done.stdout + done.stderr


def test_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name of the library is an error that Python programs know."""
    name: Any = "unknown"
    with pytest.raises(AttributeError):
        getattr(byline_client, name)


@pytest.mark.stack
def test_run_of_a_program_is_recorded_by_the_service(stack: RunningStack, tmp_path: Path) -> None:
    """The service knows the run, its message and its end."""
    environ = environment(stack.url, tmp_path, stack.machine_token())
    with byline_client.run("library", project="research", environ=environ, strict=True) as run:
        run.message("epoch 1")
    assert run.id
