"""Who sent a request, after verification."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["user", "application", "unknown"]
"""A person, a service account, or a verified subject of which the issuer's profile cannot tell.
The last counts as neither: it creates nothing in anybody's name."""

Source = Literal["alb", "bearer"]
"""Which credential was verified: the load balancer's own token or a Bearer token."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller. It is identified by (`issuer`, `subject`), never by e-mail.

    `token_subject` is the token's own `sub`; it differs from `subject` only where an issuer puts
    the client's id there and userinfo named the person (see `userinfo`).
    `name` is what to call it: the first of the verified `preferred_username`, `username`, `sub`;
    for a service account the configured name goes before them.
    """

    kind: Kind
    source: Source
    issuer: str
    subject: str
    token_subject: str
    name: str
    given_name: str = ""
    family_name: str = ""
    email: str = ""

    @property
    def executed_by(self) -> dict[str, Any] | None:
        """Flyte's `EnrichedIdentity` as JSON: a `user` or an `application`, empty fields left out.

        None for a caller of unknown kind.
        """
        if self.kind == "user":
            profile = {
                "firstName": self.given_name,
                "lastName": self.family_name,
                "email": self.email,
            }
            return _identity("user", self.subject, profile)
        if self.kind == "application":
            return _identity("application", self.subject, {"name": self.name})
        return None


def _identity(kind: str, subject: str, profile: dict[str, str]) -> dict[str, Any]:
    spec = {field: value for field, value in profile.items() if value}
    identity: dict[str, Any] = {"id": {"subject": subject}}
    if spec:
        identity["spec"] = spec
    return {kind: identity}
