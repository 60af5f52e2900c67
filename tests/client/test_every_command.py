"""Every command against servers that refuse, hang, break off or answer nonsense.

The command lines run in this process, so that each can meet each fault.
"""

import json
import logging
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from byline_client.cli.app import COMMANDS, LazyCommands, run

from tests.client.servers import Told, problem, told

TOKEN = "eyJhbGciOiJub25lIn0.e30.c2lnbmF0dXJl"
SECRET = "ghp_of-no-account"
RUN = "01K9ZB4M7YV5T3Q8RXN2D6H1WC"

LINES: "dict[str, tuple[str, ...]]" = {
    "login": ("login {url} --device",),
    "logout": (),
    "run": ("run --strict -- true",),
    "catch-up": ("catch-up",),
    "runs": ("runs", "runs --mine --all-projects"),
    "show": (f"show {RUN}",),
    "who": (f"who {RUN}",),
    "messages": (f"messages {RUN}", f"messages {RUN} --follow", f"messages {RUN} --post hello"),
    "cancel": (f"cancel {RUN}",),
    "runners": (
        "runners --failing",
        "runners register trainer --client trainer",
        "runners show trainer",
        "runners refresh trainer --wait",
        "runners delete trainer",
    ),
    "token": ("token trainer --show", "token trainer --file {folder}/written"),
    "credentials": (
        "credentials",
        "credentials put code --provider github --file {folder}/secret",
        "credentials readers code",
        "credentials delete code",
    ),
    "access": ("access", "access --all"),
    "grant": ("grant project:viewer grace@example.com",),
    "revoke": ("revoke project:viewer grace@example.com",),
    "agents": ("agents", "agents allow planner", "agents remove planner"),
    "act-for-me": (
        "act-for-me",
        "act-for-me assistant --token-file {folder}/secret",
        "act-for-me --stop ccyw4yfkwqyrbo4l3cgvdgd6xa",
    ),
    "projects": (
        "projects",
        "projects list",
        "projects show research",
        "projects create research",
        "projects delete research --yes",
    ),
    "audit": ("audit --since 2d",),
    "apply": ("apply -f {folder}/team.yaml", "apply -f {folder}/team.yaml --dry-run"),
    "export": ("export",),
    "whoami": ("whoami",),
}
"""Command lines of every command that reach the service. `logout` reaches the issuer alone."""

WITHOUT_DOCUMENT = ("catch-up", "cancel", "revoke", "delete", "remove", "--stop")
"""The words of command lines that need no document in the answer."""


@dataclass(frozen=True)
class Fault:
    """A fault of a server, the exit codes that it may have, and words of the message."""

    answer: Told
    codes: "set[int]"
    words: "tuple[str, ...]" = ()
    seconds: str = "5"


FAULTS = {
    "refused": Fault(problem(403, "forbidden"), {1}, ("A sentence.", "forbidden, request req-1")),
    "unauthorized": Fault(problem(401, "expired"), {4}, ("expired, request req-1", "byline login")),
    "redirected": Fault(
        Told(302, "", headers={"location": "https://idp.example/?state=1"}), {4}, ("byline login",)
    ),
    "failing": Fault(problem(500, "internal"), {3}, ("internal, request req-1",), "0.4"),
    "broken off": Fault(Told(0), {3}, ("without an answer",), "0.4"),
    "not JSON": Fault(Told(200, "{"), {3}),
    "another document": Fault(Told(200, "[]"), {3}),
    "an empty document": Fault(Told(200, "{}"), {3}),
}


@dataclass(frozen=True)
class Done:
    """What a command line left."""

    code: int
    out: str
    err: str


@pytest.fixture
def line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Any:
    """Runs a command line for a service, in this process, and checks that no token is seen."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "secret").write_text(SECRET)
    document = "kind: Credential\nname: code\nprovider: github\ntoken: {file: secret}\n"
    (tmp_path / "team.yaml").write_text(document)

    def execute(text: str, url: str, seconds: str = "0.4") -> Done:
        kept = {"url": url, "caller": "", "project": "research", "body": {}, "key": "k"}
        spool = tmp_path / "config/spool"
        spool.mkdir(parents=True, exist_ok=True)
        (spool / "k.json").write_text(json.dumps({**kept, "run_id": RUN, "outcome": "finish"}))
        environ = {
            "PATH": "/usr/bin:/bin",
            "BYLINE_URL": url,
            "BYLINE_TOKEN": TOKEN,
            "BYLINE_PROJECT": "research",
            "BYLINE_TIMEOUT": seconds,
            "BYLINE_CONFIG_DIR": str(tmp_path / "config"),
        }
        try:
            code = run(shlex.split(text.format(url=url, folder=tmp_path)), environ)
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        for shown in (out, err, caplog.text):
            assert TOKEN not in shown
            assert SECRET not in shown
        assert "Traceback" not in err
        return Done(code, out, err)

    return execute


def test_command_lines_of_every_command_are_listed() -> None:
    """A new command and a new subcommand are tested against every fault."""
    assert set(LINES) == set(COMMANDS)
    for name, module in COMMANDS.items():
        listed = {text.split()[1] for text in LINES[name] if len(text.split()) > 1}
        assert set(getattr(import_module(module), "SUBCOMMANDS", {})) <= listed, name


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("text", [text for texts in LINES.values() for text in texts])
def test_fault_of_the_service_is_a_clear_error(line: Any, text: str, fault: str) -> None:
    """The message says what happened, the exit code what may help, and no data is written."""
    met = FAULTS[fault]
    codes, words = met.codes, met.words
    is_document = met.answer.status == 200 and met.answer.body != "{"
    if text.startswith("login"):
        codes, words = {3}, ()  # the metadata of a service that is Byline's are never refused
    if text == "catch-up" and fault == "refused":
        codes = {0}  # the record is given up, with the reason
    needs_none = {*WITHOUT_DOCUMENT} & {*text.split()} and not text.startswith("projects")
    if is_document and needs_none:
        codes = {0}
    with told(lambda _: met.answer) as server:
        done = line(text, server.url, met.seconds)
    assert done.code in codes, done
    assert done.out == "" or codes == {0}
    assert all(word in done.err for word in words), done.err
    assert done.err.startswith("byline: ") or codes == {0}


@pytest.mark.parametrize("text", [text for texts in LINES.values() for text in texts])
def test_unreachable_service_is_a_clear_error(line: Any, text: str) -> None:
    """A service that nobody can reach ends every command with 3, and names the service."""
    done = line(text, "http://127.0.0.1:9")
    assert (done.code, done.out) == (3, "")
    assert "127.0.0.1:9" in done.err


@pytest.mark.parametrize("text", [text for texts in LINES.values() for text in texts])
def test_slow_service_is_given_up(line: Any, text: str) -> None:
    """A service that does not answer within BYLINE_TIMEOUT ends every command with 3."""

    def sleep(_: Any) -> Told:
        time.sleep(1)
        return Told()

    with told(sleep) as server:
        done = line(text, server.url, "0.2")
    assert (done.code, done.out) == (3, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_takes_a_token_or_a_secret(command: str) -> None:
    """Other users see the arguments of a process, so secrets come from files and variables."""

    def options(group: Any) -> "Iterator[Any]":
        yield from group.params
        for subcommand in getattr(group, "commands", {}).values():
            yield from options(subcommand)

    found = LazyCommands(name="byline").get_command(None, command)
    for option in options(found):
        is_secret = any(word in option.name for word in ("token", "secret", "password"))
        assert not is_secret or option.bare_type() == "Path"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "token"])
def test_examples_of_the_help_text_are_valid_command_lines(
    line: Any, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person who copies an example gets no error about its options."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token.txt").write_text(SECRET)
    for example in import_module(COMMANDS[command]).EXAMPLES:
        text = re.split(" [|>] ", example)[0].replace("https://byline.example.com", "{url}")
        text = text.replace("/run/assistant/token", "token.txt").removeprefix("byline ")
        assert "Usage:" not in line(text, "http://127.0.0.1:9").err, example
