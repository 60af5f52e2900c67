"""Reading `Retry-After`, by which a server asks its clients to wait (RFC 9110, section 10.2.3)."""

from datetime import UTC
from email.utils import parsedate_to_datetime


def seconds_of(retry_after: str | None, *, now: float) -> float | None:
    """The seconds to wait by a `Retry-After`; None for another text.

    It is a number of seconds or an HTTP-date. A date in the past is 0 seconds.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        # Ten digits are 300 years. More digits may overflow a float, or take long to convert.
        return float(text[:10])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # An HTTP-date is in GMT, and "-0000" means the same (RFC 5322, section 3.3).
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now)
