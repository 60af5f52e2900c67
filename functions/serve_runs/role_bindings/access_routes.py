"""The route that says what a principal may do in a project, and by which binding.

caller → policy, unless it asks about itself → the rights that the principal has when it calls.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from aws_lambda_powertools.event_handler import Response
from msgspec import Meta

from byline.identity.caller import ANONYMOUS, Caller, Principal, principal_of
from serve_runs.access.control import ADMIN_ROLE, Access, AccessControl
from serve_runs.access.permissions import permissions, permitted_by
from serve_runs.calls import Call, json_answer
from serve_runs.role_bindings.principals import Principals, named_principal
from serve_runs.role_bindings.store import RoleStore
from serve_runs.role_bindings.views import principal_json
from serve_runs.web.requests import PersonText
from serve_runs.web.routing import Route


class AccessQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The principal to explain, from the query."""

    principal: Annotated[
        PersonText,
        Meta(description="`me`, `kind:issuer#subject` as in audit records, or an e-mail address."),
    ] = "me"


@dataclass(frozen=True, slots=True)
class AccessRoutes:
    """The route about access. `admins`: the principals that administer every project."""

    access_control: AccessControl
    store: RoleStore
    principals: Principals
    admins: frozenset[Principal]

    def routes(self) -> tuple[Route, ...]:
        """The route, with its path."""
        return (Route("GET", "/v1/projects/<project>/access", self.show_access),)

    def show_access(self, call: Call) -> Response[str]:
        """What a principal may do in a project, and the bindings that permit it.

        Everyone may ask about themselves, and gets the same answer for a project that does not
        exist. Rights that depend on a resource, such as a runner's to read its own token, are not
        listed.
        """
        query = call.query(AccessQuery)
        own = principal_of(call.caller)
        if query.principal in ("me", own.text):
            principal, access = own, call.access
        else:
            call.access.require("read_access", call.access.resource("RoleBindings", ""))
            principal = self._named(query.principal, call)
            access = self.access_control.read_access(_as_caller(principal), call.project)
        # A token that names a person beside the agent: only what the project's permission gives
        # counts, and without a permission the agent learns nothing of the person.
        is_agent = access.is_delegated
        hidden = access.acts_for is None or (is_agent and not access.acts_for.roles)
        person = None if hidden or access.acts_for is None else access.acts_for.person
        known = self.principals.profiles.read(each for each in (principal, person) if each)
        return json_answer(
            200,
            {
                **principal_json(principal, known.get(principal)),
                "bindings": (
                    _shown([("agent", role) for role in sorted(_registered(access))])
                    if is_agent
                    else self._bindings(principal, call.project, registered=_registered(access))
                ),
                "acts_for": person
                and {
                    **principal_json(person, known.get(person)),
                    "bindings": self._bindings(person, call.project),
                },
                "permissions": _permissions(access),
            },
        )

    def _named(self, text: str, call: Call) -> Principal:
        is_principal = text == "anonymous" or text.startswith(("user:", "application:"))
        if "@" in text and not is_principal:
            return self.principals.owner(text, call.access)
        return named_principal(text)

    def _bindings(
        self, principal: Principal, project: str, *, registered: frozenset[str] = frozenset()
    ) -> list[dict[str, Any]]:
        """The roles of a principal in a project, each with its origin and what it permits."""
        roles, is_claimed = self.store.roles_of(project, principal)
        found = [("project_admins", ADMIN_ROLE)] if principal in self.admins else []
        found += [("registration", role) for role in sorted(registered)]
        found += [
            ("project_claim" if is_claimed and role == ADMIN_ROLE else "role_binding", role)
            for role in sorted(roles)
        ]
        return _shown(found)


def _shown(found: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Roles with their origins, and what each permits."""
    return [{"by": by, "role": role, "permits": permitted_by(role)} for by, role in found]


def _registered(access: Access) -> frozenset[str]:
    """The roles that an application has by its registration, or an agent by its permission."""
    return frozenset() if access.acts_for is None else access.acts_for.roles


def _permissions(access: Access) -> list[str]:
    """The actions that the policies allow, on resources that belong to nobody in particular."""
    return [
        each.action
        for each in permissions()
        if access.may(
            each.action,
            access.of_project
            if each.resource_type == "Project"
            else access.resource(each.resource_type, ""),
        )
    ]


def _as_caller(principal: Principal) -> Caller | None:
    """The caller that a principal would be, with its own token. No request is decided by it."""
    if principal == ANONYMOUS or principal.kind == "anonymous":
        return None
    return Caller(
        kind=principal.kind,
        source="alb" if principal.kind == "user" else "bearer",
        issuer=principal.issuer,
        subject=principal.subject,
        token_subject=principal.subject,
        name=principal.subject,
    )
