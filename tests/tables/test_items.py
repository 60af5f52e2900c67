"""Items of DynamoDB from Python's values and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.tables.rows import attributes, rfc3339, text_of, values_of

VALUES = st.dictionaries(
    st.text(),
    st.recursive(
        st.text() | st.integers(),
        lambda inner: st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
)


@given(VALUES)
def test_values_come_back_from_their_item(values: dict[str, Any]) -> None:
    """Text, integers of any size and nested dicts are unchanged."""
    assert values_of(attributes(values)) == values


def test_none_and_other_types_are_left_out() -> None:
    """A value of None makes no attribute, and a set or binary attribute gives no value."""
    assert attributes({"a": "x", "b": None, "c": {"d": None}}) == {"a": {"S": "x"}, "c": {"M": {}}}
    assert values_of({"a": {"SS": ["x"]}, "b": {"B": b"x"}, "c": {"N": "7"}}) == {"c": 7}


def test_number_that_is_no_integer_is_an_error() -> None:
    """No number is rounded."""
    with pytest.raises(ValueError, match=r"1\.5"):
        values_of({"a": {"N": "1.5"}})


def test_text_of_another_type_is_none() -> None:
    """An absent attribute and one of another type have no text; an empty text is one."""
    item: Any = {"a": {"S": "x"}, "b": {"N": "1"}, "c": {"S": ""}}
    assert [text_of(item, name) for name in "abcd"] == ["x", None, "", None]


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_364_411.1234, "2026-11-22T16:20:11.123Z"),
        (1_795_364_411.9999, "2026-11-22T16:20:11.999Z"),
    ],
)
def test_time_is_written_in_utc_with_milliseconds(at: float, written: str) -> None:
    """All times have the same length, so they sort as text. Further digits are cut off."""
    assert rfc3339(at) == written
