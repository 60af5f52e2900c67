"""Filling gaps in a person's profile at the issuer's userinfo endpoint.

OpenID Connect Core 1.0, section 5.3. Best effort: whatever goes wrong here leaves the caller as the
verified token named it, which is never overruled.
"""

from copy import replace
from dataclasses import dataclass
from typing import Any, Literal

from byline.caching import BoundedCache, Clock, SingleFlight
from byline.errors import Rejected, Unavailable
from byline.fetch import Fetch, FetchFailed
from byline.identity.caller import Caller
from byline.identity.claims import optional_text, required_text
from byline.identity.discovery import Discovery
from byline.identity.documents import fetch_document
from byline.identity.unverified import UnverifiedToken

ANSWER_LIFETIME_SECONDS = 600
"""How long an answer counts, and never longer than its token."""

FAILURE_LIFETIME_SECONDS = 30
"""For how long after a failure the same token is not tried again."""

CACHED_ANSWERS = 1_024


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A verified caller whose profile has gaps, and who may fill them.

    `digest` is the token's SHA-256 and `expiry` its end, seconds since the epoch. `subjects` are
    those of whom an answer may speak.
    """

    caller: Caller
    digest: bytes
    expiry: float
    subjects: frozenset[str]


def is_incomplete(caller: Caller) -> bool:
    """Whether userinfo could add to a person's profile, or name the person at all."""
    profile = (caller.email, caller.given_name, caller.family_name)
    return caller.kind == "user" and (not all(profile) or _is_named_by_client(caller))


class Userinfo:
    """The userinfo endpoint of one issuer, found by discovery."""

    def __init__(self, *, discovery: Discovery, fetch: Fetch, now: Clock) -> None:
        self._discovery = discovery
        self._fetch = fetch
        self._now = now
        self._completed: BoundedCache[bytes, Caller] = BoundedCache(CACHED_ANSWERS, now=now)
        self._failed: BoundedCache[bytes, Literal["failed"]] = BoundedCache(CACHED_ANSWERS, now=now)
        self._flights: SingleFlight[bytes] = SingleFlight()

    def complete(self, incomplete: Incomplete, *, token: UnverifiedToken) -> Caller:
        """The caller with what the endpoint adds, or as it is; never an error.

        `token` is the caller's verified one. It is sent to this endpoint and nowhere else.
        """
        known = self._known(incomplete)
        if known is not None:
            return known
        return self._flights.run(incomplete.digest, lambda: self._ask(incomplete, token))

    def _known(self, incomplete: Incomplete) -> Caller | None:
        if completed := self._completed.get(incomplete.digest):
            return completed
        return incomplete.caller if self._failed.get(incomplete.digest) else None

    def _ask(self, incomplete: Incomplete, token: UnverifiedToken) -> Caller:
        known = self._known(incomplete)
        if known is not None:
            return known  # another thread has asked meanwhile
        try:
            completed = _filled(incomplete, self._answer(token))
        except (FetchFailed, Rejected, Unavailable):
            until = self._now() + FAILURE_LIFETIME_SECONDS
            self._failed.put(incomplete.digest, "failed", until=until)
            return incomplete.caller
        until = min(incomplete.expiry, self._now() + ANSWER_LIFETIME_SECONDS)
        self._completed.put(incomplete.digest, completed, until=until)
        return completed

    def _answer(self, token: UnverifiedToken) -> dict[str, Any]:
        """A signed answer (`application/jwt`) is not JSON, and so a failure like any other."""
        endpoint = self._discovery.get().value.userinfo_endpoint
        if endpoint is None:
            raise FetchFailed("the issuer has no userinfo endpoint")
        headers = {"authorization": f"Bearer {token.text}", "accept": "application/json"}
        return fetch_document(endpoint, dict[str, Any], fetch=self._fetch, headers=headers)


def _filled(incomplete: Incomplete, answer: dict[str, Any]) -> Caller:
    """Raises `Rejected` for an answer about somebody else (section 5.3.2)."""
    caller = incomplete.caller
    subject = required_text(answer, "sub")
    if _is_named_by_client(caller):
        # The token's `sub` is its client's, so it cannot be compared; the answer names the person.
        if subject == caller.token_subject:
            raise Rejected("subject_mismatch", "userinfo speaks of the client too")
        caller = replace(caller, subject=subject, name=_name(caller, subject))
    elif subject not in incomplete.subjects:
        raise Rejected("subject_mismatch", "userinfo speaks of somebody else")
    return replace(
        caller,
        given_name=caller.given_name or optional_text(answer, "given_name"),
        family_name=caller.family_name or optional_text(answer, "family_name"),
        email=caller.email or optional_text(answer, "email"),
    )


def _is_named_by_client(caller: Caller) -> bool:
    return caller.subject != caller.token_subject


def _name(caller: Caller, subject: str) -> str:
    return subject if caller.name == caller.subject else caller.name
