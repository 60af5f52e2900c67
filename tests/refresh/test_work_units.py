"""Mint keys, shards and names: every process computes the same ones."""

import re
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.refresh.work_units import (
    MintKey,
    WorkUnit,
    shards,
    slot_of,
    version_token,
)

KEY = MintKey.of(
    project="payments",
    client="scheduler",
    audience="byline",
    resource="https://api.example.com/",
    scope="runs:read runs:write",
)


@pytest.mark.parametrize("scope", ["runs:write runs:read", "runs:read  runs:write runs:read "])
def test_order_of_scopes_does_not_change_the_mint_key(scope: str) -> None:
    """The same set of scopes gives the same mint, however it is written."""
    same = MintKey.of(
        project="payments",
        client="scheduler",
        audience="byline",
        resource="https://api.example.com/",
        scope=scope,
    )
    assert same == KEY
    assert same.work_unit == KEY.work_unit


@pytest.mark.parametrize(
    "changed",
    [
        {"project": "payroll"},
        {"client": "other"},
        {"audience": "other"},
        {"audience": None},
        {"resource": None},
        {"scope": "runs:read"},
        {"scope": None},
        {"isolated_for": "nightly"},
    ],
)
def test_any_other_difference_is_another_mint_key(changed: dict[str, str | None]) -> None:
    """Runners share a token only if it would be the same, never across projects, never isolated."""
    asked = {
        "project": "payments",
        "client": "scheduler",
        "audience": "byline",
        "resource": "https://api.example.com/",
        "scope": "runs:read runs:write",
    }
    assert MintKey.of(**asked) == KEY
    assert MintKey.of(**{**asked, **changed}) != KEY  # type: ignore[arg-type]


def test_members_of_a_mint_key_are_separate() -> None:
    """Neither an audience that is a resource, nor names that join to the same text."""
    one = MintKey.of(project="a", client="b", audience="c")
    assert one.work_unit.project == "a"
    keys = {
        one,
        MintKey.of(project="a", client="b", resource="c"),
        MintKey.of(project="a", client="bc"),
        MintKey.of(project="a", client="b", audience="c", isolated_for="c"),
    }
    assert len(keys) == len({key.token_key for key in keys}) == 4


def test_shard_of_a_mint_key_never_changes() -> None:
    """Rows in the table carry it; with another hash they would not be found."""
    assert KEY.work_unit == WorkUnit(shard="12", project="payments")


@given(st.text(), st.text())
def test_every_mint_key_has_one_of_the_shards(project: str, client: str) -> None:
    """The planner queries these shards only."""
    assert MintKey.of(project=project, client=client).work_unit.shard in shards()


def test_shards_are_used_evenly() -> None:
    """No partition of the index gets more load than the others."""
    used = Counter(
        MintKey.of(project="payments", client=f"client-{number}").work_unit.shard
        for number in range(16_000)
    )
    assert set(used) == set(shards())
    assert max(used.values()) < 1.2 * min(used.values())


def test_generations_use_the_slots_in_turn() -> None:
    """One after the other."""
    assert [slot_of(generation, slots=3) for generation in range(7, 13)] == [1, 2, 0, 1, 2, 0]
    assert {slot_of(generation, slots=1) for generation in range(5)} == {0}


def test_version_token_never_changes() -> None:
    """After a crash the second write must find the version of the first."""
    name = "byline/tokens/payments/scheduler/token-1/1"
    assert version_token(name, 8) == "f37131c0-0734-5b69-bef9-c5a4afbb5821"


def test_version_token_is_accepted_by_secrets_manager() -> None:
    """A UUID of 36 characters, another for each generation and each secret."""
    name = "byline/tokens/payments/scheduler/token-1/1"
    token = version_token(name, 8)
    assert re.fullmatch(r"[0-9a-f-]{36}", token)
    assert UUID(token).version == 5
    assert len({token, version_token(name, 9), version_token(name[:-1] + "0", 8)}) == 3
