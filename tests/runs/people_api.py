"""Helpers for what a person has in all projects."""

from typing import Any
from urllib.parse import quote

from byline.identity.caller import Principal
from serve_runs.people.places import KINDS
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi


def path_of(principal: Principal | str) -> str:
    """The path of a principal, or of a text that names one."""
    text = principal if isinstance(principal, str) else principal.text
    return f"/v1/people/{quote(text, safe='')}"


def user(web: Web, subject: str) -> Principal:
    """A person of the tests' issuer."""
    return Principal("user", web.url, subject)


def application(web: Web, subject: str) -> Principal:
    """An application of the tests' issuer."""
    return Principal("application", web.url, subject)


def show(api: RunsApi, by: Credential, principal: Principal | str, **query: str) -> Answer:
    """Ask what a principal has."""
    return api.call("GET", path_of(principal), by=by, query=query)


def all_pages(
    api: RunsApi, by: Credential, principal: Principal | str, *, limit: int
) -> dict[str, list[Any]]:
    """What a principal has, by kind, from all pages."""
    found: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    cursor: dict[str, str] = {}
    while True:
        answer = show(api, by, principal, limit=str(limit), **cursor)
        assert answer.status == 200, answer.body
        page = answer.json
        assert sum(len(page[kind]) for kind in found) <= limit
        for kind in found:
            found[kind] += page[kind]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}
