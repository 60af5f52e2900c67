"""Rows of tokens and runners: all members are kept, and keys never collide."""

from copy import replace
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.refresh.runner_rows import RunnerRow, read_runner, runner_item
from byline.refresh.token_rows import (
    LastError,
    TokenRow,
    UnreadableRow,
    client_key,
    lease_key,
    new_token,
    read_token_row,
    token_item,
)
from byline.refresh.work_units import MintKey, WorkUnit
from byline.tables.rows import Item

KEY = MintKey.of(project="payments", client="scheduler", audience="byline", scope="write read")

NEW = new_token(KEY, token_id="token-1", created_at="2027-01-15T08:00:00.000Z", now=1_800_000_000)

REFRESHED = replace(
    NEW,
    resource="https://api.example.com/",
    isolated_for="nightly",
    generation=3,
    due_at=1_800_000_540,
    next_try_at=1_800_000_600,
    lifetime=900,
    issued_at=1_800_000_000,
    expires_at=1_800_000_900,
    refreshed_at=1_800_000_001,
    slots=2,
    slot=1,
    attempts=3,
    last_error=LastError(
        error_class="issuer_timeout", detail="Late.", since=1_799_999_000, at=1_800_000_000
    ),
    window_started_at=1_800_000_000,
    window_writes=17,
    asked_at=1_800_000_002,
    asks_since=1_800_000_002,
    asks=1,
)

RETIRED = replace(REFRESHED, runners=0, retired_at=1_800_000_100, ttl=1_802_592_100)

RUNNER = RunnerRow(
    project="payments",
    runner="nightly",
    client="scheduler",
    token=KEY.token_key,
    revision="request-1",
    created_at="2027-01-15T08:00:00.000Z",
    updated_at="2027-01-15T08:00:00.000Z",
    audience="byline",
    resource="https://api.example.com/",
    scope="read write",
    isolated=1,
    subject="service-account-nightly",
    subject_issuer="https://issuer.example.com",
    registered_by='{"user":{"id":{"subject":"ada"}}}',
    registered_by_issuer="https://issuer.example",
)


@pytest.mark.parametrize("row", [NEW, REFRESHED, RETIRED])
def test_token_is_read_as_it_was_written(row: TokenRow) -> None:
    """Every member, of new, refreshed and retired tokens."""
    assert read_token_row(token_item(row)) == row


def test_runner_is_read_as_it_was_written() -> None:
    """With all members, and with the required ones alone."""
    least = replace(
        RUNNER,
        isolated=None,
        registered_by=None,
        registered_by_issuer=None,
        subject=None,
        scope=None,
    )
    assert read_runner(runner_item(RUNNER)) == RUNNER
    assert read_runner(runner_item(least)) == least


def test_examples_of_this_module_have_every_member() -> None:
    """A new member must be written and read too."""
    for row in (RETIRED, RUNNER):
        names = {field.name for field in fields(row)}
        assert names == {name for name in names if getattr(row, name) is not None}


@given(row=st.builds(TokenRow), is_retired=st.booleans())
def test_any_token_is_read_as_it_was_written(row: TokenRow, *, is_retired: bool) -> None:
    """Whatever the texts and numbers."""
    row = replace(row, retired_at=1_800_000_000 if is_retired else None)
    assert read_token_row(token_item(row)) == row


def test_item_has_the_documented_attributes() -> None:
    """Text is S, integers are N, and members that are None are left out."""
    assert token_item(NEW) == {
        "project": {"S": "tokens#payments"},
        "runner": {"S": KEY.token_key},
        "client": {"S": "scheduler"},
        "id": {"S": "token-1"},
        "audience": {"S": "byline"},
        "scope": {"S": "read write"},
        "runners": {"N": "1"},
        "generation": {"N": "0"},
        "deadline": {"N": "1800000000"},
        "due_at": {"N": "1800000000"},
        "shard": {"S": KEY.work_unit.shard},
        "attempts": {"N": "0"},
        "created_at": {"S": "2027-01-15T08:00:00.000Z"},
    }
    assert token_item(REFRESHED)["last_error"] == {
        "M": {
            "class": {"S": "issuer_timeout"},
            "detail": {"S": "Late."},
            "since": {"N": "1799999000"},
            "at": {"N": "1800000000"},
        }
    }


def test_row_of_a_runner_is_not_in_the_index() -> None:
    """DynamoDB lists a row that has both keys of the index."""
    assert not {"shard", "due_at"} & runner_item(RUNNER).keys()


def test_keys_of_different_rows_differ() -> None:
    """A runner, a token, its retired predecessors, a client and a lease have different keys."""
    keys = [
        RUNNER.key,
        REFRESHED.key,
        NEW.key,
        RETIRED.key,
        replace(RETIRED, id="token-2").key,
        client_key("payments", "scheduler"),
        lease_key(REFRESHED.work_unit),
    ]
    assert len({repr(key) for key in keys}) == 7
    assert RETIRED.key == {"project": {"S": "retired#payments"}, "runner": {"S": "token-1"}}


def test_runner_points_to_the_token_that_it_asks_for() -> None:
    """The pointer is the sort key of the token's row."""
    shared = replace(RUNNER, isolated=None, resource=None)
    assert shared.mint_key == KEY
    assert shared.token_key == NEW.key
    assert RUNNER.mint_key == replace(KEY, resource=RUNNER.resource, isolated_for="nightly")


def test_retired_token_keeps_its_work_unit() -> None:
    """The same worker writes and sweeps its secrets."""
    assert RETIRED.work_unit == REFRESHED.work_unit
    assert (REFRESHED.is_live, RETIRED.is_live) == (True, False)
    assert replace(NEW, shard="03").work_unit == WorkUnit(shard="03", project="payments")


@pytest.mark.parametrize(
    "spoilt",
    [
        {"generation": {"S": "7"}},
        {"generation": {"N": "7.5"}},
        {"generation": {"N": "NaN"}},
        {"generation": {"NULL": True}},
        {"project": {"N": "7"}},
        {"project": {"B": b"payments"}},
        {"project": {"S": "retired#payments"}},
        {"client": {"M": {}}},
        {"client": {"S": "another"}},
        {"audience": {"S": "another"}},
        {"last_error": {"M": {"class": {"S": "issuer_timeout"}}}},
        {"last_error": {"S": "issuer_timeout"}},
    ],
)
def test_row_of_another_form_is_unreadable_and_named(spoilt: dict[str, Any]) -> None:
    """One error for all, so that one token's row stops no other refresh."""
    item: Item = token_item(REFRESHED) | spoilt
    with pytest.raises(UnreadableRow) as unreadable:
        read_token_row(item)
    assert item["runner"]["S"] in str(unreadable.value)


@pytest.mark.parametrize(
    "name", ["project", "runner", "client", "id", "deadline", "runners", "generation"]
)
def test_row_without_a_required_member_is_unreadable(name: str) -> None:
    """No default takes the place of a missing member."""
    item = token_item(REFRESHED)
    del item[name]
    with pytest.raises(UnreadableRow):
        read_token_row(item)


@pytest.mark.parametrize("name", ["project", "runner", "client", "token", "revision"])
def test_runner_without_a_required_member_is_unreadable(name: str) -> None:
    """Nobody can tell what it asks for."""
    item = runner_item(RUNNER)
    del item[name]
    with pytest.raises(UnreadableRow):
        read_runner(item)


def test_attribute_of_a_later_version_is_ignored() -> None:
    """Two versions of the code run side by side during a deployment."""
    later: Item = {"tags": {"L": [{"S": "a"}]}, "colour": {"S": "red"}, "hot": {"BOOL": True}}
    assert read_token_row(token_item(REFRESHED) | later) == REFRESHED
    assert read_runner(runner_item(RUNNER) | later) == RUNNER
