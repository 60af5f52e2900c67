"""Reading `Retry-After` (RFC 9110, section 10.2.3)."""

from datetime import UTC
from email.utils import parsedate_to_datetime


def seconds_of(text: str | None, *, now: float) -> float | None:
    """Seconds to wait from `now` on, by a number of them or an HTTP-date; None for neither.

    A date that has passed is 0 seconds.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        # Ten digits are 300 years; more would be no float, or a day's work to convert.
        return float(text[:10])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # An HTTP-date is in GMT, and one that says "-0000" means the same (RFC 5322, section 3.3).
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now)
