"""Without an authorization service, RunsFunction makes no AWS call for registration.

The same requests are sent without the setting, with it empty, and with it on. The tests compare
every AWS call of each request, operation and parameters.
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

WITH_OUTBOX_ENTRY = {"create", "create once", "create again", "delete"}
"""The requests that write, or try to write, an outbox entry where registration is on."""

VARYING = re.compile(
    r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<=\"N\": \")\d{10}(?=\")"
)
"""Ids and times, which differ between any two requests."""

type Calls = dict[str, list[list[Any]]]


def calls_of(api: RunsApi, dynamodb: DynamoDb, by: Credential) -> Calls:
    """The AWS calls of each kind of request, with ids and times replaced."""
    runs = "/v1/projects/apollo/runs"
    calls_by_request: Calls = {}

    def send(name: str, method: str, path: str, **what: Any) -> Any:
        dynamodb.calls.clear()
        answer = api.call(method, path, by=by, **what)
        assert answer.status < 300, answer.body
        calls_by_request[name] = [
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
    return calls_by_request


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
    """Returns the AWS calls of the function with changed variables and empty tables."""

    def calls(**changes: str) -> Calls:
        dynamodb.reset()
        return calls_of(start_api(**changes), dynamodb, ada)

    return calls


def test_empty_setting_equals_a_missing_one(calls: Callable[..., Calls]) -> None:
    """The template passes an empty setting, which switches registration off."""
    assert calls() == calls(AUTHORIZATION_SERVICE_URL="")


def test_calls_without_registration_name_none_of_its_attributes(
    calls: Callable[..., Calls],
) -> None:
    """No AWS call names an attribute, an index or a row of registration."""
    text = json.dumps(calls())
    for word in (*ENTRY_ATTRIBUTES, "registration", "registered_at", "by-unregistered"):
        assert word not in text


def test_calls_with_registration_differ_by_the_outbox_entry(calls: Callable[..., Calls]) -> None:
    """With registration on, created and deleted runs get an outbox entry, and all else is equal."""
    off, on = calls(), calls(AUTHORIZATION_SERVICE_URL="https://authorization.example")
    assert {name: without_entries(calls_by_request) for name, calls_by_request in on.items()} == off
    assert {name for name in off if off[name] != on[name]} == WITH_OUTBOX_ENTRY
