"""Registration is off by default, and off is as if there were none.

The same requests are sent to RunsFunction without the setting, with it empty, and with it on; every
call of AWS that each of them makes is compared, operation and parameters.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from byline.registration.outbox import ENTRY_ATTRIBUTES
from tests.runs.identity_server import Credential
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb

MARKED = {"create", "create once", "create again", "delete"}
"""The requests that write, or try to write, an outbox entry where registration is on."""

VARYING = re.compile(
    r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<=\"N\": \")\d{10}(?=\")"
)
"""Ids and times, which are never the same twice."""

type Calls = dict[str, list[list[Any]]]


def calls_of(api: RunsApi, dynamodb: DynamoDb, by: Credential) -> Calls:
    """What each kind of request asks of the table, with ids and times left out."""
    runs = "/v1/projects/apollo/runs"
    made: Calls = {}

    def send(name: str, method: str, path: str, **what: Any) -> Any:
        dynamodb.calls.clear()
        answer = api.call(method, path, by=by, **what)
        assert answer.status < 300, answer.body
        made[name] = [
            [call.operation, json.loads(VARYING.sub("*", json.dumps(call.document)))]
            for call in dynamodb.calls
        ]
        return answer

    send("create", "POST", runs, document={"agent": "forecaster"})
    once = (("idempotency-key", "k"),)
    run = send("create once", "POST", runs, document={}, headers=once).json["id"]
    send("create again", "POST", runs, document={}, headers=once)
    send("read", "GET", f"{runs}/{run}")
    send("list", "GET", runs)
    send("list mine", "GET", "/v1/runs", query={"created_by": "me"})
    send("start", "POST", f"{runs}/{run}/start")
    send("finish", "POST", f"{runs}/{run}/finish")
    send("delete", "DELETE", f"{runs}/{run}")
    return made


def without_entries(document: Any) -> Any:
    """A call's parameters, without the attributes of an outbox entry."""
    if isinstance(document, list):
        return [without_entries(member) for member in document]
    if isinstance(document, dict):
        return {
            name: without_entries(value)
            for name, value in document.items()
            if name not in ENTRY_ATTRIBUTES
        }
    return document


@pytest.fixture
def calls(
    start_api: Callable[..., RunsApi], dynamodb: DynamoDb, ada: Credential
) -> Callable[..., Calls]:
    """What the function asks of an empty table, with changed variables."""

    def calls(**changes: str) -> Calls:
        dynamodb.reset()
        return calls_of(start_api(**changes), dynamodb, ada)

    return calls


def test_empty_setting_is_none(calls: Callable[..., Calls]) -> None:
    """As the template passes it on, and as if it were not there."""
    assert calls() == calls(AUTHORIZATION_SERVICE_URL="")


def test_off_knows_nothing_of_registration(calls: Callable[..., Calls]) -> None:
    """No call names one of its attributes, indexes or rows."""
    text = json.dumps(calls())
    for word in (*ENTRY_ATTRIBUTES, "registration", "registered_at", "by-unregistered"):
        assert word not in text


def test_on_differs_by_the_mark_alone(calls: Callable[..., Calls]) -> None:
    """The same calls in the same order: rows that are created or deleted carry two attributes."""
    off, on = calls(), calls(AUTHORIZATION_SERVICE_URL="https://authorization.example")
    assert {name: without_entries(made) for name, made in on.items()} == off
    assert {name for name in off if off[name] != on[name]} == MARKED
