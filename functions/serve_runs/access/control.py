"""Access control: what a caller may do, decided by Cedar policies from its roles as they are now.

caller → roles in the project → Cedar. A service account that acts for a person needs the right
itself, and the person needs it too. So it loses at once what the person loses.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

from byline.identity.caller import Caller, Principal, principal_of
from serve_runs.access.decisions import Question, Resource, decisions
from serve_runs.access.store import ActsFor, PrincipalRoles, RoleReader
from serve_runs.errors import forbidden, not_found

ADMIN_ROLE = "project:admin"

VISIBILITY = {
    "Project": "read_run",
    "Run": "read_run",
    "Runner": "read_runner",
    "ServiceAccount": "read_service_account",
    "Credential": "read_credential",
    "RoleBindings": "read_roles",
    "Audit": "read_audit",
}
"""The action that a caller must be allowed to know that a resource of a type exists."""


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """A principal with its roles in a project.

    `read_others` reads its other roles. They are worth a read only where `roles` do not suffice.
    """

    principal: Principal
    roles: frozenset[str]
    read_others: Callable[[], frozenset[str]] | None = None

    def effective_roles(self) -> Iterator[frozenset[str]]:
        """Its roles, then all of them."""
        yield self.roles
        if self.read_others is not None:
            yield self.roles | self.read_others()


@dataclass(frozen=True)
class Access:
    """What a caller may do in a project.

    All `assignments` must be allowed an action: the caller's comes first, then the person's whom it
    acts for. `acts_for`: that person, where the caller is a service account that acts for one.
    """

    project: str
    assignments: tuple[RoleAssignment, ...]
    acts_for: ActsFor | None
    context: Mapping[str, Any]

    def may(self, action: str, resource: Resource | None = None) -> bool:
        """Whether the policies allow `action` on `resource`, by default on the project.

        What a caller may do by being who it is (a runner with its own token) needs no person.
        """
        resource = resource or self.of_project
        if all(self._allows(assignment, action, resource) for assignment in self.assignments):
            return True
        caller, *persons = self.assignments
        itself = RoleAssignment(caller.principal, frozenset())
        return bool(persons) and self._allows(itself, action, resource)

    def require(
        self,
        action: str,
        resource: Resource | None = None,
        *,
        find: Callable[[], object] = lambda: None,
    ) -> None:
        """Raise `RequestFailed` unless the policies allow `action` on `resource`.

        `not_found` for a caller that may not know of such a resource, as if it did not exist;
        `forbidden` for all others. `find` raises `not_found` where the resource does not exist; it
        is called only for a caller that may know of it.
        """
        resource = resource or self.of_project
        if self.may(action, resource):
            return
        if not self.may(VISIBILITY[resource.type], resource):
            raise not_found()
        find()
        raise forbidden(action)

    @cached_property
    def of_project(self) -> Resource:
        """The project as a resource."""
        return Resource("Project", self.project)

    def resource(self, kind: str, name: str, **attributes: Principal | None) -> Resource:
        """A resource of the project, with those of its attributes that are known."""
        known = {key: value for key, value in attributes.items() if value is not None}
        return Resource(kind, f"{self.project}/{name}", known)

    def _allows(self, assignment: RoleAssignment, action: str, resource: Resource) -> bool:
        return any(
            decisions().answer(
                question(assignment.principal, action, resource, roles=roles, context=self.context)
            )
            for roles in assignment.effective_roles()
        )


def question(
    principal: Principal,
    action: str,
    resource: Resource,
    *,
    roles: Iterable[str],
    context: Mapping[str, Any],
) -> Question:
    """The question whether a principal with `roles` may carry out `action` on `resource`."""
    return Question(
        principal,
        action,
        resource.type,
        resource.id,
        tuple(sorted(resource.attributes.items())),
        tuple(sorted(roles)),
        tuple(sorted(context.items())),
    )


class AccessControl:
    """Reads what callers may do. `admins` administer every project, whatever the table says."""

    def __init__(
        self, roles: RoleReader, *, admins: frozenset[Principal], callers_are_verified: bool
    ) -> None:
        self._roles = roles
        self._admins = admins
        self._callers_are_verified = callers_are_verified

    def read_access(self, caller: Caller | None, project: str) -> Access:
        """What a caller may do in a project.

        The number of reads depends on the caller alone, never on what exists: one, and one more
        where an application acts for a person. A person among the admins causes none, until an
        action is asked for that administering does not allow.
        """
        return self.read_accesses(caller, [project])[project]

    def read_accesses(self, caller: Caller | None, projects: Sequence[str]) -> dict[str, Access]:
        """The same for several projects, each named once, with no more calls."""
        own = principal_of(caller)
        own_roles = self._read(own, projects)
        acts_for = own_roles.acts_for
        person = None if acts_for is None else acts_for.person
        persons_roles = None if person is None else self._read(person, projects)
        context = {
            "source": "none" if caller is None else caller.source,
            "verified": self._callers_are_verified,
        }
        accesses = {}
        for project in projects:
            roles = own_roles.by_project[project]
            if acts_for is not None and acts_for.project == project:
                roles |= {acts_for.role}
            assignments = [self._assignment(own, project, roles)]
            if person is not None and persons_roles is not None:
                roles = persons_roles.by_project[project]
                assignments.append(self._assignment(person, project, roles))
            accesses[project] = Access(project, tuple(assignments), acts_for, context)
        return accesses

    def acts_for(self, caller: Caller | None) -> ActsFor | None:
        """The person that a caller acts for, in whatever project; None where it acts for none."""
        return self._read(principal_of(caller), ()).acts_for

    def _assignment(
        self, principal: Principal, project: str, roles: frozenset[str]
    ) -> RoleAssignment:
        if principal not in self._admins:
            return RoleAssignment(principal, roles)
        # Within one request the roles stay as they were read first.
        return RoleAssignment(principal, roles, cache(partial(self._bound, principal, project)))

    def _bound(self, principal: Principal, project: str) -> frozenset[str]:
        return self._roles.read(principal, [project]).by_project[project]

    def _read(self, principal: Principal, projects: Sequence[str]) -> PrincipalRoles:
        if principal in self._admins:
            # The person that an application acts for is read all the same: administering does not
            # give the application more than the person has.
            is_application = principal.kind == "application"
            acts_for = self._roles.read(principal, ()).acts_for if is_application else None
            return PrincipalRoles(dict.fromkeys(projects, frozenset({ADMIN_ROLE})), acts_for)
        if not projects and principal.kind != "application":
            return PrincipalRoles({}, None)
        return self._roles.read(principal, projects)
