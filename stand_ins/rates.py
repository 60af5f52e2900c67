"""AWS's request quotas, and the most events of a log in a time span."""

from collections import deque
from collections.abc import Iterable

from stand_ins.refusal import RATE_EXCEEDED, Refused

type Quotas = tuple[tuple[frozenset[str], int], ...]
"""Operations that share a quota, and their calls allowed per second."""

# Per account and region, not adjustable:
# https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
SECRETS_MANAGER: Quotas = (
    (frozenset({"PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"}), 50),
    (frozenset({"CreateSecret"}), 50),
    (frozenset({"DeleteSecret"}), 50),
    (frozenset({"RestoreSecret"}), 50),
    (frozenset({"ListSecretVersionIds"}), 50),
    (frozenset({"BatchGetSecretValue"}), 100),
    (frozenset({"DescribeSecret", "GetSecretValue"}), 10_000),
)
UNLIMITED: Quotas = ()


class Rates:
    """Applies the quotas to every span of one second: the strictest reading of AWS's text.

    A throttled call does not count against the quota. A call that fails later does. Not
    thread-safe.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._recent = [(operations, deque[float](maxlen=most)) for operations, most in quotas]

    def count(self, operation: str, *, now: float) -> None:
        """Count a call of `operation` at `now`, in seconds.

        Raises `Refused` with `ThrottlingException` if the call exceeds its quota.
        """
        for operations, recent in self._recent:
            if operation in operations:
                if len(recent) == recent.maxlen and now - recent[0] < 1:
                    raise Refused(RATE_EXCEEDED.code, RATE_EXCEEDED.message)
                recent.append(now)


def busiest(times: Iterable[float], *, span: float) -> int:
    """The largest number of `times` within any `span` seconds, without the end of the span."""
    window: deque[float] = deque()
    most = 0
    for time in sorted(times):
        window.append(time)
        while time - window[0] >= span:
            window.popleft()
        most = max(most, len(window))
    return most
