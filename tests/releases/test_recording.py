"""The recording of this version holds every kind of row and secret that the code writes today."""

import os
import re
from typing import Any

from tests.releases.recording import Recording, record
from tests.releases.service import Service
from tools.release_notes import RECORDINGS, version

WRITE = "BYLINE_WRITE_RECORDING"


def test_recording_of_this_version_is_current(of: Service) -> None:
    """The recorded rows, secrets and messages have the shapes that the code gives them today."""
    fresh = record(of)
    if os.environ.get(WRITE):
        fresh.write()
    path = RECORDINGS / f"{version()}.json"
    assert path.exists(), "Run `make recording`."
    assert shapes(Recording.read(path)) == shapes(fresh), "Run `make recording`."


def shapes(recording: Recording) -> set[tuple[str, ...]]:
    """The attributes of each kind of row, and the names of secrets and of messages' members."""
    found = {
        (table, *sorted(kind_of(row)), *sorted(row))
        for table, rows in recording.tables.items()
        for row in rows
    }
    found |= {("secret", *map(plain, name.split("/"))) for name in recording.secrets}
    found |= {("message", *re.findall(r'"(\w+)":', body)) for body in recording.messages}
    return found | {("page", page["path"].rpartition("/")[2]) for page in recording.pages}


def kind_of(row: dict[str, Any]) -> set[str]:
    """The texts before a `#` in a row's strings: what kind of row it is."""
    texts = [value["S"] for value in row.values() if "S" in value]
    return {text.partition("#")[0] for text in texts if re.match(r"[a-z-]+#", text)}


def plain(part: str) -> str:
    """A part of a secret's name without what differs between recordings."""
    return re.sub(r"[0-9A-Za-z]{26}|[0-9a-f]{8,}|\d+", "*", part)
