"""The OAuth issuer of all clients: its latency, its rate limit and its outage."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import msgspec

from byline.fetch import POST_TIMEOUT_SECONDS, Answer, TimedOut
from byline.refresh.timing import DAY_SECONDS
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


@dataclass(slots=True)
class Mints:
    """The numbers of tokens that were requested, granted, and not granted.

    `refused`: because of a wrong client secret (401). `rate_limited`: because of the rate limit
    (429). `most_a_message`: the most for one token because of one queue message, without those of
    time slices that died before their commit.
    """

    asked: int = 0
    granted: int = 0
    refused: int = 0
    rate_limited: int = 0
    most_a_message: int = 0


class Issuer:
    """Grants up to `MINTS_A_SECOND` tokens a second to clients with the right secret."""

    def __init__(self, scenario: Scenario, *, timeline: Timeline, random: Random) -> None:
        self.mints = Mints()
        self._scenario = scenario
        self._timeline = timeline
        self._random = random
        self._in_second: Counter[int] = Counter()
        self._of_messages: dict[str, dict[str, int]] = {}
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

    def ask(self, *, secret: str, tokens: int = 1, after: float = 0) -> tuple[Answer, int]:
        """The answer to the last of simultaneous requests, and how many tokens were granted.

        `after`: seconds that the caller spends before. Raises `TimedOut`.
        """
        self.mints.asked += tokens
        outage, asked_at = self._scenario.outage, self._timeline.now
        if outage.covers(asked_at):
            if asked_at < (outage.start + outage.end) / 2:
                self._timeline.wait(POST_TIMEOUT_SECONDS)
                raise TimedOut("no answer")
            retry_after = str(RETRY_AFTER_SECONDS) if self._random.random() < 0.5 else None
            return self._answer(Answer(503, b"", retry_after), after), 0
        if secret == WRONG:
            self.mints.refused += tokens
            return self._answer(Answer(401, b'{"error": "invalid_client"}'), after), 0
        granted = min(tokens, MINTS_A_SECOND - self._in_second[int(asked_at)])
        self._in_second[int(asked_at)] += granted
        self.mints.granted += granted
        self.mints.rate_limited += tokens - granted
        if granted < tokens:
            return self._answer(Answer(429, b"", "1"), after), granted
        return self._answer(Answer(200, self._granted), after), granted

    def minted(self, token_id: str, *, messages: Sequence[str]) -> None:
        """Count a mint for a token that reached its commit, because of these queue messages."""
        known = self._of_messages.get(token_id, {})
        counts = {message: known.get(message, 0) + 1 for message in messages}
        self._of_messages[token_id] = counts
        self.mints.most_a_message = max(self.mints.most_a_message, *counts.values())

    def _answer(self, answer: Answer, after: float) -> Answer:
        self._timeline.wait(after + LATENCY_SECONDS * self._random.lognormvariate(0, 0.45))
        return answer
