"""`byline audit`: a project's records by time."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.client.commands import CommandLine
from tests.client.servers import Told, told
from tests.client.test_daily import ask, create, job

__all__ = ["job"]
EMPTY = Told(200, json.dumps({"records": [], "next_cursor": None, "more_people": False}))


@pytest.mark.stack
def test_records_of_a_project_are_listed_newest_first(job: CommandLine) -> None:
    """Scripts get ids, programs the service's documents, and the service applies the filters."""
    run = create(job, "recorded")
    ask(job, "POST", f"/runs/{run}/cancel")
    ids = job("audit", "--since", "10m", "--limit", "2").stdout.split()
    newest, oldest = json.loads(job("audit", "--limit", "2", "--json").stdout)
    assert ids == [newest["id"], oldest["id"]]
    assert (newest["action"], oldest["action"]) == ("cancel_run", "create_run")
    [cancelled] = json.loads(
        job("audit", "--action", "cancel_run", "--resource", "run", "--limit", "1", "--json").stdout
    )
    assert cancelled == newest
    mine = job("audit", "--person", "me", "--limit", "1").stdout.split()
    assert mine == [newest["id"]]
    assert job("audit", "--until", "1d").stdout == ""
    done = job("audit", "--action", "read_run")
    assert done.returncode == 1
    assert "invalid_parameter" in done.stderr


def test_times_are_sent_as_moments(byline: CommandLine) -> None:
    """The service gets moments in UTC, and no filter that is not given."""
    with told(lambda _: EMPTY) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c", BYLINE_PROJECT="p")
        assert ready("audit", "--since", "2d", "--until", "2026-11-27T08:00+01:00").returncode == 0
        [request] = server.received
    query = parse_qs(urlsplit(request.path).query)
    assert query.keys() == {"limit", "since", "until"}
    assert query["since"][0].endswith("Z")
    assert query["until"] == ["2026-11-27T07:00:00.000Z"]


def test_time_that_is_none_is_wrong_usage(byline: CommandLine) -> None:
    """Nothing is sent for a time that the service would refuse."""
    ready = byline.having(BYLINE_URL="http://127.0.0.1:9", BYLINE_TOKEN="a.b.c", BYLINE_PROJECT="p")
    done = ready("audit", "--until", "yesterday")
    assert done.returncode == 2
    assert "--until" in done.stderr
