"""Readers of a token, each looked at each minute for hours: what docs/runners.md says of them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from byline.refresh.token_rows import TokenRow
from serve_runs.errors import RequestFailed
from serve_runs.runners.tokens import read_token
from tests.docs.documents import ROOT, section, table
from tests.refresh.world import World, new_world

RUNNERS = "docs/runners.md"
MINUTES = 180
SPLIT = "### Lifetime and number of secrets"
ROWS = {
    int(re.sub(r"\D", "", row["lifetime, seconds"])): row
    for row in table(section(RUNNERS, SPLIT), "lifetime, seconds")
}
ONE_SECRET_FROM = max(ROWS)

type Read = Callable[[TokenRow], str]
"""The token's text that a reader has after its look. The row is what the API has of the token."""


@dataclass(frozen=True)
class Seen:
    """The share of looks at which a reader's token had expired, and the one of each name."""

    lifetime: int
    by_name: list[float]
    api: float
    token_file: float


def token_secrets(world: World) -> dict[str, dict[str, Any]]:
    """The contents of the secrets that tokens are written to, by name."""
    found = [name for name in world.aws.secrets.names() if "/clients/" not in name]
    return {name: json.loads(world.aws.secrets.current(name)) for name in found}


def external_secrets(world: World) -> Read:
    """External Secrets' webhook provider, which keeps the token of its last successful request."""
    synced: list[str] = []
    client = world.secrets_manager

    def sync(row: TokenRow) -> str:
        try:
            answer = read_token(row, names=world.names, client=client, now=world.clock)
            synced.append(answer["token"])
        except RequestFailed:
            pass  # 503, with which it tries again at its next interval
        return synced[-1]

    return sync


def token_file(world: World, path: Path) -> Read:
    """The program of the document, as printed. It knows the name of a later secret beforehand."""
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / RUNNERS).read_text(), re.S)
    parts: dict[str, Any] = {"__name__": "token_file"}
    exec(program, parts)  # noqa: S102 - it is ours

    def write_and_read(_: TokenRow) -> str:
        names = list(token_secrets(world))
        later = re.sub(r"\d+$", "99", names[0])
        parts["write_file"](str(path), parts["newest_token"]([*names, later]))
        return path.read_text()

    return write_and_read


TOKEN_ID = "01K0000000000000000000000A"


@pytest.fixture(scope="module", params=[*ROWS, 3_600])
def seen(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Seen:
    """What each reader saw of one token, which a worker keeps fresh for three hours."""
    with new_world(lifetime=request.param) as world, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", world.aws.url)
        # Due times are spread by the ids of tokens, so another id gives other figures.
        environment.setattr("serve_runs.runners.changes.ULID", lambda: TOKEN_ID)
        row = world.register("trainer")
        worker = world.worker()
        read_api = external_secrets(world)
        read_file = token_file(world, tmp_path_factory.mktemp("shared") / "token")
        expiry: dict[str, float] = {}
        looks: dict[str, list[bool]] = {}
        for _ in range(MINUTES):
            if row.due_at is not None and row.due_at <= world.clock():
                worker.refresh(row.work_unit)
                row = world.row("trainer") or row
            secrets = token_secrets(world)
            for secret in secrets.values():
                expiry[secret["token"]] = datetime.fromisoformat(secret["expires_at"]).timestamp()
            read = {name: secret["token"] for name, secret in secrets.items()}
            read |= {"api": read_api(row), "file": read_file(row)}
            for reader, token in read.items():
                looks.setdefault(reader, []).append(expiry[token] <= world.clock())
            world.clock.advance(60)
    shares = {reader: sum(expired) / len(expired) for reader, expired in looks.items()}
    api, of_file = shares.pop("api"), shares.pop("file")
    return Seen(request.param, by_name=list(shares.values()), api=api, token_file=of_file)


def test_reader_of_one_name_finds_an_expired_token_as_often_as_the_document_says(
    seen: Seen,
) -> None:
    """It is the table's share of the time, to within two percent of it; from 1,290 s never."""
    row = ROWS.get(seen.lifetime, ROWS[ONE_SECRET_FROM])
    said = re.match(r"(\d+) %", row["one of them holds an expired token"])
    assert len(seen.by_name) == int(row["secrets"])
    if seen.lifetime >= ONE_SECRET_FROM:
        assert (seen.by_name, said) == ([0], None)
    else:
        assert said is not None
        assert abs(max(seen.by_name) * 100 - int(said[1])) <= 2


def test_api_gives_external_secrets_a_live_token_each_minute(seen: Seen) -> None:
    """Whatever the lifetime and the number of secrets."""
    assert seen.api == 0


def test_token_file_holds_a_live_token_each_minute(seen: Seen) -> None:
    """Whatever the lifetime and the number of secrets."""
    assert seen.token_file == 0
