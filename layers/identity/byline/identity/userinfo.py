"""Completion of a person's profile from the issuer's userinfo endpoint.

OpenID Connect Core 1.0, section 5.3. It is best effort: after any failure the caller stays as the
verified token names it. A value of the verified token is never replaced.
"""

from copy import replace
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from byline.caching import BoundedCache, Clock, SingleFlight
from byline.errors import Rejected, Unavailable
from byline.fetch import Fetch, FetchFailed
from byline.identity.caller import Caller, Verified
from byline.identity.claims import email_of, optional_text, required_text
from byline.identity.discovery import Discovery
from byline.identity.documents import fetch_document
from byline.identity.unverified import UnverifiedToken

ANSWER_LIFETIME_SECONDS = 600
"""The longest use of an answer. It ends earlier if its token expires."""

FAILURE_LIFETIME_SECONDS = 30
"""The time after a failure in which the same token is not sent again."""

CACHED_ANSWERS = 1_024


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A verified caller whose profile lacks values.

    `expiry` is the token's, seconds since the epoch. `subjects` are those that an answer may name.
    """

    caller: Caller
    expiry: float
    subjects: frozenset[str]


def is_incomplete(caller: Caller) -> bool:
    """Whether userinfo could add values to a person's profile."""
    profile = (caller.email, caller.given_name, caller.family_name)
    return caller.kind == "user" and not all(profile)


class Userinfo:
    """The userinfo endpoint of one issuer, found by discovery."""

    def __init__(self, *, discovery: Discovery, fetch: Fetch, now: Clock) -> None:
        self._discovery = discovery
        self._fetch = fetch
        self._now = now
        self._answered: BoundedCache[bytes, Verified] = BoundedCache(CACHED_ANSWERS, now=now)
        self._flights: SingleFlight[bytes] = SingleFlight()

    def complete(self, incomplete: Incomplete, *, token: UnverifiedToken) -> Verified:
        """The caller with the values that the endpoint adds, and until when they count.

        The caller is unchanged where the endpoint fails; this is never an error. `token` is the
        caller's verified token. It is sent to this endpoint and to no other address.
        """
        digest = sha256(token.text.encode()).digest()
        return self._flights.run(digest, lambda: self._known_or_asked(incomplete, digest, token))

    def _known_or_asked(
        self, incomplete: Incomplete, digest: bytes, token: UnverifiedToken
    ) -> Verified:
        if known := self._answered.get(digest):
            return known
        try:
            caller = _filled(incomplete, self._answer(token))
            lifetime = ANSWER_LIFETIME_SECONDS
        except (FetchFailed, Rejected, Unavailable):
            caller = incomplete.caller
            lifetime = FAILURE_LIFETIME_SECONDS
        answered = Verified(caller, until=min(incomplete.expiry, self._now() + lifetime))
        self._answered.put(digest, answered, until=answered.until)
        return answered

    def _answer(self, token: UnverifiedToken) -> dict[str, Any]:
        """The endpoint's answer. A signed answer (`application/jwt`) is not JSON, so it fails."""
        endpoint = self._discovery.get().value.userinfo_endpoint
        if endpoint is None:
            raise FetchFailed("the issuer has no userinfo endpoint")
        headers = {"authorization": f"Bearer {token.text}", "accept": "application/json"}
        return fetch_document(endpoint, dict[str, Any], fetch=self._fetch, headers=headers)


def _filled(incomplete: Incomplete, answer: dict[str, Any]) -> Caller:
    """The caller with the answer's values. Raises `Rejected` for another subject (5.3.2).

    The answer is not signed. So where a signed claim other than `sub` names the person, the answer
    must name the same person.
    """
    caller = incomplete.caller
    if required_text(answer, "sub") not in incomplete.subjects:
        raise Rejected("subject_mismatch", "userinfo names another subject than the token")
    email = (caller.email, caller.email_verified) if caller.email else email_of(answer)
    return replace(
        caller,
        given_name=caller.given_name or optional_text(answer, "given_name"),
        family_name=caller.family_name or optional_text(answer, "family_name"),
        email=email[0],
        email_verified=email[1],
    )
