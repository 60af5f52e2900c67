"""Grants of service accounts in the organisation's authorization service, where it has one.

A grant precedes the row: without a grant no row is written. A revocation follows the deletion of
the row. It is tried once, and its failure does not change the answer, because without the row the
service account has no rights.
"""

import random
import time
from typing import Literal

from byline.fetch import post_json
from byline.identity.caller import Principal
from byline.metrics import Metrics
from byline.registration.answers import PASSING, ErrorClass
from byline.registration.authorization_service import (
    AuthorizationService,
    Json,
    count_in,
    principal,
    resource,
)
from serve_runs.errors import RequestFailed

GRANT_SECONDS = 12
"""The longest time for all attempts: the caller waits for the answer."""

OPERATION = "create"
"""The operation that is granted and revoked: the service account acts for the person."""


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
        """Grant a person the use of a service account.

        Raises `RequestFailed`: `grant_unavailable`; `grant_refused` where a retry is useless.
        """
        until = time.time() + GRANT_SECONDS
        grantee, account = _named(person, account_id)
        error = self._service.grant(grantee, account, operation=OPERATION, until=until).error
        if error in PASSING:
            raise RequestFailed("grant_unavailable")
        if error is not None:
            raise RequestFailed("grant_refused")

    def revoke(self, person: Principal, account_id: str) -> ErrorClass | None:
        """Revoke the grant, in one attempt. Returns the class of the error, None for success."""
        grantee, account = _named(person, account_id)
        return self._service.revoke(grantee, account, operation=OPERATION, until=time.time()).error


def _named(person: Principal, account_id: str) -> tuple[Json, Json]:
    kind: Literal["user"] = "user"  # only people have service accounts
    grantee = principal(kind, subject=person.subject, issuer=person.issuer)
    return grantee, resource("api_key", account_id)
