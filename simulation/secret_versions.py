"""Secrets Manager's quotas: the account's writes a second, and the versions of a secret.

The rules are those of the tests' stand-in, in flat arrays, because a run makes millions of writes.
https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
"""

from array import array
from collections import deque
from math import inf

from byline.refresh.timing import DAY_SECONDS, MintedToken
from stand_ins.rates import SECRETS_MANAGER
from stand_ins.secret_state import KEPT_FOR_SECONDS, VERSIONS_KEPT

WRITES_A_SECOND = next(most for names, most in SECRETS_MANAGER if "PutSecretValue" in names)


class SecretVersions:
    """Secrets by name: the times in seconds of their last 100 versions, and the newest version."""

    def __init__(self) -> None:
        self.most_in_a_day = 0
        self.limit_exceeded = 0
        self._numbers: dict[str, int] = {}
        self._newest: list[tuple[int, MintedToken | None]] = []
        self._times = array("d")
        self._writes = array("l")
        self._first_of_day = array("l")
        self._free: list[int] = []
        self._unwritten = array("d", [-inf]) * VERSIONS_KEPT

    def put(
        self, name: str, token: MintedToken, *, generation: int, now: float
    ) -> MintedToken | None:
        """The token that the secret holds for `generation`, which is `token` if it had none.

        None where Secrets Manager answers `LimitExceededException`: the secret has a hundred
        versions, and all are too young to be removed.
        """
        number = self._numbers.get(name)
        if number is None:
            number = self._new(name)
        known, held = self._newest[number]
        if known == generation:
            return held
        if not self._write(number, now):
            self.limit_exceeded += 1
            return None
        self._newest[number] = (generation, token)
        return token

    def newest(self, name: str) -> MintedToken | None:
        """The token that a secret holds, None where the secret does not exist."""
        number = self._numbers.get(name)
        return None if number is None else self._newest[number][1]

    def delete(self, name: str) -> None:
        """Delete a secret, if it exists. A new secret takes its place in the arrays."""
        number = self._numbers.pop(name, None)
        if number is not None:
            self._free.append(number)

    def _new(self, name: str) -> int:
        if self._free:
            number = self._free.pop()
            base = number * VERSIONS_KEPT
            self._times[base : base + VERSIONS_KEPT] = self._unwritten
            self._newest[number] = (-1, None)
            self._writes[number] = self._first_of_day[number] = 0
        else:
            number = len(self._newest)
            self._newest.append((-1, None))
            self._times.extend(self._unwritten)
            self._writes.append(0)
            self._first_of_day.append(0)
        self._numbers[name] = number
        return number

    def _write(self, number: int, now: float) -> bool:
        base, writes, times = number * VERSIONS_KEPT, self._writes[number], self._times
        oldest = base + writes % VERSIONS_KEPT
        if times[oldest] > now - KEPT_FOR_SECONDS:
            return False
        first = max(self._first_of_day[number], writes - VERSIONS_KEPT + 1)
        times[oldest] = now
        while times[base + first % VERSIONS_KEPT] <= now - DAY_SECONDS:
            first += 1
        self._first_of_day[number] = first
        self._writes[number] = writes + 1
        self.most_in_a_day = max(self.most_in_a_day, writes + 1 - first)
        return True


class WriteQuota:
    """The account's writes to Secrets Manager: their times in seconds, and the throttled ones."""

    def __init__(self) -> None:
        self.times = array("d")
        self.throttled = 0
        self._recent = deque([-inf] * WRITES_A_SECOND, maxlen=WRITES_A_SECOND)

    def admit(self, now: float) -> bool:
        """Whether the account accepts one more write at `now`."""
        if now < self._recent[0] + 1:
            self.throttled += 1
            return False
        self._recent.append(now)
        self.times.append(now)
        return True

    def admit_later(self, now: float) -> float:
        """The time at which a write is accepted that is retried from `now` on until it is."""
        at = max(now, self._recent[0] + 1)
        self.throttled += at > now
        self._recent.append(at)
        self.times.append(at)
        return at
