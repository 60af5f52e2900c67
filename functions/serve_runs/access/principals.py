"""Who a decision is about: a person, a service account or nobody, by issuer and subject.

The kind is part of it. Otherwise a client that somebody registers as `ada` would be the person
`ada` of the same issuer.
"""

from dataclasses import dataclass
from typing import Literal, cast

from byline.errors import Misconfigured
from byline.identity.caller import Caller
from byline.settings import Settings

MAX_PRINCIPAL_BYTES = 840
"""A sort key has 1,024, that of an index too: `scope` is one, and of a record it names the project
and the role as well.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

PrincipalKind = Literal["user", "application", "anonymous"]

_TYPES = {"user": "User", "application": "Application", "anonymous": "Anonymous"}


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, as roles and policies name it. `issuer` and `subject` are empty for nobody."""

    kind: PrincipalKind
    issuer: str = ""
    subject: str = ""

    @property
    def text(self) -> str:
        """As it is stored. An issuer has no fragment (OpenID Connect Discovery 1.0, section 3), so
        the first `#` ends it, and no two principals have the same text."""
        return "anonymous" if self.kind == "anonymous" else f"{self.kind}:{self.name}"

    @property
    def name(self) -> str:
        """The same within its kind."""
        return "anonymous" if self.kind == "anonymous" else f"{self.issuer}#{self.subject}"

    @property
    def uid(self) -> dict[str, str]:
        """Its entity in Cedar."""
        return {"type": f"Byline::{_TYPES[self.kind]}", "id": self.name}


ANONYMOUS = Principal("anonymous")


def principal_of(caller: Caller | None) -> Principal:
    """The principal that a caller is."""
    if caller is None or caller.kind == "unknown":
        return ANONYMOUS
    return Principal(caller.kind, caller.issuer, caller.subject)


def read_principal(text: str) -> Principal:
    """The principal of a stored `text`. Raises `ValueError`."""
    if text == "anonymous":
        return ANONYMOUS
    kind, _, name = text.partition(":")
    issuer, hash_sign, subject = name.partition("#")
    if kind not in ("user", "application") or not (issuer and hash_sign and subject):
        raise ValueError("not a principal")
    return Principal(cast(PrincipalKind, kind), issuer, subject)


def read_admins(text: str, *, settings: Settings) -> frozenset[Principal]:
    """The principals that `PROJECT_ADMINS` names, separated by commas. Raises `Misconfigured`.

    Each is `[user:|application:][issuer#]subject`, or `anonymous`. Without a kind it is a person;
    without an issuer, one of the issuer that browsers sign in with, else of the only trusted one.
    """
    return frozenset(_admin(entry.strip(), settings) for entry in text.split(",") if entry.strip())


def default_issuer(settings: Settings) -> str:
    """Whose subjects are meant where no issuer is named; empty where that cannot be told."""
    if settings.oidc_issuer:
        return settings.oidc_issuer
    issuers = settings.trusted_issuers
    return issuers[0].issuer if len(issuers) == 1 else ""


def _admin(entry: str, settings: Settings) -> Principal:
    if entry == "anonymous":
        return ANONYMOUS
    kind: PrincipalKind = "user"
    if entry.startswith(("user:", "application:")):
        named, _, entry = entry.partition(":")
        kind = cast(PrincipalKind, named)
    issuer, hash_sign, subject = entry.partition("#")
    if not hash_sign:
        issuer, subject = default_issuer(settings), entry
        if not issuer:
            raise Misconfigured("PROJECT_ADMINS", f"{entry!r} needs its issuer: `issuer#subject`")
    if not subject or not issuer:
        raise Misconfigured("PROJECT_ADMINS", f"{entry!r} names nobody")
    return Principal(kind, issuer, subject)
