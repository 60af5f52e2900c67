"""Errors of AWS services in its JSON protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that AWS answers: its code, message and HTTP status.

    As a fault, it is the answer to the call, which is not handled. `members` are further members
    of the answer.
    """

    code: str
    message: str = ""
    status: int = 400
    members: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The answer's JSON. Services differ in the spelling of `message`, so it has both."""
        message = {"message": self.message, "Message": self.message}
        return {"__type": self.code, **message, **self.members}


class Refused(Exception):
    """A service refuses a call. `refusal` is the answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.refusal = Refusal(code, message)


RATE_EXCEEDED = Refusal("ThrottlingException", "Rate exceeded")
INTERNAL_ERROR = Refusal("InternalServiceError", "An error occurred on the server side.", 500)
ACCESS_DENIED = Refusal(
    "AccessDeniedException",
    "User is not authorized to perform this operation because no identity-based policy allows it",
)


def transaction_cancelled(*reasons: str) -> Refusal:
    """DynamoDB's error for a cancelled transaction: a reason for each item, `None` for no fault.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    return Refusal(
        "TransactionCanceledException",
        "Transaction cancelled, please refer cancellation reasons for specific reasons "
        f"[{', '.join(reasons)}]",
        members={"CancellationReasons": [{"Code": reason} for reason in reasons]},
    )
