"""Times on the command line: an age such as 2d, or a time."""

import re
import time
from datetime import datetime, timezone

from byline_client.errors import Misused

_AGE = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def moment(text: str, option: str) -> str | None:
    """The time that `text` means, in UTC as the service takes it; None for no text.

    A time without a zone is in the machine's zone, and a date is its first moment. Raises
    `Misused`, naming the `option`.
    """
    if not text:
        return None
    try:
        if age := _AGE.fullmatch(text):
            at = time.time() - int(age[1]) * _SECONDS[age[2]]
        else:
            at = datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        found = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        raise Misused(
            f"{option} must be an age such as 2d, 12h or 30m, or a time such as "
            "2026-11-27T08:00:00Z."
        ) from None
    return found.replace("+00:00", "Z")
