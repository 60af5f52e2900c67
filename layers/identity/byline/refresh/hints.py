"""What to do about a failed refresh, by the class of its error.

`docs/runners.md` shows the same sentences, with the usual causes; a test compares them.
"""

from collections.abc import Mapping

_ALLOW_GRANT = "Allow the client credentials grant to the client at the issuer."
_ISSUER_DOWN = "Check the issuer's status and the way to it; Byline tries again by itself."

HINTS: Mapping[str, str] = {
    "invalid_client": "Write the credentials that the issuer has into the client's secret.",
    "unauthorized_client": _ALLOW_GRANT,
    "unsupported_grant_type": _ALLOW_GRANT,
    "invalid_grant": _ALLOW_GRANT,
    "invalid_scope": "Register the runner with a `scope` that the issuer grants to its client.",
    "invalid_target": (
        "Register the runner with an `audience` or a `resource` that the issuer knows."
    ),
    "invalid_request": (
        "Register the runner with the `scope`, `audience` or `resource` that its issuer expects."
    ),
    "access_denied": (
        "Let the issuer grant the runner's `scope`, `audience` and `resource` to its client."
    ),
    "rate_limited": "Let runners ask for the same token, or ask the issuer for a higher limit.",
    "issuer_unavailable": _ISSUER_DOWN,
    "issuer_timeout": _ISSUER_DOWN,
    "issuer_mismatch": (
        "Write the issuer into the client's secret exactly as its discovery document names it."
    ),
    "unexpected_status": (
        "Check `token_endpoint` or `issuer` in the client's secret, and firewalls on the way."
    ),
    "answer_unusable": (
        "Check `token_endpoint` or `issuer` in the client's secret: another server may answer."
    ),
    "nearly_dead_token": (
        "Switch off the issuer's cache of tokens, or limit it to less than half of their lifetime."
    ),
    "client_secret_unusable": "Correct the client's secret as `detail` says.",
    "store_throttled": (
        "Find out what else writes to Secrets Manager here; Byline tries again by itself."
    ),
    "store_refused": "Check the policies of RefreshTokensRole, of the secret and of its KMS key.",
    "unexpected_error": "Report it, with the log lines `unexpected error` of the refresher.",
}
"""One sentence for each class."""

_OF_ANOTHER_VERSION = "Look the class up in the documents of the version that wrote it."


def hint_of(error_class: str) -> str:
    """What to do about an error of this class, as one sentence.

    A row may hold a class of another version of Byline; its hint says so.
    """
    return HINTS.get(error_class, _OF_ANOTHER_VERSION)
