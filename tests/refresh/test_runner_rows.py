"""Runners as rows: all members are kept, and keys never collide."""

from copy import replace
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.refresh.runner_rows import (
    LastError,
    RunnerRow,
    UnreadableRow,
    client_key,
    lease_key,
    read_runner,
    runner_item,
)
from byline.tables.rows import Item

REGISTERED = RunnerRow(
    project="payments",
    runner="nightly",
    client="scheduler",
    revision="request-1",
    generation=1_800_000_000_000,
    deadline=1_800_000_000,
    created_at="2027-01-15T08:00:00.000Z",
    updated_at="2027-01-15T08:00:00.000Z",
)

REFRESHED = replace(
    REGISTERED,
    audience="byline",
    resource="https://api.example.com/",
    scope="runs:write runs:read",
    subject="service-account-nightly",
    subject_issuer="https://issuer.example.com",
    shard="07",
    due_at=1_800_000_540,
    next_try_at=1_800_000_600,
    lifetime=900,
    issued_at=1_800_000_000,
    expires_at=1_800_000_900,
    refreshed_at=1_800_000_001,
    slots=2,
    slot=1,
    attempts=3,
    last_error=LastError(error_class="issuer_timeout", at=1_800_000_000),
    registered_by='{"user":{"id":{"subject":"ada"}}}',
    last_request="request-2",
    window_started_at=1_800_000_000,
    window_writes=17,
)

DELETED = replace(
    REFRESHED,
    deleted_by='{"user":{"id":{"subject":"grace"}}}',
    deleted_at=1_800_000_100,
    ttl=1_802_592_100,
)


@pytest.mark.parametrize("row", [REGISTERED, REFRESHED, DELETED])
def test_row_is_read_as_it_was_written(row: RunnerRow) -> None:
    """Every member, of registered, refreshed and deleted runners."""
    assert read_runner(runner_item(row)) == row


def test_examples_of_this_module_have_every_member() -> None:
    """A new member must be written and read too."""
    names = {field.name for field in fields(RunnerRow)}
    assert names == {name for name in names if getattr(DELETED, name) is not None}


@given(st.builds(RunnerRow))
def test_any_row_is_read_as_it_was_written(row: RunnerRow) -> None:
    """Whatever the texts and numbers."""
    named = replace(row, project="payments", runner="nightly")
    assert read_runner(runner_item(named)) == named


def test_item_has_the_documented_attributes() -> None:
    """Text is S, integers are N, and members that are None are left out."""
    assert runner_item(REGISTERED) == {
        "project": {"S": "payments"},
        "runner": {"S": "nightly"},
        "client": {"S": "scheduler"},
        "revision": {"S": "request-1"},
        "generation": {"N": "1800000000000"},
        "deadline": {"N": "1800000000"},
        "attempts": {"N": "0"},
        "created_at": {"S": "2027-01-15T08:00:00.000Z"},
        "updated_at": {"S": "2027-01-15T08:00:00.000Z"},
    }
    item = runner_item(REFRESHED)
    assert item["last_error"] == {
        "M": {"class": {"S": "issuer_timeout"}, "at": {"N": "1800000000"}}
    }
    assert (item["shard"], item["due_at"]) == ({"S": "07"}, {"N": "1800000540"})


def test_row_without_a_shard_is_not_in_the_index() -> None:
    """DynamoDB refuses an empty index key, and lists a row that has both keys."""
    assert not {"shard", "due_at"} & runner_item(REGISTERED).keys()


def test_keys_of_different_rows_differ() -> None:
    """A runner, its deleted predecessor, a client and a lease have four different keys."""
    keys = [
        REFRESHED.key,
        DELETED.key,
        replace(DELETED, generation=1).key,
        client_key("payments", "nightly"),
        lease_key(REFRESHED.work_unit),
    ]
    assert len({repr(key) for key in keys}) == 5
    assert DELETED.key["project"] == {"S": "deleted#payments"}
    assert DELETED.key["runner"] == {"S": "nightly#1800000000000"}


def test_deleted_runner_keeps_its_work_unit() -> None:
    """The same worker writes and sweeps its secrets."""
    assert DELETED.work_unit == REFRESHED.work_unit
    assert not DELETED.is_live
    assert REFRESHED.is_live
    assert not REGISTERED.is_live


@pytest.mark.parametrize(
    "spoilt",
    [
        {"generation": {"S": "7"}},
        {"generation": {"N": "7.5"}},
        {"generation": {"N": "NaN"}},
        {"generation": {"NULL": True}},
        {"project": {"N": "7"}},
        {"project": {"B": b"payments"}},
        {"client": {"M": {}}},
        {"last_error": {"M": {"class": {"S": "issuer_timeout"}}}},
        {"last_error": {"S": "issuer_timeout"}},
    ],
)
def test_row_of_another_form_is_unreadable_and_named(spoilt: dict[str, Any]) -> None:
    """One error for all, so that one runner's row stops no other refresh."""
    item: Item = runner_item(REFRESHED) | spoilt
    with pytest.raises(UnreadableRow) as unreadable:
        read_runner(item)
    assert "nightly" in str(unreadable.value)


@pytest.mark.parametrize("name", ["project", "runner", "client", "revision", "generation"])
def test_row_without_a_required_member_is_unreadable(name: str) -> None:
    """No default takes the place of a missing member."""
    item = runner_item(REFRESHED)
    del item[name]
    with pytest.raises(UnreadableRow):
        read_runner(item)


def test_attribute_of_a_later_version_is_ignored() -> None:
    """Two versions of the code run side by side during a deployment."""
    later: Item = {"tags": {"L": [{"S": "a"}]}, "colour": {"S": "red"}, "hot": {"BOOL": True}}
    assert read_runner(runner_item(REFRESHED) | later) == REFRESHED
