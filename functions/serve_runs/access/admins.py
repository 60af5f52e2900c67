"""The principals in `PROJECT_ADMINS`, which administer every project."""

from typing import cast

from byline.errors import Misconfigured
from byline.identity.caller import ANONYMOUS, Principal, PrincipalKind
from byline.identity.settings import IdentitySettings


def read_admins(text: str, *, settings: IdentitySettings) -> frozenset[Principal]:
    """The principals that `PROJECT_ADMINS` names, separated by commas. Raises `Misconfigured`.

    An entry is `[user:|application:][issuer#]subject`, or `anonymous`. The default kind is `user`.
    The default issuer is the one that browsers sign in with, else the only trusted one.
    """
    return frozenset(_admin(entry.strip(), settings) for entry in text.split(",") if entry.strip())


def default_issuer(settings: IdentitySettings) -> str:
    """The issuer of a subject given without one; empty where several issuers are trusted."""
    if settings.oidc_issuer:
        return settings.oidc_issuer
    issuers = settings.trusted_issuers
    return issuers[0].issuer if len(issuers) == 1 else ""


def _admin(entry: str, settings: IdentitySettings) -> Principal:
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
        raise Misconfigured("PROJECT_ADMINS", f"{entry!r} lacks a subject or an issuer")
    return Principal(kind, issuer, subject)
