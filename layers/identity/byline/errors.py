"""What can go wrong with an identity, named by what happens next.

Each error carries facts about a credential and never its text: a message here may be logged,
counted and sent to the caller as it is.
"""

from typing import Literal, get_args

Reason = Literal[
    "no_credentials",
    "duplicated_header",
    "unsupported_scheme",
    "token_too_large",
    "malformed_token",
    "unsupported_algorithm",
    "unsupported_critical_header",
    "untrusted_signer",
    "untrusted_client",
    "untrusted_issuer",
    "untrusted_audience",
    "unknown_key",
    "unusable_key",
    "bad_signature",
    "expired",
    "not_yet_valid",
    "wrong_token_type",
    "missing_claim",
    "malformed_claim",
    "subject_mismatch",
    "unknown_caller_kind",
]
"""Why a credential was refused. Closed: metrics, alarms and clients may match on it."""

REASONS: frozenset[str] = frozenset(get_args(Reason))

Source = Literal["load_balancer_keys", "issuer_keys", "discovery"]
"""What could not be reached."""

MAX_FACTS = 10
MAX_FACT_CHARACTERS = 255


class Rejected(Exception):
    """The credential does not count: 401, counted by `reason`, never worth a retry as it is.

    `expected` and `actual` are facts that help whoever set the system up (an issuer, an audience,
    a time); they are logged and never sent to the caller.
    """

    def __init__(
        self, reason: Reason, detail: str, *, expected: object = None, actual: object = None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail
        self.expected = _fact(expected)
        self.actual = _fact(actual)


class Unavailable(Exception):
    """Keys could not be had, so nothing can be said of the credential: 503, a retry may help.

    Never a reason to refuse (401) a credential that may be good, nor to skip its check.
    """

    def __init__(self, source: Source, detail: str) -> None:
        super().__init__(f"{source}: {detail}")
        self.source: Source = source
        self.detail = detail


class Misconfigured(Exception):
    """The environment contradicts itself or lacks something: the cold start fails.

    `variable` is the environment variable to mend.
    """

    def __init__(self, variable: str, detail: str) -> None:
        super().__init__(f"{variable}: {detail}")
        self.variable = variable
        self.detail = detail


def _fact(value: object) -> object:
    """`value`, fit for a log line: a forger's token may hold pages of text, or endless nesting."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int) and value.bit_length() < 64:
        return value
    if isinstance(value, str):
        return value[:MAX_FACT_CHARACTERS]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [item[:MAX_FACT_CHARACTERS] for item in value[:MAX_FACTS]]
    return f"<{type(value).__name__}>"
