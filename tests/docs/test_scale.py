"""The figures of `docs/scale.md` are those that the code's own rows give."""

from typing import Any

import pytest

from tests.docs.documents import section
from tools.scale.capacity import Index, size, written
from tools.scale.lives import measure
from tools.scale.walls import NAMES, text

TABLE = Index("Table", "project", "id")
LIVE = Index("by-live", "live", "id")
KEYS_ONLY = Index("keys", "live", "id", frozenset({"project", "id", "live"}))


def row(state: str = "", *, bytes_: int = 100, **more: str) -> dict[str, Any]:
    """A row of so many bytes."""
    texts = {"project": "p", "id": "1", **more} | ({"live": f"p#{state}"} if state else {})
    item: dict[str, Any] = {name: {"S": value} for name, value in texts.items()}
    item["x"] = {"S": ""}
    item["x"]["S"] = "x" * (bytes_ - size(item))
    return item


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"ab": {"S": "ä"}}, 4),
        ({"n": {"N": "1764175309"}}, 1 + 5 + 1),
        ({"b": {"BOOL": True}}, 2),
        ({"m": {"M": {}}}, 4),
        ({"m": {"M": {"k": {"S": "vv"}}}}, 4 + 1 + 1 + 2),
    ],
)
def test_size_of_a_row_follows_the_published_rules(item: dict[str, Any], expected: int) -> None:
    """Names and values count in bytes, with what a map costs in addition."""
    assert size(item) == expected


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        (None, row("pending"), {"p#pending": 1}),
        (row("pending"), row("running"), {"p#pending": 1, "p#running": 1}),
        (row("running"), row(), {"p#running": 1}),
        (row("running"), row("running", bytes_=1_025), {"p#running": 2}),
        (row("running", bytes_=1_025), row("running"), {"p#running": 2}),
        (row("running", bytes_=1_024), None, {"p#running": 1}),
        (row(), row(bytes_=200), {}),
        (None, None, {}),
    ],
)
def test_index_is_charged_for_its_entries(before: Any, after: Any, units: dict[str, int]) -> None:
    """A new key costs a deletion and a put; a row that is in no index costs nothing there."""
    rows = [{} if each is None else {("p", "1"): each} for each in (before, after)]
    assert written(rows[0], rows[1], LIVE, factor=1) == units


def test_transaction_doubles_the_units_of_the_table() -> None:
    """The larger row of before and after counts, twice."""
    before, after = {("p", "1"): row(bytes_=1_100)}, {("p", "1"): row(bytes_=100)}
    assert written(before, after, TABLE, factor=2) == {"p": 4}


def test_attribute_that_the_index_does_not_have_costs_nothing_there() -> None:
    """Only a change of what is projected is written to an index."""
    before, after = {("p", "1"): row("pending")}, {("p", "1"): row("pending", bytes_=300)}
    assert written(before, after, KEYS_ONLY, factor=1) == {}
    assert written(before, after, LIVE, factor=1) == {"p#pending": 1}


def test_tables_of_the_page_are_computed() -> None:
    """The page has the figures that `make scale` writes."""
    assert text(measure()) in section("docs/scale.md", "## Figures")


def test_every_partition_of_a_life_is_known() -> None:
    """A new index or kind of row changes the walls, so it must be considered here."""
    found = {index for step in measure().steps.values() for index, _ in step.units}
    assert found == set(NAMES)
