"""The secrets of the stand-in for Secrets Manager, with their history and a log of all writes.

Tests also read and prepare secrets here: without quotas, delays or faults.
"""

import time
from collections import deque
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from threading import RLock
from uuid import uuid4

from stand_ins import rates
from stand_ins.secret_state import CURRENT, Deletion, Secret, Version, with_version
from stand_ins.secret_texts import SecretTexts

ARN_PREFIX = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Settings for behaviour that AWS does not fix, or that a benchmark excludes. In seconds."""

    quotas: rates.Quotas = rates.SECRETS_MANAGER
    reads_lag: float = 0
    """How old the state is that a read returns: the worst case of eventual consistency."""
    forced_deletion_takes: float = 60
    """How long a name stays in use after a forced deletion."""
    latency: float = 0
    """Wall-clock time that each call takes."""


@dataclass(frozen=True, slots=True)
class Write:
    """The creation of a version: the secret's name, the version's id and the time. No value."""

    secret: str
    version: str
    at: float


class SecretStore:
    """The secrets of an account. Hold `lock` around several operations that belong together."""

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
        """The secret with this name or ARN, which may be deleted. None if it does not exist."""
        return self._as_of(self.now(), secret_id)

    def read(self, secret_id: str) -> Secret | None:
        """The secret as it was `reads_lag` seconds ago, as a read returns it. None: not there."""
        return self._as_of(self.now() - self.behaviour.reads_lag, secret_id)

    def create(self, name: str) -> Secret:
        """A new secret without a version, with an ARN that no secret of this name had before."""
        now = self.now()
        return self.keep(Secret(name, f"{ARN_PREFIX}{name}-{uuid4().hex[:6]}", now, now))

    def put(self, secret: Secret, version: Version, labels: tuple[str, ...] = (CURRENT,)) -> Secret:
        """Add a version to the secret and log the write. A known version changes nothing."""
        written = with_version(secret, version, labels)
        if written is not secret:
            self.writes.append(Write(secret.name, version.id, version.created_at))
            self.texts.add(version.text())
        return self.keep(written)

    def delete(self, secret: Secret, *, gone_at: float, recoverable: bool) -> None:
        """Delete the secret. It ceases to exist at `gone_at`, in seconds since the epoch."""
        self.keep(replace(secret, deletion=Deletion(gone_at, recoverable)))

    def keep(self, secret: Secret) -> Secret:
        """Store the new state of a secret. Returns it."""
        history = self._histories.setdefault(secret.name, deque())
        history.append((self.now(), secret))
        # A delayed read returns the oldest entry that is left.
        while len(history) > 1 and history[1][0] <= self.now() - self.behaviour.reads_lag:
            history.popleft()
        return secret

    def seed(self, name: str, value: str) -> str:
        """Store a secret, or a new version of it. Returns the version's id."""
        with self.lock:
            version = Version(str(uuid4()), self.now(), {"SecretString": value})
            self.put(self.find(name) or self.create(name), version)
            return version.id

    def current(self, name: str) -> str:
        """The text of the version `AWSCURRENT`. Raises `KeyError` if the secret does not exist."""
        with self.lock:
            secret = self.find(name)
            if secret is None:
                raise KeyError(name)
            return secret.versions[secret.labels[CURRENT]].text()

    def names(self) -> list[str]:
        """The sorted names of all secrets that are not deleted."""
        with self.lock:
            found = [self.find(name) for name in self._histories]
        return sorted(secret.name for secret in found if secret and not secret.deletion)

    def most_writes_in_a_day(self) -> dict[str, int]:
        """For each secret by name, the most versions written in any 24 hours."""
        times: dict[str, list[float]] = {}
        for write in list(self.writes):
            times.setdefault(write.secret, []).append(write.at)
        return {name: rates.busiest(at, span=DAY_SECONDS) for name, at in times.items()}

    def most_writes_in_a_second(self) -> int:
        """The most versions written in any one second, of all secrets together."""
        return rates.busiest([write.at for write in list(self.writes)], span=1)

    def _as_of(self, time: float, secret_id: str) -> Secret | None:
        name, _, suffix = secret_id.removeprefix(ARN_PREFIX).rpartition("-")
        is_arn = secret_id.startswith(ARN_PREFIX)
        history = self._histories.get(name if is_arn and suffix else secret_id, ())
        secret = next((secret for at, secret in reversed(history) if at <= time), None)
        if secret is None or secret.is_gone_at(time) or (is_arn and secret.arn != secret_id):
            return None
        return secret
