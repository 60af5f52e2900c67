"""`byline apply` on a terminal: colours, and the question before a deletion."""

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.client.commands import CommandLine
from tests.client.servers import Received, TellingServer, Told, told

APPLY = ("apply", "-f", "team.yaml", "--set", "team")
OLD = {"name": "old", "created_at": "2026-11-27T08:00:00.000Z"}
UNSURE = {"name": "unsure", "created_at": "2026-11-26T08:00:00.000Z", "created_by": {"name": "Ada"}}
MEMBERS = [
    {"kind": "Runner", "key": "old", "mark": OLD["created_at"]},
    {"kind": "Runner", "key": "unsure"},
]
DOUBT = "  (perhaps made by a person, created 2026-11-26T08:00:00.000Z by Ada)"
TRAINER = "kind: Runner\nname: trainer\nclient: warehouse\n"
CHANGED = {"name": "trainer", "client": "other", "isolated": False, "updated_at": "1"}


@dataclass(frozen=True)
class Seen:
    """What a person saw, and the exit code."""

    text: str
    code: int


def answer(request: Received) -> Told:
    """A project with the runners `trainer`, which is to change, `old` of the set, and `unsure`."""
    path = request.path.partition("?")[0]
    if request.method == "DELETE":
        return Told(204, "")
    if request.method == "PUT":
        return Told(200, json.dumps({**CHANGED, "updated_at": "2"}))
    if "/apply-sets/" in path:
        return Told(200, json.dumps({"members": MEMBERS}))
    return Told(200, json.dumps({"runners": [CHANGED, OLD, UNSURE], "next_cursor": None}))


def on_terminal(
    byline: CommandLine, server: TellingServer, *arguments: str, typed: str = "", **environ: str
) -> Seen:
    """Apply team.yaml on a terminal of its own, where `typed` is typed."""
    byline.config.parent.mkdir(exist_ok=True)
    (byline.config.parent / "team.yaml").write_text(TRAINER)
    ready = byline.having(
        BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c", BYLINE_PROJECT="p", TERM="xterm", **environ
    )
    leader, follower = pty.openpty()
    os.write(leader, typed.encode())
    with subprocess.Popen(
        [sys.executable, "-m", "byline_client", *APPLY, *arguments],
        env=ready.whole_environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=byline.config.parent,
    ) as process:
        os.close(follower)
        text = b""
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:
                break  # the terminal has no writer any more
            if not part:
                break
            text += part
    os.close(leader)
    return Seen(text.decode().replace("\r\n", "\n"), process.returncode)


def test_diff_is_coloured_on_a_terminal_only(byline: CommandLine) -> None:
    """A person sees colours, NO_COLOR switches them off, and a pipe never has any."""
    with told(answer) as server:
        coloured = on_terminal(byline, server, "--dry-run", "--prune").text
        plain = on_terminal(byline, server, "--dry-run", "--prune", NO_COLOR="1").text
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c", BYLINE_PROJECT="p")
        piped = ready(*APPLY, "--dry-run", "--prune").stdout
    assert "\x1b[31m    - client: other" in coloured
    assert "\x1b[32m    + client: warehouse" in coloured
    assert "\x1b[31m- Runner p/old" in coloured
    assert "- Runner p/old" in plain
    assert "\x1b[3" not in plain + piped
    assert piped.splitlines() == [
        "~ Runner p/trainer",
        "    - client: other",
        "    + client: warehouse",
        "- Runner p/old",
        f"- Runner p/unsure{DOUBT}",
    ]


@pytest.mark.parametrize(
    ("typed", "code", "writes"), [("n\n", 1, []), ("y\n", 0, ["PUT", "DELETE", "DELETE"])]
)
def test_person_is_asked_before_anything_is_written(
    byline: CommandLine, typed: str, code: int, writes: "list[str]"
) -> None:
    """What would be deleted is listed first. Without a yes nothing is written at all."""
    with told(answer) as server:
        seen = on_terminal(byline, server, "--prune", typed=typed)
        methods = [request.method for request in server.received]
    assert seen.code == code
    assert "- Runner p/old" in seen.text
    assert f"- Runner p/unsure{DOUBT}" in seen.text
    assert "Delete these 2?" in seen.text
    assert [each for each in methods if each not in ("GET", "POST")] == writes
    assert ("POST" in methods) is bool(writes)
