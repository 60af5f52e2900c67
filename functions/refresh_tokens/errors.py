"""Why a token could not be refreshed. The old one stays as it is, whatever happened."""

from typing import Literal, get_args

ErrorClass = Literal[
    # RFC 6749, section 5.2, and RFC 8707, section 2, under their own names
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
    "access_denied",
    # of the issuer
    "rate_limited",
    "issuer_unavailable",
    "issuer_timeout",
    "answer_unusable",
    "nearly_dead_token",
    # of Secrets Manager
    "client_secret_unusable",
    "store_throttled",
    "store_refused",
]
"""Closed: rows, metrics and alarms go by it, so nothing that an issuer writes gets into them."""

ERROR_CLASSES: frozenset[str] = frozenset(get_args(ErrorClass))

REFUSALS_OF_A_CLIENT: frozenset[ErrorClass] = frozenset(
    {
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "client_secret_unusable",
    }
)
"""Trying again as the same client is useless, and may lock it."""

REFUSALS_OF_A_REQUEST: frozenset[ErrorClass] = frozenset(
    {"access_denied", "invalid_request", "invalid_scope", "invalid_target"}
)
"""Trying again for the same audience, resource and scopes is useless. Others may well be granted:
one runner's mistake is not to stop the others of its client."""

REFUSALS = REFUSALS_OF_A_CLIENT | REFUSALS_OF_A_REQUEST
"""What time does not mend, only somebody who changes something."""


class RefreshFailed(Exception):
    """A token was not refreshed. `detail` is in our words and holds no text of issuer or secret.

    `retry_after`: seconds that the issuer asked us to wait.
    """

    def __init__(
        self, error_class: ErrorClass, detail: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{error_class}: {detail}")
        self.error_class: ErrorClass = error_class
        self.detail = detail
        self.retry_after = retry_after
