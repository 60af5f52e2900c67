"""The errors of the client. Each has the exit code of the command that meets it.

docs/cli.md lists the codes. No message contains the text of a token or a secret.
"""


class ClientError(Exception):
    """The client could not do what was asked. The message says why, and what to do."""

    exit_code = 1


class Misused(ClientError):
    """An option, a variable or a file of settings is wrong. The message names it."""

    exit_code = 2


class ServiceUnavailable(ClientError):
    """The service could not be reached, or answered with something unusable. A retry may help."""

    exit_code = 3


class SignInRequired(ClientError):
    """There is no credential, or the service does not accept it."""

    exit_code = 4


class RequestRefused(ClientError):
    """The service refused the request: a 4xx answer, with its problem document (RFC 9457).

    `reason` is from the closed list of docs/reasons.md. `request_id` finds the log lines of the
    service. `members` are those of the problem document.
    """

    def __init__(self, status: int, members: dict[str, object]) -> None:
        self.status = status
        self.members = members
        self.reason = str(members.get("reason") or f"http_{status}")
        self.request_id = str(members.get("instance") or "")
        detail = str(members.get("detail") or members.get("title") or f"HTTP status {status}.")
        if isinstance(candidates := members.get("candidates"), list) and candidates:
            named = (each.get("principal") for each in candidates if isinstance(each, dict))
            detail += f" Candidates: {', '.join(map(str, named))}."
        super().__init__(f"{detail} ({self.facts})")

    @property
    def facts(self) -> str:
        """The reason and the request id, for the end of a message."""
        return self.reason + (f", request {self.request_id}" if self.request_id else "")
