"""What Secrets Manager keeps, over time: every secret, what a late reader sees, every write.

For tests also the way to look behind the callers' back: nothing of that counts, lags or is refused.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import RLock
from uuid import uuid4

from stand_ins import rates
from stand_ins.secret_state import CURRENT, Deletion, Secret, Version, with_version
from stand_ins.secret_texts import SecretTexts

ARN_PREFIX = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What AWS leaves open, or what a benchmark must not meet. Times in seconds."""

    quotas: rates.Quotas = rates.SECRETS_MANAGER
    reads_lag: float = 0
    """Reads see what was true so long ago: the worst that "eventually consistent" allows."""
    forced_deletion_takes: float = 60
    """A name stays taken so long after a deletion without recovery."""
    latency: float = 0
    """Real time that each call takes."""


@dataclass(frozen=True, slots=True)
class Write:
    """A version came to be: of which secret, and when. Never its value."""

    secret: str
    version: str
    at: float


class SecretStore:
    """The secrets of an account. `lock` is held by whoever does more than one thing to them."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, behaviour: Behaviour | None = None
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.lock = RLock()
        self.texts = SecretTexts()
        self.writes: list[Write] = []
        self._clock = clock
        self._histories: dict[str, deque[tuple[float, Secret]]] = {}

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def find(self, secret_id: str) -> Secret | None:
        """The secret of a name or an ARN as it is, deleted perhaps; None where none is left."""
        return self._as_of(self.now(), secret_id)

    def read(self, secret_id: str) -> Secret | None:
        """The same as a reader sees it, who may be late."""
        return self._as_of(self.now() - self.behaviour.reads_lag, secret_id)

    def create(self, name: str) -> Secret:
        """A secret without a version, with an ARN that no secret of this name had before."""
        now = self.now()
        return self.keep(Secret(name, f"{ARN_PREFIX}{name}-{uuid4().hex[:6]}", now, now))

    def put(self, secret: Secret, version: Version, labels: tuple[str, ...] = (CURRENT,)) -> Secret:
        """Give the secret a version, and log that, unless it has it already."""
        written = with_version(secret, version, labels)
        if written is not secret:
            self.writes.append(Write(secret.name, version.id, version.created_at))
            self.texts.add(version.text())
        return self.keep(written)

    def delete(self, secret: Secret, *, gone_at: float, recoverable: bool) -> None:
        """Delete the secret, for good at `gone_at`."""
        self.keep(replace(secret, deletion=Deletion(gone_at, recoverable)))

    def keep(self, secret: Secret) -> Secret:
        """What the secret is from now on."""
        history = self._histories.setdefault(secret.name, deque())
        history.append((self.now(), secret))
        # The oldest entry that is left is what the latest reader sees.
        while len(history) > 1 and history[1][0] <= self.now() - self.behaviour.reads_lag:
            history.popleft()
        return secret

    def seed(self, name: str, value: str) -> str:
        """Store a secret, or a new version of it; its version."""
        with self.lock:
            version = Version(str(uuid4()), self.now(), {"SecretString": value})
            self.put(self.find(name) or self.create(name), version)
            return version.id

    def current(self, name: str) -> str:
        """The text that is `AWSCURRENT`. `KeyError` where there is no such secret."""
        with self.lock:
            secret = self.find(name)
            if secret is None:
                raise KeyError(name)
            return secret.versions[secret.labels[CURRENT]].text()

    def names(self) -> list[str]:
        """The secrets that can be used, in order."""
        with self.lock:
            found = [self.find(name) for name in self._histories]
        return sorted(secret.name for secret in found if secret and not secret.deletion)

    def most_writes_in_a_day(self) -> dict[str, int]:
        """For each secret, the most versions that it was given in any 24 hours."""
        times: dict[str, list[float]] = {}
        for write in list(self.writes):
            times.setdefault(write.secret, []).append(write.at)
        return {name: rates.busiest(at, span=DAY_SECONDS) for name, at in times.items()}

    def most_writes_in_a_second(self) -> int:
        """The most versions that came to be in any one second."""
        return rates.busiest([write.at for write in list(self.writes)], span=1)

    def _as_of(self, time: float, secret_id: str) -> Secret | None:
        name, _, suffix = secret_id.removeprefix(ARN_PREFIX).rpartition("-")
        is_arn = secret_id.startswith(ARN_PREFIX)
        history = self._histories.get(name if is_arn and suffix else secret_id, ())
        secret = next((secret for at, secret in reversed(history) if at <= time), None)
        if secret is None or secret.is_gone_at(time) or (is_arn and secret.arn != secret_id):
            return None
        return secret
