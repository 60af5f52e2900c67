"""Helpers that read the audit trail by the API."""

from collections.abc import Iterator
from typing import Any

from tests.runs.identity_server import Credential
from tests.runs.runs_api import Answer, RunsApi


def ask(api: RunsApi, by: Credential, *, project: str = "apollo", **query: str) -> Answer:
    """Send one request for audit records."""
    return api.call("GET", f"/v1/projects/{project}/audit", by=by, query=query)


def pages(api: RunsApi, by: Credential, **query: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of a listing, to its end."""
    cursor: str | None = None
    while True:
        answer = ask(api, by, **query, **({"cursor": cursor} if cursor else {}))
        assert answer.status == 200, answer.body
        yield answer.json["records"]
        cursor = answer.json["next_cursor"]
        if cursor is None:
            return


def records(api: RunsApi, by: Credential, **query: str) -> list[dict[str, Any]]:
    """All records of a listing, the newest first."""
    return [record for page in pages(api, by, **query) for record in page]


def actions(api: RunsApi, by: Credential, **query: str) -> list[str]:
    """The actions of all records, the oldest first."""
    return [record["action"] for record in records(api, by, **query)][::-1]
