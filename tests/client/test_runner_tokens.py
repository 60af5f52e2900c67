"""Runners' tokens for programs: `byline token`, `byline token watch` and `RunnerAuth`."""

import asyncio
import json
import signal
import stat
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import byline_client
import httpx
import pytest
from byline_client.runner_tokens import RunnerToken
from byline_client.secret_text import SecretText

from tests.client.commands import CommandLine
from tests.client.servers import Received, Told, problem, told


def token_answer(token: str, *, seconds: float = 600) -> Told:
    """The answer of the service with a token that ends in `seconds`."""
    end = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    document = {"token": token, "token_type": "Bearer", "issued_at": "2026-01-01T00:00:00.000Z"}
    return Told(200, json.dumps({**document, "expires_at": f"{end:%Y-%m-%dT%H:%M:%S.000}Z"}))


def ready(byline: CommandLine, url: str) -> CommandLine:
    """The command with a project and a credential."""
    return byline.having(BYLINE_URL=url, BYLINE_TOKEN="a.b.c", BYLINE_PROJECT="research")


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_token_is_shown_only_on_request(byline: CommandLine, tmp_path: Path) -> None:
    """A token goes into a private file, or to the output if that is asked for."""
    with told(lambda _: token_answer("runner-token")) as server:
        job = ready(byline, server.url)
        refused = job("token", "trainer")
        assert refused.returncode == 2
        assert server.received == []
        assert job("token", "trainer", "--show").stdout == "runner-token\n"
        written = job("token", "trainer", "--file", str(tmp_path / "token"))
        assert server.received[0].path == "/v1/projects/research/runners/trainer/token"
    assert (written.returncode, written.stdout) == (0, "")
    assert "runner-token" not in refused.stderr + written.stderr
    assert (tmp_path / "token").read_text() == "runner-token"
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_watch_replaces_the_file_and_runs_the_command(byline: CommandLine, tmp_path: Path) -> None:
    """The file has each new token before the old one ends, and a program is told each time."""
    answers = [token_answer("token-one", seconds=2), token_answer("token-one", seconds=1)]
    log, file = tmp_path / "log", tmp_path / "token"

    def answer(_: Received) -> Told:
        return answers.pop(0) if answers else token_answer("token-two")

    with told(answer) as server:
        words = ["--file", str(file), "--exec", f"sh -c 'cat {file} >> {log}; echo >> {log}'"]
        with ready(byline, server.url).start("token", "watch", "trainer", *words) as process:
            wait_until(lambda: log.exists() and log.read_text() == "token-one\ntoken-two\n")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "token-one" not in out + err
    assert "token-two" not in out + err
    assert file.read_text() == "token-two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "token"]


def test_watch_goes_on_through_an_outage(byline: CommandLine, tmp_path: Path) -> None:
    """The file keeps the last token while the service fails, and has the next one afterwards."""
    seen: list[str] = []

    def answer(_: Received) -> Told:
        seen.append("")
        if len(seen) == 1:
            return token_answer("first", seconds=2)
        return problem(403, "forbidden") if len(seen) < 4 else token_answer("second")

    file = tmp_path / "token"
    with told(answer) as server:
        arguments = ("token", "watch", "trainer", "--file", str(file))
        with ready(byline, server.url).start(*arguments) as process:
            wait_until(lambda: len(seen) == 2)
            assert file.read_text() == "first"
            wait_until(lambda: file.read_text() == "second")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "was not read" in err


def test_watch_of_a_runner_that_may_not_be_read_ends(byline: CommandLine, tmp_path: Path) -> None:
    """A mistake in the name or the role is an error at once, not an endless wait."""
    with told(lambda _: problem(404, "not_found")) as server:
        job = ready(byline, server.url)
        done = job("token", "watch", "trainer", "--file", str(tmp_path / "token"))
    assert done.returncode == 1
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["trainer", "--show", "--file", "x"],
        ["trainer", "--exec", "x", "--show"],
        ["watch", "trainer"],
        ["watch", "trainer", "--show", "--file", "x"],
        ["watch", "trainer", "--file", "x", "--exec", "it's"],
        ["..", "--show"],
        ["trainer", "--show", "--project", "."],
        ["a", "b"],
        ["watch", "a", "b"],
    ],
)
def test_contradictory_options_are_wrong_usage(byline: CommandLine, arguments: list[str]) -> None:
    """No token is read for a command line that contradicts itself."""
    assert ready(byline, "http://127.0.0.1:9")("token", *arguments).returncode == 2


@pytest.mark.parametrize(("left", "pause"), [(3600, 300), (330, 165), (10, 5), (1, 1), (-5, 1)])
def test_token_is_read_again_at_half_of_its_life(left: float, pause: float) -> None:
    """A next token is found long before the end, and an ended one does not cause a busy loop."""
    assert RunnerToken(SecretText("x"), 1000 + left).pause(1000) == pytest.approx(pause)


def test_last_usable_second_of_a_token() -> None:
    """A token is used up to 30 seconds before its end."""
    token = RunnerToken(SecretText("x"), 1000)
    assert token.is_usable(969)
    assert not token.is_usable(970)


class TestRunnerAuth:
    """`httpx.Client(auth=RunnerAuth(…))`."""

    @staticmethod
    def environ(url: str, folder: Path) -> dict[str, str]:
        """The settings of a program."""
        return {"BYLINE_URL": url, "BYLINE_TOKEN": "a.b.c", "BYLINE_CONFIG_DIR": str(folder)}

    def test_requests_share_a_token_until_it_ends(self, tmp_path: Path) -> None:
        """One read serves many requests, and a token near its end is read again."""
        lives = [600.0, 600.0]
        with (
            told(lambda _: token_answer("good", seconds=lives.pop(0))) as service,
            told(lambda _: Told()) as api,
        ):
            environ = self.environ(service.url, tmp_path)
            auth = byline_client.RunnerAuth("trainer", project="research", environ=environ)
            with httpx.Client(auth=auth) as client:
                for _ in range(3):
                    client.get(api.url)
            assert len(service.received) == 1
            sent = {request.headers["authorization"] for request in api.received}
        assert sent == {"Bearer good"}
        assert "good" not in repr(auth)

    def test_refused_token_is_read_again_once(self, tmp_path: Path) -> None:
        """A token that the API refuses is replaced, and a second refusal is the answer."""
        tokens = ["old", "new", "newer"]
        with (
            told(lambda _: token_answer(tokens.pop(0))) as service,
            told(lambda got: Told(200 if "new" in got.headers["authorization"] else 401)) as api,
        ):
            environ = self.environ(service.url, tmp_path)
            auth = byline_client.RunnerAuth("trainer", project="research", environ=environ)
            with httpx.Client(auth=auth) as client:
                assert client.get(api.url).status_code == 200
            assert len(service.received) == 2
        with (
            told(lambda _: token_answer("bad")) as service,
            told(lambda _: Told(401)) as api,
        ):
            environ = self.environ(service.url, tmp_path)
            auth = byline_client.RunnerAuth("trainer", project="research", environ=environ)
            with httpx.Client(auth=auth) as client:
                assert client.get(api.url).status_code == 401
            assert len(api.received) == 2

    def test_event_loop(self, tmp_path: Path) -> None:
        """The same works with `httpx.AsyncClient`."""

        async def program(environ: dict[str, str], url: str) -> int:
            auth = byline_client.RunnerAuth("trainer", project="research", environ=environ)
            async with httpx.AsyncClient(auth=auth) as client:
                return (await client.get(url)).status_code

        with told(lambda _: token_answer("good")) as service, told(lambda _: Told()) as api:
            assert asyncio.run(program(self.environ(service.url, tmp_path), api.url)) == 200
