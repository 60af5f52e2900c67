"""The principal that a request names: by its subject, by its e-mail address, or as a whole.

An address names a principal only where exactly one profile has it, and its issuer has verified it.
The binding is of the principal, so a later change of the address changes no right.
"""

from dataclasses import dataclass
from typing import Any

from byline.identity.caller import ANONYMOUS, MAX_PRINCIPAL_BYTES, Principal, read_principal
from byline.identity.typed_text import fault_of_typed
from serve_runs.access.admins import DefaultIssuers
from serve_runs.access.control import Access
from serve_runs.errors import RequestFailed, RequestReason
from serve_runs.profiles.store import Profiles, StoredProfile
from serve_runs.role_bindings.requests import NamedPrincipal, RevokedBinding, RoleBinding
from serve_runs.role_bindings.views import candidate_json

_WAYS = ("subject", "email", "principal")


@dataclass(frozen=True, slots=True)
class Principals:
    """Finds principals. `issuers`: those of subjects given without one."""

    issuers: DefaultIssuers
    profiles: Profiles

    def of(self, binding: RoleBinding | RevokedBinding, access: Access) -> Principal:
        """The principal of a binding.

        Raises `RequestFailed`: `invalid_parameter`, `unknown_email`, `ambiguous_email`.
        """
        given = [way for way in _WAYS if getattr(binding, way) is not None]
        if binding.kind == "anonymous":
            if given or binding.issuer is not None:
                raise _invalid("The kind `anonymous` takes no `subject` and no `issuer`.")
            return ANONYMOUS
        if len(given) != 1:
            raise _invalid("Give exactly one of `subject`, `email` and `principal`.")
        if binding.subject is not None:
            return self._of_subject(binding, binding.subject)
        if binding.kind is not None or binding.issuer is not None:
            raise _invalid(f"`{given[0]}` takes no `kind` and no `issuer`.")
        if binding.email is not None:
            return self.owner(binding.email, access)
        return named_principal(binding.principal)

    def owner(self, email: str, access: Access) -> Principal:
        """The only person with an e-mail address that an issuer has verified.

        Raises `RequestFailed`: `unknown_email`, `ambiguous_email`; with all owners of the address
        as `candidates`, for a caller that may read the project's role bindings.
        """
        if fault := fault_of_typed(email):
            raise _invalid(f"The e-mail address {fault}.")
        owners = self.profiles.find_by_email(email)
        profiles = self.profiles.read(owners.principals)
        # Read anew, because the index may be behind the profiles.
        found = {
            principal: profile
            for principal, profile in profiles.items()
            if profile.email.lower() == email.lower()
        }
        verified = [principal for principal, profile in found.items() if profile.email_verified]
        if len(verified) == 1:
            return verified[0]
        raise _unresolved("ambiguous_email" if verified else "unknown_email", found, access)

    def _of_subject(self, binding: RoleBinding | RevokedBinding, subject: str) -> Principal:
        kind = binding.kind or "user"
        issuer = binding.issuer or self.issuers.of(kind)
        if not issuer:
            trusted = ", ".join(sorted(self.issuers.trusted)) or "none"
            raise _invalid(f"`issuer` is required for the {kind}. Trusted issuers: {trusted}.")
        return _short(Principal(kind, issuer, subject))


def named_principal(principal: str | NamedPrincipal | None) -> Principal:
    """The principal of a text `kind:issuer#subject`, or of an object such as those in `who`.

    Raises `RequestFailed` (`invalid_parameter`).
    """
    if isinstance(principal, NamedPrincipal):
        return _short(Principal(principal.kind, principal.issuer, principal.subject))
    try:
        return _short(read_principal(principal or ""))
    except ValueError:
        raise _invalid(
            "`principal` must be `user:issuer#subject`, `application:issuer#subject` or"
            " `anonymous`."
        ) from None


def _short(principal: Principal) -> Principal:
    if len(principal.text.encode()) > MAX_PRINCIPAL_BYTES:
        raise _invalid("`issuer` and `subject` are too long together.")
    return principal


def _unresolved(
    reason: RequestReason, found: dict[Principal, StoredProfile], access: Access
) -> RequestFailed:
    """The error of an address without exactly one owner.

    Owners may have no role here, so only callers who may read the project's role bindings see them.
    """
    members: dict[str, Any] = {}
    if access.may("read_roles", access.resource("RoleBindings", "")):
        members["candidates"] = [candidate_json(each, found[each]) for each in found]
    return RequestFailed(reason, members=members)


def _invalid(detail: str) -> RequestFailed:
    return RequestFailed("invalid_parameter", detail)
