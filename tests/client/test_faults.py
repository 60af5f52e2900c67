"""Refused, slow, unreachable and half-broken servers: a clear error, its exit code, no token."""

import io
import json
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from byline_client.apply.files import read_sources
from byline_client.errors import Misused

from tests.client.commands import CommandLine
from tests.client.servers import Received, Told, problem, told

TOKEN = "eyJhbGciOiJub25lIn0.e30.c2lnbmF0dXJl"
CALLER: "dict[str, Any]" = {
    "who": {
        "executed_by": {
            "kind": "application",
            "issuer": "https://idp.example",
            "subject": "nightly-train",
            "name": "nightly-train",
            "email": None,
        },
        "on_behalf_of": None,
    }
}


def impatient(byline: CommandLine, url: str) -> CommandLine:
    """The command with a token for `url`, which waits half a second for an answer."""
    return byline.having(BYLINE_URL=url, BYLINE_TOKEN=TOKEN, BYLINE_TIMEOUT="0.5")


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Told(302, "", headers={"location": "https://idp.example/authorize?state=1"}), 4,
         ["redirects to https://idp.example", "byline login", "BYLINE_TOKEN"]),
        (Told(200, "<html>Sign in</html>", "text/html; charset=utf-8"), 4, ["answers with a page"]),
        (problem(401, "expired"), 4, ["expired", "req-1", "byline login"]),
        (Told(401, "no", "text/plain"), 4, ["byline login"]),
        (problem(403, "forbidden"), 1, ["A sentence.", "forbidden", "req-1"]),
        (Told(404, "nothing here", "text/plain"), 1, ["404"]),
        (problem(500, "internal"), 3, ["internal", "req-1"]),
        (Told(502, "<html>", "text/html"), 3, ["502"]),
        (Told(200, "{", "application/json"), 3, ["not JSON"]),
        (Told(200, "hello", "text/plain"), 3, ["not JSON"]),
        (Told(200, "[]"), 3, ["no `who`"]),
        (Told(0), 3, ["without an answer"]),
    ],
)  # fmt: skip
def test_bad_answer_is_a_clear_error_with_its_exit_code(
    byline: CommandLine, answer: Told, code: int, words: "list[str]"
) -> None:
    """Each kind of bad answer says what happened, and its exit code says what may help."""
    with told(lambda _: answer) as server:
        done = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN=TOKEN, BYLINE_TIMEOUT="1")(
            "whoami"
        )
    assert done.returncode == code
    assert done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


def test_unreachable_server_is_an_error_of_its_own(byline: CommandLine) -> None:
    """A service that nobody can reach ends the command with 3."""
    done = byline.having(BYLINE_URL="http://127.0.0.1:9", BYLINE_TOKEN=TOKEN, BYLINE_TIMEOUT="1")(
        "whoami"
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "byline: http://127.0.0.1:9 cannot be reached.\n"


def test_slow_server_is_given_up(byline: CommandLine) -> None:
    """A service that does not answer within BYLINE_TIMEOUT ends the command with 3."""

    def sleep(_: Received) -> Told:
        time.sleep(2)
        return Told()

    with told(sleep) as server:
        done = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN=TOKEN, BYLINE_TIMEOUT="0.5")(
            "whoami"
        )
    assert done.returncode == 3
    assert "did not answer in time" in done.stderr


@pytest.mark.parametrize("passing", [problem(503, "store_unavailable"), Told(502, ""), Told(0)])
def test_passing_fault_is_tried_again(byline: CommandLine, passing: Told) -> None:
    """A fault that passes does not reach the person."""
    attempts = count()

    def second_succeeds(_: Received) -> Told:
        return Told(200, json.dumps(CALLER)) if next(attempts) else passing

    with told(second_succeeds) as server:
        done = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN=TOKEN)("whoami")
        assert len(server.received) == 2
    assert done.returncode == 0, done.stderr
    assert "nightly-train" in done.stdout


def test_redirect_is_never_followed(byline: CommandLine) -> None:
    """The token goes to the named service alone."""
    with told(lambda _: Told(200, json.dumps(CALLER))) as elsewhere:
        redirect = Told(307, "", headers={"location": f"{elsewhere.url}/v1/whoami"})
        with told(lambda _: redirect) as server:
            done = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN=TOKEN)("whoami")
        assert elsewhere.received == []
    assert done.returncode == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", ".."],
        ["show", "x", "--project", ".."],
        ["cancel", "x", "."],
        ["runs", "--project", "."],
        ["audit", "--project", ".."],
        ["projects", "show", ".."],
        ["projects", "delete", ".", "--yes"],
        ["token", "..", "--show"],
        ["export", "--project", ".."],
        ["run", "--project", "..", "--", "true"],
        ["runners", "delete", ".."],
        ["runners", "delete", "\udcff"],
        ["grant", "project:viewer", "\udcff"],
        ["runs", "--label", "\udcff"],
    ],
    ids=" ".join,
)
def test_name_that_would_change_the_path_is_wrong_usage(
    byline: CommandLine, arguments: "list[str]"
) -> None:
    """`..` and bytes that are no text are refused by name, before anything is sent."""
    with told(lambda _: problem(500, "internal")) as server:
        done = byline.facing(server.url)(*arguments)
        assert server.received == []
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_standard_input_that_is_no_text_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bytes that are not UTF-8 are a fault of the document."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"kind: \xff\n")))
    with pytest.raises(Misused, match="standard input:1: The text is not UTF-8"):
        read_sources(["-"])


def test_names_of_the_service_cannot_control_the_terminal(byline: CommandLine) -> None:
    """A name with escape sequences is shown without them."""
    name = "ada\x1b]0;title\x07\u202egnp"
    caller = {
        "who": {**CALLER["who"], "executed_by": {**CALLER["who"]["executed_by"], "name": name}}
    }
    with told(lambda _: Told(200, json.dumps(caller))) as server:
        done = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN=TOKEN)("whoami")
    assert not {"\x1b", "\x07", "\u202e"} & {*done.stdout}


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    "arguments",
    [
        ["credentials", "put", "code", "--provider", "github", "--file"],
        ["act-for-me", "assistant", "--token-file"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_process_shows_a_token_in_its_arguments(
    byline: CommandLine, tmp_path: Path, arguments: "list[str]"
) -> None:
    """While a command sends a secret, neither it nor a child of it has it in the process list."""
    (tmp_path / "secret").write_text("ghp_of-no-account")
    shown: list[str] = []

    def look(_: Received) -> Told:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                shown.append(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return Told(200, '{"name": "code", "id": "x"}')

    with told(look) as server:
        ready = impatient(byline, server.url).having(BYLINE_PROJECT="research", BYLINE_TIMEOUT="10")
        done = ready(*arguments, str(tmp_path / "secret"))
    assert done.returncode == 0, done.stderr
    assert any(f"byline_client {arguments[0]}" in line for line in shown)
    assert not [line for line in shown if TOKEN in line or "ghp_of-no-account" in line]
