"""The errors of Byline's layer, named by what happens next: rejected, unavailable, misconfigured.

An error carries facts about a credential and never its text. Its message may be logged and sent to
the caller.
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
    "claims_not_allowed",
]
"""Why a credential was refused. The list is closed: metrics, alarms and clients match on it."""

REASONS: frozenset[str] = frozenset(get_args(Reason))

KeySource = Literal["load_balancer_keys", "issuer_keys", "discovery"]
"""The published keys or document that could not be fetched."""

MAX_FACTS = 10
MAX_FACT_CHARACTERS = 255


class Rejected(Exception):
    """The credential was refused: 401, counted by `reason`. A retry with it cannot succeed.

    `detail` is a sentence for the caller. `expected` and `actual` are facts for the operator (an
    issuer, an audience, a time); they are logged and never sent to the caller.
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
    """The keys could not be fetched, so the credential was not verified: 503, a retry may succeed.

    A credential that may be valid is not refused with 401, and its check is never skipped.
    """

    def __init__(self, source: KeySource, detail: str) -> None:
        super().__init__(f"{source}: {detail}")
        self.source: KeySource = source
        self.detail = detail


class Misconfigured(Exception):
    """An environment variable is missing, illegal or contradicts another: the cold start fails.

    `variable` is the environment variable to change.
    """

    def __init__(self, variable: str, detail: str) -> None:
        super().__init__(f"{variable}: {detail}")
        self.variable = variable
        self.detail = detail


def _fact(value: object) -> object:
    """`value`, shortened for a log line: a forged token may hold long text or deep nesting."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int) and value.bit_length() < 64:
        return value
    if isinstance(value, str):
        return value[:MAX_FACT_CHARACTERS]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [item[:MAX_FACT_CHARACTERS] for item in value[:MAX_FACTS]]
    return f"<{type(value).__name__}>"
