"""May they? Asked once for each request, of the policies, with what the table says right now.

caller → roles in the project → Cedar. A service account that acts for a person needs its own right
and that person's, so it loses what the person loses at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

from byline.identity.caller import Caller, Principal, principal_of
from serve_runs.access.decisions import Resource, decisions
from serve_runs.access.rows import AccessRows, ActsFor, Held
from serve_runs.web.problems import forbidden, not_found

ADMIN_ROLE = "project:admin"

SIGHT = {
    "Project": "read_run",
    "Run": "read_run",
    "Runner": "read_runner",
    "ServiceAccount": "read_service_account",
    "Credential": "read_credential",
    "RoleBindings": "read_roles",
    "Audit": "read_audit",
}
"""What it takes to know that there is something of a type. Without it, it is not there."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A principal with its roles in a project. `more`: finds those that it has besides, which are
    worth a read only where `roles` do not do."""

    principal: Principal
    roles: frozenset[str]
    more: Callable[[], frozenset[str]] | None = None

    def enough(self) -> Iterator[frozenset[str]]:
        """Its roles; then all of them."""
        yield self.roles
        if self.more is not None:
            yield self.roles | self.more()


@dataclass(frozen=True)
class Access:
    """What a caller may do in a project. All `holders` must be permitted it, the caller first.

    `acts_for`: for whom, where the caller is a service account that acts for a person.
    """

    project: str
    holders: tuple[Holder, ...]
    acts_for: ActsFor | None
    context: Mapping[str, Any]

    def may(self, action: str, resource: Resource | None = None) -> bool:
        """Whether the policies permit `action` on `resource`, the project where none is named.

        What a caller may by being who it is, a runner with its token, is nobody else's to limit.
        """
        resource = resource or self.of_project
        if all(self._permits(holder, action, resource) for holder in self.holders):
            return True
        caller, *persons = self.holders
        itself = Holder(caller.principal, frozenset())
        return bool(persons) and self._permits(itself, action, resource)

    def require(
        self,
        action: str,
        resource: Resource | None = None,
        *,
        find: Callable[[], object] = lambda: None,
    ) -> None:
        """Raise `Problem` unless it is permitted: 404 to whoever may not even know of such a
        resource, as if there were none, and 403 to the others.

        `find` raises 404 where there is no such resource: asked only for those who may know.
        """
        resource = resource or self.of_project
        if self.may(action, resource):
            return
        if not self.may(SIGHT[resource.type], resource):
            raise not_found()
        find()
        raise forbidden()

    def _permits(self, holder: Holder, action: str, resource: Resource) -> bool:
        return any(
            decisions().permits(
                holder.principal, action, resource, roles=roles, context=self.context
            )
            for roles in holder.enough()
        )

    @cached_property
    def of_project(self) -> Resource:
        """The project as a resource."""
        return Resource("Project", self.project)

    def resource(self, kind: str, name: str, **attributes: Principal | None) -> Resource:
        """Something of the project's, with those of its attributes that are known."""
        known = {key: value for key, value in attributes.items() if value is not None}
        return Resource(kind, f"{self.project}/{name}", known)


class AccessControl:
    """Finds what callers may do. `admins` administer every project, whatever the table says."""

    def __init__(
        self, rows: AccessRows, *, admins: frozenset[Principal], callers_are_verified: bool
    ) -> None:
        self._rows = rows
        self._admins = admins
        self._callers_are_verified = callers_are_verified

    def of(self, caller: Caller | None, project: str) -> Access:
        """What a caller may do in a project.

        The reads depend on the caller alone, never on what there is: one, and one more where an
        application acts for a person. A person among the admins has none, until something is asked
        that administering does not permit.
        """
        return self.of_all(caller, [project])[project]

    def of_all(self, caller: Caller | None, projects: Sequence[str]) -> dict[str, Access]:
        """The same for several projects, each there once, with no more calls."""
        own = principal_of(caller)
        held = self._held(own, projects)
        person = None if held.acts_for is None else held.acts_for.person
        persons = None if person is None else self._held(person, projects)
        context = {
            "source": "none" if caller is None else caller.source,
            "verified": self._callers_are_verified,
        }
        found = {}
        for project in projects:
            roles = held.roles[project]
            if held.acts_for is not None and held.acts_for.project == project:
                roles |= {held.acts_for.role}
            holders = [self._holder(own, project, roles)]
            if person is not None and persons is not None:
                holders.append(self._holder(person, project, persons.roles[project]))
            found[project] = Access(project, tuple(holders), held.acts_for, context)
        return found

    def acts_for(self, caller: Caller | None) -> ActsFor | None:
        """Whom a caller acts for, wherever that is."""
        return self._held(principal_of(caller), ()).acts_for

    def _holder(self, principal: Principal, project: str, roles: frozenset[str]) -> Holder:
        if principal not in self._admins:
            return Holder(principal, roles)
        # Asked again within a request, they are as they were.
        return Holder(principal, roles, cache(partial(self._bound, principal, project)))

    def _bound(self, principal: Principal, project: str) -> frozenset[str]:
        return self._rows.held(principal, [project]).roles[project]

    def _held(self, principal: Principal, projects: Sequence[str]) -> Held:
        if principal in self._admins:
            # An application's person is asked for all the same: nothing makes it more than that.
            acts_for = (
                self._rows.held(principal, ()).acts_for if principal.kind == "application" else None
            )
            return Held(dict.fromkeys(projects, frozenset({ADMIN_ROLE})), acts_for)
        if not projects and principal.kind != "application":
            return Held({}, None)
        return self._rows.held(principal, projects)
