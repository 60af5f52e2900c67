"""The verified sender of a request: a `Caller`, its `Principal`, and its identity in a run.

`ExecutedBy` has the JSON of Flyte's `EnrichedIdentity`:
`{"user": {"id": {"subject": …}, "spec": {"firstName": …, "lastName": …, "email": …}}}` or
`{"application": {"id": {"subject": …}, "spec": {"name": …}}}`. Empty fields are left out.
"""

from typing import Any, Literal, cast

import msgspec

Kind = Literal["user", "application", "unknown"]
"""A person, a service account, or a verified subject whose kind the claim rules do not prove.
A caller of unknown kind is refused."""

Source = Literal["alb", "bearer"]
"""The credential that was verified: the load balancer's own token, or a Bearer token."""

PrincipalKind = Literal["user", "application", "anonymous"]

MAX_PRINCIPAL_BYTES = 840
"""A DynamoDB sort key has at most 1,024 bytes; an audit record's holds project and role too.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

_CEDAR_TYPES = {"user": "User", "application": "Application", "anonymous": "Anonymous"}


class Subject(msgspec.Struct, frozen=True):
    """The caller's identifier at its issuer."""

    subject: str


class UserSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A person's names and e-mail address; empty if unknown."""

    first_name: str = ""
    last_name: str = ""
    email: str = ""


class ApplicationSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A service account's name; empty if unknown."""

    name: str = ""


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person."""

    id: Subject
    spec: UserSpec = UserSpec()


class Application(msgspec.Struct, frozen=True, omit_defaults=True):
    """A service account."""

    id: Subject
    spec: ApplicationSpec = ApplicationSpec()


class ExecutedBy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Exactly one of the two."""

    user: User | None = None
    application: Application | None = None

    def __post_init__(self) -> None:
        if (self.user is None) == (self.application is None):
            raise ValueError("exactly one of user and application")


class StoredIdentity(ExecutedBy, frozen=True, omit_defaults=True):
    """An identity as rows store it: `ExecutedBy`, and what `who` shows beside it.

    A row of an earlier version has an `ExecutedBy` alone, which is one of these without the rest.
    Rows are short, so `name` is only that of a person without given and family name, and the issuer
    stands in an attribute of its own.
    """

    name: str = ""
    through: str = ""
    link: str = ""
    started_for: str = ""


class Actor(msgspec.Struct, frozen=True):
    """An agent that a delegated token names (RFC 8693, section 4.1)."""

    issuer: str
    subject: str


class Caller(msgspec.Struct, frozen=True):
    """A verified caller. It is identified by (`issuer`, `subject`), never by e-mail.

    `token_subject` is the token's own `sub`. It differs from `subject` where another claim names
    the caller (see `issuer_profiles.Profile`). `name` is the display name: that of the issuer's
    profile, by default the first of the verified `preferred_username`, `username`, `sub`. A service
    account's configured name comes before them. `email_verified`: whether the issuer says that it
    has verified `email`. `full_name`: the claim `name`. `through`: the client that a person uses.
    `link`: the page about a workload's job. `started_for`: who set the job off, as its issuer
    claims. It gives no right.

    `represents`: the person in whose name a delegated token acts, whose agent the caller is.
    `chain`: the agents before the caller, the latest first. They are recorded, and decide nothing.
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
    email_verified: bool = False
    full_name: str = ""
    through: str = ""
    link: str = ""
    started_for: str = ""
    represents: "Caller | None" = None
    chain: tuple[Actor, ...] = ()

    @property
    def display_name(self) -> str:
        """The name to show: a person's given and family name come before all others."""
        if self.kind == "user":
            return f"{self.given_name} {self.family_name}".strip() or self.full_name or self.name
        return self.name

    @property
    def stored(self) -> str | None:
        """The identity as rows store it, JSON of a `StoredIdentity`; None for an unknown kind."""
        identity = self.identity
        if identity is None:
            return None
        is_named = self.kind == "application" or self.given_name or self.family_name
        name = self.full_name or self.name
        stored = StoredIdentity(
            identity.user,
            identity.application,
            name="" if is_named or name == self.subject else name,
            through=self.through,
            link=self.link,
            started_for=self.started_for,
        )
        return msgspec.json.encode(stored).decode()

    @property
    def identity(self) -> ExecutedBy | None:
        """The caller's identity as runs store it; None for a caller of unknown kind."""
        subject = Subject(self.subject)
        if self.kind == "user":
            spec = UserSpec(self.given_name, self.family_name, self.email)
            # Without any profile value, the `spec` is left out.
            user = User(subject) if spec == UserSpec() else User(subject, spec)
            return ExecutedBy(user=user)
        if self.kind == "application":
            return ExecutedBy(application=Application(subject, ApplicationSpec(self.name)))
        return None

    @property
    def executed_by(self) -> dict[str, Any] | None:
        """`identity` as dicts and texts, a new copy each time; None for an unknown kind."""
        return None if self.identity is None else msgspec.to_builtins(self.identity)


class Verified(msgspec.Struct, frozen=True):
    """The caller that a token names, after every check of the token.

    `until` is the time from which the token must be verified again, seconds since the epoch: the
    token expired, or its key must be fetched again.
    """

    caller: Caller
    until: float


class Principal(msgspec.Struct, frozen=True):
    """A caller as roles and policies name it. An anonymous one has no `issuer` and no `subject`."""

    kind: PrincipalKind
    issuer: str = ""
    subject: str = ""

    @property
    def text(self) -> str:
        """The text that tables store: `<kind>:<issuer>#<subject>`, or `anonymous`.

        An issuer has no fragment (OpenID Connect Discovery 1.0, section 3). So the first `#` ends
        the issuer, and no two principals have the same text.
        """
        return "anonymous" if self.kind == "anonymous" else f"{self.kind}:{self.name}"

    @property
    def name(self) -> str:
        """`<issuer>#<subject>`, or `anonymous`: unique within the kind."""
        return "anonymous" if self.kind == "anonymous" else f"{self.issuer}#{self.subject}"

    @property
    def uid(self) -> dict[str, str]:
        """The principal's entity in Cedar, as `{"type": …, "id": …}`."""
        return {"type": f"Byline::{_CEDAR_TYPES[self.kind]}", "id": self.name}


ANONYMOUS = Principal("anonymous")


def principal_of(caller: Caller | None) -> Principal:
    """The principal of a caller; `ANONYMOUS` for None and for a caller of unknown kind."""
    if caller is None or caller.kind == "unknown":
        return ANONYMOUS
    return Principal(caller.kind, caller.issuer, caller.subject)


def principal_text(caller: Caller | None) -> str:
    """A caller as records name it, `anonymous` for None. One of unknown kind has a name too."""
    return "anonymous" if caller is None else f"{caller.kind}:{caller.issuer}#{caller.subject}"


def read_principal(text: str) -> Principal:
    """The principal of a stored `text`, the reverse of `Principal.text`.

    Raises `ValueError` for a text that is not a principal's.
    """
    if text == "anonymous":
        return ANONYMOUS
    kind, _, name = text.partition(":")
    issuer, hash_sign, subject = name.partition("#")
    if kind not in ("user", "application") or not (issuer and hash_sign and subject):
        raise ValueError("not a principal")
    return Principal(cast(PrincipalKind, kind), issuer, subject)


_DECODER = msgspec.json.Decoder(StoredIdentity)


def read_executed_by(stored: str | bytes) -> dict[str, Any] | None:
    """The `executed_by` object of `stored` JSON; None, and never an error, for any other text."""
    identity = _read_stored(stored)
    if identity is None:
        return None
    # `executed_by` has Flyte's shape and no more.
    return msgspec.to_builtins(ExecutedBy(identity.user, identity.application))  # type: ignore[no-any-return]


def who(stored: str | bytes | None, *, issuer: str | None) -> dict[str, Any] | None:
    """The caller of `stored` JSON, readable: kind, issuer, subject, name, e-mail and more.

    `issuer`: None in rows of earlier versions that do not have it. The result is None for None and
    for any other text.
    """
    identity = None if stored is None else _read_stored(stored)
    if identity is None:
        return None
    if identity.user is not None:
        kind, subject, spec = "user", identity.user.id.subject, identity.user.spec
    elif identity.application is not None:
        kind, subject = "application", identity.application.id.subject
        spec = UserSpec(identity.application.spec.name)
    name = identity.name or f"{spec.first_name} {spec.last_name}".strip()
    return {
        "kind": kind,
        "issuer": issuer,
        "subject": subject,
        "name": name or subject,
        "email": spec.email or None,
        "through": identity.through or None,
        "link": identity.link or None,
        "started_for": identity.started_for or None,
    }


def _read_stored(stored: str | bytes) -> StoredIdentity | None:
    try:
        return _DECODER.decode(stored)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
