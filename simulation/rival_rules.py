"""The refresh rules of other systems: when a token is due, and when a failed refresh is retried.

Each rule also runs with as many secrets for each token as Byline would use, so that a table can say
what a difference comes from.
"""

from collections.abc import Callable, Iterator
from copy import replace
from dataclasses import dataclass
from random import Random

from byline.refresh.timing import DAY_SECONDS, slots_for

MINUTE, HOUR = 60, 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A refresh rule. Times are in seconds of simulated time.

    `next_due(issued_at, lifetime, random)`: the time at which a token is due.
    `retry(attempts, random)`: the wait after that many failures in a row.
    `remembers`: whether the system knows after a restart which tokens are fresh; a system that does
    not know refreshes all of them.
    `has_our_slots`: whether tokens go to `slots_for(lifetime)` secrets in turn, or to one secret.
    """

    name: str
    next_due: Callable[[float, int, Random], float]
    retry: Callable[[int, Random], float]
    remembers: bool
    has_our_slots: bool = False


RULES = (
    Rule(
        name="4-minute loop",
        next_due=lambda issued_at, lifetime, random: (issued_at // 240 + 1) * 240,
        retry=lambda attempts, random: 4 * MINUTE,
        remembers=False,
    ),
    # https://external-secrets.io/latest/api/externalsecret/; failures: 1 s, doubled up to 7 min
    Rule(
        name="External Secrets, every 10 min",
        next_due=lambda issued_at, lifetime, random: issued_at + 600,
        retry=lambda attempts, random: min(2.0 ** (attempts - 1), 7 * MINUTE),
        remembers=True,
    ),
    # https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent/template
    Rule(
        name="Vault Agent, 2/3",
        next_due=lambda issued_at, lifetime, random: (
            issued_at + lifetime * random.uniform(0.6, 2 / 3)
        ),
        retry=lambda attempts, random: min(2.0 ** (attempts - 1), MINUTE) * random.uniform(0.75, 1),
        remembers=False,
    ),
    Rule(
        name="SPIRE, 1/2 ± 10 %",
        next_due=lambda issued_at, lifetime, random: (
            issued_at + lifetime / 2 * random.uniform(0.9, 1.1)
        ),
        retry=lambda attempts, random: min(5 * 1.5 ** (attempts - 1), 2 * MINUTE),
        remembers=True,
    ),
    # https://cert-manager.io/docs/reference/api-docs/: an hour, doubled with every failure
    Rule(
        name="cert-manager, 2/3",
        next_due=lambda issued_at, lifetime, random: issued_at + lifetime * 2 / 3,
        retry=lambda attempts, random: HOUR * 2.0 ** min(attempts - 1, 5),
        remembers=True,
    ),
    # https://kubernetes.io/docs/concepts/storage/projected-volumes/: 80 %, or 24 hours
    Rule(
        name="kubelet, 80 %",
        next_due=lambda issued_at, lifetime, random: (
            issued_at + min(lifetime * 0.8, DAY_SECONDS) - random.uniform(0, 10)
        ),
        retry=lambda attempts, random: MINUTE,
        remembers=False,
    ),
    # 15 minutes before the end, whatever the lifetime; then again whenever somebody asks
    Rule(
        name="botocore, 15 min before",
        next_due=lambda issued_at, lifetime, random: issued_at + max(0, lifetime - 15 * MINUTE),
        retry=lambda attempts, random: MINUTE,
        remembers=False,
    ),
)


def rules_and_forms(lifetime: int) -> Iterator[Rule]:
    """Each rule as it is, and with our slots.

    At a `lifetime` in seconds for which Byline uses one secret, both forms are the same.
    """
    for rule in RULES:
        yield rule
        if slots_for(lifetime) > 1:
            yield replace(rule, name=f"{rule.name} + slots", has_our_slots=True)


def rule_named(name: str, *, lifetime: int) -> Rule:
    """The rule or form of this name. Raises `StopIteration` where there is none."""
    return next(rule for rule in rules_and_forms(lifetime) if rule.name == name)
