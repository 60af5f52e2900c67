"""The recorded terminal sessions of the documents."""

import html
import re
from pathlib import Path

import pytest
from byline_client.cli.app import COMMANDS

from tests.docs.documents import ROOT, documents
from tools.terminal_sessions import SESSIONS

RECORDED = sorted((ROOT / "docs").glob("session-*.svg"))
MOST_BYTES = 20_000
_TEXT = re.compile(r'<text [^>]*clip-path="([^"]+)"[^>]*>([^<]*)</text>')


def lines_of(path: Path) -> list[str]:
    """The lines of a session."""
    rows: dict[str, str] = {}
    for row, text in _TEXT.findall(path.read_text()):
        rows[row] = rows.get(row, "") + html.unescape(text).replace("\xa0", " ")
    return [text.rstrip() for text in rows.values()]


def test_every_session_is_recorded_and_shown() -> None:
    """Each session of the tool has a picture, and each picture is in a document."""
    assert [path.name for path in RECORDED] == sorted(f"session-{name}.svg" for name in SESSIONS)
    shown = "".join(path.read_text() for path in documents())
    assert all(f"{path.name})" in shown for path in RECORDED)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_session_shows_the_commands_of_the_tool_without_errors(path: Path) -> None:
    """A changed command is recorded anew: `make sessions`."""
    lines = lines_of(path)
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    wanted = SESSIONS[path.stem.removeprefix("session-")]
    assert len(commands) == len(wanted)
    for command, pattern in zip(commands, wanted, strict=True):
        assert re.fullmatch(re.escape(pattern).replace(r"\{run\}", "[0-9A-Z]{26}"), command)
        assert command.split()[1] in COMMANDS
    assert not [line for line in lines if line.startswith(("Usage:", "Error:", "Traceback"))]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_session_is_small_and_loads_nothing(path: Path) -> None:
    """A reader's browser asks no other server, and no token or local address is in the picture."""
    text = path.read_text()
    assert len(text.encode()) < MOST_BYTES
    assert "url(http" not in text
    assert "@font-face" not in text
    assert "eyJ" not in text
    assert "127.0.0.1" not in text
