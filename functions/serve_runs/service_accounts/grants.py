"""What the organisation's authorization service is told of service accounts, where there is one.

The grant comes before the row, and without it there is no row. Taking it back comes after the row
is gone, is tried once, and changes no answer: the row decides, and it says no already.
"""

import random
import time
from typing import Literal

from byline.fetch import post_json
from byline.identity.caller import Principal
from byline.registration.authorization_service import (
    PASSING,
    AuthorizationService,
    ErrorClass,
    Json,
    principal,
    resource,
)
from serve_runs.metrics import count_authorization
from serve_runs.web.problems import Problem, unavailable

GRANT_SECONDS = 12
"""For all attempts: whoever waits for the answer has other limits than a stream's."""

OPERATION = "create"
"""What is granted, and taken back: to have this service account act for oneself."""


class Grants:
    """The grants of the service at `url`."""

    def __init__(self, url: str) -> None:
        self._service = AuthorizationService(
            url,
            post=post_json,
            now=time.time,
            sleep=time.sleep,
            random=random.random,
            count=count_authorization,
        )

    def grant(self, person: Principal, account_id: str) -> None:
        """Allow a person the service account. Raises `Problem`: 503, and 502 where asking again
        would change nothing."""
        until = time.time() + GRANT_SECONDS
        who, what = _named(person, account_id)
        error = self._service.grant(who, what, operation=OPERATION, until=until).error
        if error in PASSING:
            raise unavailable("grant_unavailable", "The authorization service does not answer.")
        if error is not None:
            raise Problem(502, "grant_refused", "The authorization service did not grant it.")

    def revoke(self, person: Principal, account_id: str) -> ErrorClass | None:
        """Take that back, if it can be had at once: None, or what went wrong."""
        who, what = _named(person, account_id)
        return self._service.revoke(who, what, operation=OPERATION, until=time.time()).error


def _named(person: Principal, account_id: str) -> tuple[Json, Json]:
    kind: Literal["user"] = "user"  # nobody else has service accounts
    who = principal(kind, subject=person.subject, issuer=person.issuer)
    return who, resource("api_key", account_id)
