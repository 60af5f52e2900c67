"""The checks of AWS Secrets Manager on a request that need no secret.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from stand_ins.refusal import Refused
from stand_ins.secret_state import Version

LONGEST_VALUE_BYTES = 65_536
SHORTEST_TOKEN, LONGEST_TOKEN = 32, 64
VALUES = ("SecretString", "SecretBinary")

type Document = Mapping[str, Any]


def name_of(document: Document) -> str:
    """The name of the secret to create. Raises `Refused` if it is invalid."""
    name: str = document["Name"]
    if not re.fullmatch(r"[A-Za-z0-9/_+=.@!-]{1,512}", name):
        message = (
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of "
            "the following: -/_+=.@!"
        )
        raise Refused("ValidationException", message)
    return name


def has_value(document: Document) -> bool:
    """Whether the request has a secret value."""
    return any(document.get(name) is not None for name in VALUES)


def version_of(document: Document, *, now: float) -> Version:
    """The version to store, created at `now`. Raises `Refused` for an invalid token or value."""
    token = document.get("ClientRequestToken")
    if not token:
        message = "You must provide a ClientRequestToken value. We recommend a UUID-type value."
        raise Refused("InvalidRequestException", message)
    if len(token) < SHORTEST_TOKEN:
        raise _unsatisfied("clientRequestToken", f"greater than or equal to {SHORTEST_TOKEN}")
    if len(token) > LONGEST_TOKEN:
        raise _unsatisfied("clientRequestToken", f"less than or equal to {LONGEST_TOKEN}")
    content = {name: document[name] for name in VALUES if document.get(name) is not None}
    if len(content) != 1:
        message = "You must provide either SecretString or SecretBinary, and not both."
        raise Refused("InvalidParameterException", message)
    ((member, value),) = content.items()
    size = len(value.encode() if member == "SecretString" else b64decode(value))
    parameter = member[0].lower() + member[1:]
    if size == 0:
        raise _unsatisfied(parameter, "greater than or equal to 1")
    if size > LONGEST_VALUE_BYTES:
        raise _unsatisfied(parameter, f"less than or equal to {LONGEST_VALUE_BYTES}")
    return Version(token, now, content)


def recovery_days(document: Document) -> int:
    """For how many days a deleted secret can be restored. 0 if the request forces the deletion.

    Raises `Refused` for a number outside 7 to 30, or together with a forced deletion.
    """
    days, forced = document.get("RecoveryWindowInDays"), document.get("ForceDeleteWithoutRecovery")
    if forced and days is not None:
        message = (
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."
        )
        raise Refused("InvalidParameterException", message)
    if days is not None and not 7 <= days <= 30:
        message = "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive)."
        raise Refused("InvalidParameterException", message)
    return 0 if forced else days or 30


def _unsatisfied(parameter: str, length: str) -> Refused:
    return Refused(
        "ValidationException",
        f"1 validation error detected: Value at '{parameter}' failed to satisfy constraint: "
        f"Member must have length {length}",
    )
