"""Registers or deregisters one run, as its row says now.

Why no registration is lost. The outbox entry is written with the row, and is cleared only after the
service has answered with success for what the row says. After every other end the entry stays, and
the next pass finds it.

Why no deleted run comes back. A run goes one way, from existing to deleted. A worker that registers
a run holds the run's claim, and has read the row after taking it. A worker that deregisters the run
holds the same claim. So a registration whose end is known ended before the deregistration began. A
registration whose end is unknown (it timed out, or its worker died) leaves a doubt with the claim.
Until that doubt has ended, every deregistration is repeated and none is final.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

from byline.caching import Clock
from byline.fetch import POST_TIMEOUT_SECONDS
from byline.registration.answers import ErrorClass
from byline.registration.authorization_service import AuthorizationService, Delivery
from byline.registration.counters import Operation
from byline.registration.outbox import GRANT_OPERATION
from byline.tables.rows import Contended, rfc3339
from register_resources.claims import RunClaim, RunClaims
from register_resources.pending import (
    PendingRegistrations,
    PendingRevocation,
    PendingRow,
    RunKey,
)

Result = Literal["registered", "deregistered", "revoked", "nothing", "busy", "unsettled", "failed"]
"""`nothing`: no registration is pending. `busy`: another worker has the claim. `unsettled`: the
deregistration must be repeated, time is over, or the service asked for a pause. After the last
three, the outbox entry stays."""

PERSONS_OPERATION = "read"
"""What a person may do with a run that a service account created for it. Its owner, with all
operations, is the service account. Deregistration removes the grant with the run."""

SKEW_SECONDS = 5
"""The largest difference between the clocks of two workers."""

TABLE_ERRORS = (ClientError, BotoCoreError, Contended)
"""The errors of the table's calls. The worker survives them, so the end of each call of the service
is known or noted as a doubt."""


class Registrar:
    """Settles runs. `failed` is called with the run, the operation and the error of a failure."""

    def __init__(
        self,
        pending: PendingRegistrations,
        claims: RunClaims,
        service: AuthorizationService,
        *,
        failed: Callable[[RunKey, Operation, ErrorClass], None],
        now: Clock,
    ) -> None:
        self._pending = pending
        self._claims = claims
        self._service = service
        self._failed = failed
        self._now = now

    def settle(self, key: RunKey, *, until: float, claim_until: float) -> Result:
        """Register or deregister the run where that is pending, and end by `until`.

        `claim_until`: the time by which this worker has certainly ended. Raises `TABLE_ERRORS`, and
        gives the claim back before with its doubt, so that the next worker can go on at once.
        """
        if self._service.is_paused:
            return "unsettled"
        if key.is_revocation and self._due_revocation(key) is None:
            # A claim would make the request fail that is creating the grant at this moment.
            return "nothing"
        claim = self._claims.take(key, now=self._now(), until=claim_until)
        if claim is None:
            return "busy"
        try:
            result = self._settle(claim, until=until)
        except TABLE_ERRORS:
            with suppress(*TABLE_ERRORS):
                self._claims.give_back(claim, now=self._now())
            raise
        self._claims.give_back(claim, now=self._now())
        return result

    def _settle(self, claim: RunClaim, *, until: float) -> Result:
        while self._has_time(until):
            result = self._settle_once(claim, until)
            if result is not None:
                return result
            # The row changed during the call of the service, so its new state counts.
        return "unsettled"

    def _settle_once(self, claim: RunClaim, until: float) -> Result | None:
        """The result; None if the row changed during the call of the service."""
        if claim.key.is_revocation:
            # Read again: a request may have begun to create the grant before the claim was taken.
            revocation = self._due_revocation(claim.key)
            return "nothing" if revocation is None else self._revoke(claim, revocation, until)
        row = self._pending.read(claim.key)
        if row is None:
            return "nothing"
        return (self._deregister if row.is_deleted else self._register)(claim, row, until)

    def _register(self, claim: RunClaim, row: PendingRow, until: float) -> Result | None:
        delivery = self._service.register(row.owner, row.task, parent=row.parent, until=until)
        self._note_doubt(claim, delivery)
        if delivery.error is not None:
            return self._fail(row, "register", delivery.error)
        if row.person is not None:
            if not self._has_time(until):
                return "unsettled"
            delivery = self._service.grant(
                row.person, row.task, operation=PERSONS_OPERATION, until=until
            )
            self._note_doubt(claim, delivery)
            if delivery.error is not None:
                return self._fail(row, "grant", delivery.error)
        return "registered" if self._pending.clear(row, at=rfc3339(self._now())) else None

    def _deregister(self, claim: RunClaim, row: PendingRow, until: float) -> Result | None:
        asked_at = self._now()
        delivery = self._service.deregister(row.owner, row.task, until=until)
        if delivery.error is not None:
            return self._fail(row, "deregister", delivery.error)
        if claim.doubt_until > asked_at:
            return "unsettled"
        is_finished = self._claims.finish(claim, row, at=rfc3339(self._now()))
        return "deregistered" if is_finished else "unsettled"

    def _revoke(self, claim: RunClaim, row: PendingRevocation, until: float) -> Result | None:
        asked_at = self._now()
        delivery = self._service.revoke(
            row.person, row.service_account, operation=GRANT_OPERATION, until=until
        )
        # A new grant must wait until no attempt of this revocation can take effect any more.
        self._note_doubt(claim, delivery)
        if delivery.error is not None:
            return self._fail(row, "revoke", delivery.error)
        if claim.doubt_until > asked_at:
            return "unsettled"
        is_finished = self._claims.finish(claim, row, at=rfc3339(self._now()))
        return "revoked" if is_finished else "unsettled"

    def _due_revocation(self, key: RunKey) -> PendingRevocation | None:
        row = self._pending.read_revocation(key)
        is_due = row is not None and row.since <= rfc3339(self._now() + SKEW_SECONDS)
        return row if is_due else None

    def _has_time(self, until: float) -> bool:
        return self._now() + POST_TIMEOUT_SECONDS <= until

    def _note_doubt(self, claim: RunClaim, delivery: Delivery) -> None:
        if not delivery.is_certain:
            claim.note_doubt(now=self._now())

    def _fail(
        self, row: PendingRow | PendingRevocation, operation: Operation, error: ErrorClass
    ) -> Result | None:
        self._failed(row.key, operation, error)
        return "failed" if self._pending.note_error(row, error) else None
