"""Access tokens: where they come from, and when they end."""

import binascii
import json
from base64 import urlsafe_b64decode
from typing import Any, Protocol

from byline_client.secret_text import SecretText


class Tokens(Protocol):
    """A source of access tokens for the service."""

    def token(self, *, renew: bool = False) -> SecretText:
        """A token that is valid now. `renew`: the service refused the last one, so get another.

        Raises `ClientError`.
        """


def unverified_claims(token: SecretText) -> dict[str, Any]:
    """The claims of a JWT without a verification; none for another kind of token.

    They only decide when to get another token and what to show. The service verifies the token.
    """
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def unverified_expiry(token: SecretText) -> float | None:
    """The claim `exp` of a JWT as Unix seconds; None where there is none."""
    exp = unverified_claims(token).get("exp")
    return float(exp) if isinstance(exp, (int, float)) and not isinstance(exp, bool) else None
