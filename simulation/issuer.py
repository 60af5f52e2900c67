"""The OAuth issuer of all clients: its latency, its rate limit and its outage."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import msgspec

from byline.fetch import POST_TIMEOUT_SECONDS, Answer, TimedOut
from byline.refresh.timing import DAY_SECONDS, TICK_SECONDS
from byline.refresh.work_units import WorkUnit
from simulation.fleet import unit_of_audience
from simulation.scenario import Scenario
from simulation.timeline import Timeline

LATENCY_SECONDS = 0.15
"""The median latency of an answer. One answer in twenty takes more than twice as long."""

MINTS_A_SECOND = 100
"""The rate limit of the larger plans of hosted issuers, for one tenant."""

RETRY_AFTER_SECONDS = 30

BROKEN_PROJECT = "project-3"
WRONG = "wrong"
MENDED = "mended"

type Key = tuple[str, str]
"""A project and an audience: in the simulation, this is a mint key."""


@dataclass(slots=True)
class Mints:
    """The numbers of tokens that were requested, granted, and not granted.

    `refused`: because of a wrong client secret (401). `rate_limited`: because of the rate limit
    (429). `lost`: granted, but the worker died before the put. `most_a_message` and
    `most_a_minute`: the most granted for one mint key because of one queue message, and in one
    minute by the clock, without the lost ones.
    """

    asked: int = 0
    granted: int = 0
    refused: int = 0
    rate_limited: int = 0
    lost: int = 0
    most_a_message: int = 0
    most_a_minute: int = 0


class Issuer:
    """Grants up to `MINTS_A_SECOND` tokens a second to clients with the right secret.

    `message_of`: by work unit, the message that is being worked on. Workers set it.
    """

    def __init__(self, scenario: Scenario, *, timeline: Timeline, random: Random) -> None:
        self.mints = Mints()
        self.message_of: dict[WorkUnit, str] = {}
        self._scenario = scenario
        self._timeline = timeline
        self._random = random
        self._in_second: Counter[int] = Counter()
        self._of_message = Busiest()
        self._of_minute = Busiest()
        self._granted = msgspec.json.encode(
            {"access_token": "a", "token_type": "Bearer", "expires_in": scenario.lifetime}
        )

    def secret_of(self, project: str) -> str:
        """The client secret that the project has stored at this time."""
        wrong, now = self._scenario.wrong_secret, self._timeline.now
        if project != BROKEN_PROJECT or now < wrong.start:
            return "right"
        return WRONG if wrong.covers(now) else MENDED

    def written_at(self, secret: str) -> float:
        """When a client secret was written: the right one long before the run."""
        wrong = self._scenario.wrong_secret
        return {WRONG: wrong.start, MENDED: wrong.end}.get(secret, -DAY_SECONDS)

    def post(
        self, url: str, *, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Answer a token request of a client that uses `client_secret_post`. Raises `TimedOut`."""
        return self.ask((form["client_id"], form["audience"]), secret=form["client_secret"])

    def ask(self, key: Key, *, secret: str, tokens: int = 1) -> Answer:
        """Answer so many simultaneous token requests with one answer. Raises `TimedOut`."""
        self.mints.asked += tokens
        outage, asked_at = self._scenario.outage, self._timeline.now
        if outage.covers(asked_at):
            if asked_at < (outage.start + outage.end) / 2:
                self._timeline.wait(POST_TIMEOUT_SECONDS)
                raise TimedOut("no answer")
            retry_after = str(RETRY_AFTER_SECONDS) if self._random.random() < 0.5 else None
            return self._answer(Answer(503, b"", retry_after))
        if secret == WRONG:
            self.mints.refused += tokens
            return self._answer(Answer(401, b'{"error": "invalid_client"}'))
        self._in_second[int(asked_at)] += tokens
        if self._in_second[int(asked_at)] > MINTS_A_SECOND:
            self.mints.rate_limited += tokens
            return self._answer(Answer(429, b"", "1"))
        self._grant(key, tokens)
        return self._answer(Answer(200, self._granted))

    def lost(self, key: Key, *, tokens: int = 1) -> None:
        """Count tokens whose worker died before the put; they will be requested again."""
        self.mints.lost += tokens
        self._of_message.add(key, -tokens)
        self._of_minute.add(key, -tokens)

    def _answer(self, answer: Answer) -> Answer:
        self._timeline.wait(LATENCY_SECONDS * self._random.lognormvariate(0, 0.45))
        return answer

    def _grant(self, key: Key, tokens: int) -> None:
        self.mints.granted += tokens
        message = self.message_of[unit_of_audience(*key)]
        minute = int(self._timeline.now // TICK_SECONDS)
        self.mints.most_a_message = max(
            self.mints.most_a_message, self._of_message.add(key, tokens, of=message)
        )
        self.mints.most_a_minute = max(
            self.mints.most_a_minute, self._of_minute.add(key, tokens, of=minute)
        )


class Busiest:
    """Counts tokens by mint key, from 0 again for each message or each minute."""

    def __init__(self) -> None:
        self._counts: dict[Key, tuple[int | str, int]] = {}

    def add(self, key: Key, tokens: int, *, of: int | str | None = None) -> int:
        """The key's count after adding `tokens`. A new `of`, a message or minute, resets it."""
        known, so_far = self._counts.get(key, ("", 0) if of is None else (of, 0))
        if of is not None and of != known:
            known, so_far = of, 0
        self._counts[key] = (known, so_far + tokens)
        return so_far + tokens
