"""Grants of service accounts in the organisation's authorization service, where it has one.

A grant precedes the row: without a grant no row is written. A revocation follows the deletion of
the row, is tried once, and changes no answer: without the row the service account has no rights
here.
"""

import random
import time
from typing import Literal

from byline.fetch import post_json
from byline.identity.caller import Principal
from byline.metrics import Metrics
from byline.registration.authorization_service import (
    PASSING,
    AuthorizationService,
    ErrorClass,
    Json,
    count_in,
    principal,
    resource,
)
from serve_runs.errors import RequestFailed

GRANT_SECONDS = 12
"""The longest time for all attempts: the caller waits for the answer."""

OPERATION = "create"
"""The operation that is granted and revoked: to have this service account act for oneself."""


class Grants:
    """The grants of the service at `url`. Calls are counted in `metrics`."""

    def __init__(self, url: str, *, metrics: Metrics) -> None:
        self._service = AuthorizationService(
            url,
            post=post_json,
            now=time.time,
            sleep=time.sleep,
            random=random.random,
            count=count_in(metrics),
        )

    def grant(self, person: Principal, account_id: str) -> None:
        """Grant a person the service account.

        Raises `RequestFailed`: `grant_unavailable`; `grant_refused` where a retry is useless.
        """
        until = time.time() + GRANT_SECONDS
        who, what = _named(person, account_id)
        error = self._service.grant(who, what, operation=OPERATION, until=until).error
        if error in PASSING:
            raise RequestFailed("grant_unavailable")
        if error is not None:
            raise RequestFailed("grant_refused")

    def revoke(self, person: Principal, account_id: str) -> ErrorClass | None:
        """Revoke the grant, in one attempt: the class of the error, None where it succeeded."""
        who, what = _named(person, account_id)
        return self._service.revoke(who, what, operation=OPERATION, until=time.time()).error


def _named(person: Principal, account_id: str) -> tuple[Json, Json]:
    kind: Literal["user"] = "user"  # only people have service accounts
    who = principal(kind, subject=person.subject, issuer=person.issuer)
    return who, resource("api_key", account_id)
