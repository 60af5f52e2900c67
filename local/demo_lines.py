"""The demo's output: a line for each answer, marked with `!` if it is not as expected."""

from typing import Any

import httpx


class Lines:
    """Prints lines, and counts those that are not as expected in `broken`."""

    def __init__(self) -> None:
        self.broken = 0

    def title(self, text: str) -> None:
        """Print the title of a scene."""
        print(f"\n{text}")

    def show(self, what: str, answer: httpx.Response, status: int, word: str) -> None:
        """Print an answer. It is as expected if it has this status and its line has `word`."""
        fact = _fact(answer)
        is_as_promised = answer.status_code == status and word in fact
        self.verdict(what, f"{answer.status_code} {fact}", is_as_promised=is_as_promised)

    def verdict(self, what: str, outcome: str, *, is_as_promised: bool) -> None:
        """Print any other outcome, and whether it is as expected."""
        mark = "  " if is_as_promised else "! "
        self.broken += not is_as_promised
        print(f"{mark}{what:<44}{outcome}")


def name_of(executed_by: dict[str, Any] | None) -> str:
    """The name of a user or an application; `-` for none."""
    match executed_by:
        case {"user": {"spec": {"firstName": first, "lastName": last}}}:
            return f"{first} {last}"
        case {"application": {"spec": {"name": name}}}:
            return str(name)
    return "-"


def _fact(answer: httpx.Response) -> str:
    """The main fact of an answer. For a token, that is when it expires."""
    if not answer.headers.get("content-type", "").endswith("json"):
        return answer.text.strip().partition(": ")[2]
    body = answer.json()
    if "kind" in body:
        return f"{name_of(body['executed_by'])}, {body['kind']}, verified by {body['source']}"
    if "token_type" in body:
        return f"a {body['token_type']} token that expires at {clock(body['expires_at'])}"
    # A run and a runner have a status, a service account has a role.
    return str(body.get("reason") or f"{body['name']}: {body.get('status') or body['role']}")


def clock(time: str) -> str:
    """The hours, minutes and seconds of an RFC 3339 time."""
    return time[11:19]
