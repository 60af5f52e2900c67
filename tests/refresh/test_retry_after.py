"""`Retry-After` as a number of seconds, as a date, and as anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.retry_after import seconds_of

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("Fri, 15 Jan 2027 08:02:00 GMT", 120),
        ("Friday, 15-Jan-27 08:02:00 GMT", 120),
        ("Fri Jan 15 08:02:00 2027", 120),
        ("Fri, 15 Jan 2027 09:02:00 +0100", 120),
        ("Fri, 15 Jan 2027 07:59:59 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("9" * 5000, 9_999_999_999),
    ],
)
def test_number_and_date_are_seconds_from_now(text: str, seconds: float) -> None:
    """RFC 9110, section 10.2.3, and the three forms of a date in section 5.6.7."""
    assert seconds_of(text, now=NOW) == seconds


@pytest.mark.parametrize(
    "text", [None, "", "soon", "-5", "1.5", "1e3", "٣", "²", "Fri, 99 Jan 2027 08:00:00 GMT"]
)
def test_other_text_gives_no_wait(text: str | None) -> None:
    """The usual back-off counts then."""
    assert seconds_of(text, now=NOW) is None


@given(st.text())
def test_any_text_gives_a_wait_or_none(text: str) -> None:
    """No text raises an error or gives a negative wait."""
    seconds = seconds_of(text, now=NOW)
    assert seconds is None or seconds >= 0
