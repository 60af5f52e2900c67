"""How often: AWS's request quotas, and the busiest time of a log."""

from collections import deque
from collections.abc import Iterable

from stand_ins.refusal import RATE_EXCEEDED, Refused

type Quotas = tuple[tuple[frozenset[str], int], ...]
"""Operations that share a quota, and how many of them there may be in a second."""

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
    """Holds callers to their quotas in every span of one second, the strictest reading there is.

    A call that was throttled does not count against the quota, one that fails later does. For one
    thread at a time.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._recent = [(operations, deque[float](maxlen=most)) for operations, most in quotas]

    def count(self, operation: str, *, now: float) -> None:
        """Count a call of `operation` at `now`; `ThrottlingException` where it is one too many."""
        for operations, recent in self._recent:
            if operation in operations:
                if len(recent) == recent.maxlen and now - recent[0] < 1:
                    raise Refused(RATE_EXCEEDED.code, RATE_EXCEEDED.message)
                recent.append(now)


def busiest(times: Iterable[float], *, span: float) -> int:
    """The most of `times` that lie in any `span` seconds (the end of a span is not in it)."""
    window: deque[float] = deque()
    most = 0
    for time in sorted(times):
        window.append(time)
        while time - window[0] >= span:
            window.popleft()
        most = max(most, len(window))
    return most
