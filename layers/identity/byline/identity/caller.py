"""Who sent a request, after verification."""

from typing import Any, Literal

import msgspec

from byline.identity.executed_by import (
    Application,
    ApplicationSpec,
    ExecutedBy,
    Subject,
    User,
    UserSpec,
)

Kind = Literal["user", "application", "unknown"]
"""A person, a service account, or a verified subject of which the issuer's profile cannot tell.
The last counts as neither: it creates nothing in anybody's name."""

Source = Literal["alb", "bearer"]
"""Which credential was verified: the load balancer's own token or a Bearer token."""


class Caller(msgspec.Struct, frozen=True):
    """A verified caller. It is identified by (`issuer`, `subject`), never by e-mail.

    `token_subject` is the token's own `sub`; it differs from `subject` only where an issuer puts
    the client's id there and another claim, or userinfo, names the person (see `profiles`).
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
    def identity(self) -> ExecutedBy | None:
        """The caller as a run remembers it; None for a caller of unknown kind."""
        subject = Subject(self.subject)
        if self.kind == "user":
            spec = UserSpec(self.given_name, self.family_name, self.email)
            # Left out is only what is never given, not what equals the default.
            user = User(subject) if spec == UserSpec() else User(subject, spec)
            return ExecutedBy(user=user)
        if self.kind == "application":
            return ExecutedBy(application=Application(subject, ApplicationSpec(self.name)))
        return None

    @property
    def executed_by(self) -> dict[str, Any] | None:
        """`identity` as JSON's types."""
        return None if self.identity is None else msgspec.to_builtins(self.identity)
