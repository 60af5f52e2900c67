"""Telling the authorization service of one run: what its row says now, and nothing that was.

Why nothing is lost. A row's mark is written with the row and goes only after the service has said
yes to what the row says. Every other end leaves the mark, and the next pass finds it.

Why nothing that was deleted comes back. A run goes one way, from alive to deleted. Somebody who
registers holds the run's claim and has read its row, alive, after taking it; somebody who
deregisters holds the same claim. So a registration whose end is known never ends after a
deregistration began. One whose end is not known (it timed out, or its worker died) leaves a doubt
with the claim, and until that has settled every deregistration is repeated and none counts.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from byline.caching import Clock
from byline.fetch import POST_TIMEOUT_SECONDS
from byline.registration.authorization_service import AuthorizationService, ErrorClass, Operation
from register_resources.claims import Claim, Claims
from register_resources.pending_rows import RunKey, UnregisteredRow, UnregisteredRows

Result = Literal["registered", "deregistered", "nothing", "busy", "unsettled", "failed"]
"""`nothing`: the service knew already, or somebody else has told it meanwhile. `unsettled`: told,
and to be told again, or out of time. All but the first three leave the row marked."""


class Registrar:
    """Settles runs, one at a time and whatever others do beside it. `failed` is told of a delivery
    that failed."""

    def __init__(
        self,
        rows: UnregisteredRows,
        claims: Claims,
        service: AuthorizationService,
        *,
        failed: Callable[[RunKey, Operation, ErrorClass], None],
        now: Clock,
    ) -> None:
        self._rows = rows
        self._claims = claims
        self._service = service
        self._failed = failed
        self._now = now

    def settle(self, key: RunKey, *, until: float, claim_until: float) -> Result:
        """Tell the service what it does not know of the run, so that all is done by `until`.

        `claim_until`: when this worker is certainly dead. An error of the store leaves the claim
        as it is: whoever comes after its end takes for unknown what was sent.
        """
        claim = self._claims.take(key, now=self._now(), until=claim_until)
        if claim is None:
            return "busy"
        result = self._settle(claim, until=until)
        self._claims.give_back(claim, now=self._now())
        return result

    def _settle(self, claim: Claim, *, until: float) -> Result:
        while self._now() + POST_TIMEOUT_SECONDS <= until:
            row = self._rows.read(claim.key)
            if row is None:
                return "nothing"
            result = (self._deregister if row.is_deleted else self._register)(claim, row, until)
            if result is not None:
                return result
            # The row changed while the service was asked: look again.
        return "unsettled"

    def _register(self, claim: Claim, row: UnregisteredRow, until: float) -> Result | None:
        outcome = self._service.register(row.owner, row.task, parent=row.parent, until=until)
        if not outcome.is_certain:
            claim.note_doubt(now=self._now())
        if outcome.error is not None:
            return self._fail(row, "register", outcome.error)
        return "registered" if self._rows.mark_registered(row, at=self._time()) else None

    def _deregister(self, claim: Claim, row: UnregisteredRow, until: float) -> Result | None:
        asked_at = self._now()
        outcome = self._service.deregister(row.owner, row.task, until=until)
        if outcome.error is not None:
            return self._fail(row, "deregister", outcome.error)
        if claim.doubt_until > asked_at:
            return "unsettled"
        return "deregistered" if self._claims.finish(claim, row, at=self._time()) else "unsettled"

    def _fail(self, row: UnregisteredRow, operation: Operation, error: ErrorClass) -> Result | None:
        self._failed(row.key, operation, error)
        return "failed" if self._rows.mark_failed(row, error) else None

    def _time(self) -> str:
        at = datetime.fromtimestamp(self._now(), UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
