"""The principals in `PROJECT_ADMINS`, which administer every project."""

from typing import cast

import msgspec

from byline.errors import Misconfigured
from byline.identity.caller import ANONYMOUS, Principal, PrincipalKind
from byline.identity.settings import IdentitySettings
from byline.identity.typed_text import fault_of_typed

DEPLOYMENT_ROLE = "deployment:admin"
"""Their role on what belongs to no project. It is in no row, and cannot be granted."""


class DefaultIssuers(msgspec.Struct, frozen=True):
    """The issuers of subjects that are given without one; empty where several are possible.

    `user`: of a person, the issuer that browsers sign in with, else the only trusted one.
    `application`: the only issuer whose Bearer tokens count, because no application signs in with a
    browser. `trusted`: every issuer that callers can have.
    """

    user: str
    application: str
    trusted: frozenset[str]

    def of(self, kind: PrincipalKind) -> str:
        """The issuer of a subject of this kind."""
        return self.application if kind == "application" else self.user


def default_issuers(settings: IdentitySettings) -> DefaultIssuers:
    """The issuers of subjects that are given without one, in a deployment with `settings`."""
    issuers = [issuer.issuer for issuer in settings.trusted_issuers]
    only = issuers[0] if len(issuers) == 1 else ""
    trusted = frozenset(filter(None, [settings.oidc_issuer, *issuers]))
    return DefaultIssuers(settings.oidc_issuer or only, only, trusted)


def read_admins(text: str, *, issuers: DefaultIssuers) -> frozenset[Principal]:
    """The principals that `PROJECT_ADMINS` names, separated by commas. Raises `Misconfigured`.

    An entry is `[user:|application:][issuer#]subject`, or `anonymous`. The default kind is `user`.
    """
    return frozenset(_admin(entry.strip(), issuers) for entry in text.split(",") if entry.strip())


def _admin(entry: str, issuers: DefaultIssuers) -> Principal:
    if entry == "anonymous":
        return ANONYMOUS
    kind: PrincipalKind = "user"
    if entry.startswith(("user:", "application:")):
        named, _, entry = entry.partition(":")
        kind = cast(PrincipalKind, named)
    issuer, hash_sign, subject = entry.partition("#")
    if not hash_sign:
        issuer, subject = issuers.of(kind), entry
        if not issuer:
            raise Misconfigured(
                "PROJECT_ADMINS",
                f"the {kind} {entry!r} needs its issuer, as `{kind}:issuer#subject`: an application"
                " has the only issuer of TRUSTED_ISSUERS by default, a person that of OIDC_ISSUER",
            )
    if not subject or not issuer:
        raise Misconfigured("PROJECT_ADMINS", f"{entry!r} lacks a subject or an issuer")
    if fault := fault_of_typed(subject) or fault_of_typed(issuer):
        raise Misconfigured("PROJECT_ADMINS", f"{entry!r} {fault}")
    return Principal(kind, issuer, subject)
