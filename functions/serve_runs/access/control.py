"""Access control: Cedar policies decide each action from the caller's current roles.

caller → roles in the project → Cedar. Where a service account acts for a person, the policies must
allow the action to both. A right that the person loses is lost to the service account at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import replace
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from byline.identity.caller import Caller, Principal, principal_of, read_principal
from byline.tables.rows import Item, read_rows
from serve_runs.access.decisions import VISIBILITY, Attribute, Question, Resource, decisions
from serve_runs.errors import forbidden, not_found

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ADMIN_ROLE = "project:admin"


class ActsFor(msgspec.Struct, frozen=True):
    """The person that an application acts for, with `role` in `project` only.

    `identity`: the person as JSON of a `StoredIdentity`, at the time of registration, or as the
    caller's own token names it. Without a registration, `project` and `role` are empty.
    """

    person: Principal
    identity: str
    project: str
    role: str


class PrincipalRoles(msgspec.Struct, frozen=True):
    """A principal's roles by project, and the person that it acts for."""

    by_project: dict[str, frozenset[str]]
    acts_for: ActsFor | None


class RoleAssignment(msgspec.Struct, frozen=True):
    """A principal with its roles in a project.

    `read_others` reads its other roles. It is called only where `roles` do not allow an action.
    """

    principal: Principal
    roles: frozenset[str]
    read_others: Callable[[], frozenset[str]] | None = None

    def effective_roles(self) -> Iterator[frozenset[str]]:
        """`roles`; then, where there may be other roles, all roles together."""
        yield self.roles
        if self.read_others is not None:
            yield self.roles | self.read_others()


@dataclass(frozen=True)
class Access:
    """A caller's rights in a project.

    An action must be allowed to all `assignments`: the caller's, then that of the person it acts
    for. `acts_for`: that person; None for a caller that acts for no person.
    """

    project: str
    assignments: tuple[RoleAssignment, ...]
    acts_for: ActsFor | None
    context: Mapping[str, Any]

    def may(self, action: str, resource: Resource | None = None) -> bool:
        """Whether the policies allow `action` on `resource`, by default on the project.

        A right that the caller has without any role (a runner reads its own token) does not need
        the person's permission.
        """
        resource = resource or self.of_project
        if all(self._allows(assignment, action, resource) for assignment in self.assignments):
            return True
        caller, *persons = self.assignments
        without_roles = RoleAssignment(caller.principal, frozenset())
        return bool(persons) and self._allows(without_roles, action, resource)

    def require(
        self,
        action: str,
        resource: Resource | None = None,
        *,
        find: Callable[[], object] = lambda: None,
    ) -> None:
        """Raise `RequestFailed` unless the policies allow `action` on `resource`.

        `not_found` for a caller that may not know whether the resource exists, else `forbidden`.
        `find` is called before `forbidden`, and raises `not_found` where the resource is absent.
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

    def resource(self, kind: str, name: str, **attributes: Attribute | None) -> Resource:
        """A resource of the project. An attribute that is None is left out."""
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
    """Reads callers' rights from `AccessTable`, consistently: a revoked role has no effect at once.

    `admins` administer every project, without a role in the table.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        admins: frozenset[Principal],
        callers_are_verified: bool,
    ) -> None:
        self._client = client
        self._table = table
        self._admins = admins
        self._callers_are_verified = callers_are_verified

    def read_access(self, caller: Caller | None, project: str) -> Access:
        """A caller's rights in a project. Raises `RowsUnread`.

        The number of reads does not reveal which resources exist: one, and one more where an
        application acts for a person. For a person among the admins, roles are read only when an
        action needs more than `project:admin`.
        """
        return self.read_accesses(caller, [project])[project]

    def read_accesses(self, caller: Caller | None, projects: Sequence[str]) -> dict[str, Access]:
        """A caller's rights by project, for several distinct projects that are read together."""
        own = principal_of(caller)
        own_roles = self._read(own, projects)
        acts_for = _represented(caller, own_roles.acts_for)
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
        """The person that a caller acts for, in any project; None where it acts for no person."""
        return _represented(caller, self._read(principal_of(caller), ()).acts_for)

    def _assignment(
        self, principal: Principal, project: str, roles: frozenset[str]
    ) -> RoleAssignment:
        if principal not in self._admins:
            return RoleAssignment(principal, roles)
        # Cached, so that all decisions of a request see the same roles.
        read_others = cache(lambda: self._read_rows(principal, [project]).by_project[project])
        return RoleAssignment(principal, roles, read_others)

    def _read(self, principal: Principal, projects: Sequence[str]) -> PrincipalRoles:
        if principal in self._admins:
            # An application that acts for a person never has more rights than the person, even
            # among the admins. So its person is read here too.
            is_application = principal.kind == "application"
            acts_for = self._read_rows(principal, ()).acts_for if is_application else None
            return PrincipalRoles(dict.fromkeys(projects, frozenset({ADMIN_ROLE})), acts_for)
        if not projects and principal.kind != "application":
            return PrincipalRoles({}, None)
        return self._read_rows(principal, projects)

    def _read_rows(self, principal: Principal, projects: Sequence[str]) -> PrincipalRoles:
        """A principal's roles in these projects, in one call for every hundred rows.

        Raises `RowsUnread`, because roles that could not be read must not count as absent.
        """
        keys = [roles_key(project, principal) for project in projects]
        if principal.kind == "application":
            keys.append(acts_for_key(principal))
        found = read_rows(self._client, self._table, keys).complete()
        items = {_key(item): item for item in found}
        roles = {
            project: frozenset(
                items.get(_key(roles_key(project, principal)), {}).get("roles", {}).get("SS", ())
            )
            for project in projects
        }
        link = items.get(_key(acts_for_key(principal)))
        return PrincipalRoles(roles, None if link is None else _acts_for(link))


def roles_key(project: str, principal: Principal) -> Item:
    """The key of a principal's roles in a project."""
    return {"scope": {"S": f"project#{project}"}, "entry": {"S": f"roles#{principal.text}"}}


def acts_for_key(application: Principal) -> Item:
    """The key of the person that an application acts for: one person, in one project."""
    return {"scope": {"S": f"principal#{application.text}"}, "entry": {"S": "acts-for"}}


def _acts_for(item: Item) -> ActsFor:
    return ActsFor(
        person=read_principal(item["person"]["S"]),
        identity=item["identity"]["S"],
        project=item["project"]["S"],
        role=item["role"]["S"],
    )


def _key(item: Item) -> tuple[str, str]:
    return item["scope"]["S"], item["entry"]["S"]


def _represented(caller: Caller | None, registered: ActsFor | None) -> ActsFor | None:
    """The person that a caller acts for: the one that its own token names, else the registered one.

    The role of a registration counts only for the person who made it.
    """
    person = None if caller is None else caller.represents
    if person is None or person.stored is None:
        return registered
    principal = principal_of(person)
    if registered is not None and registered.person == principal:
        return replace(registered, identity=person.stored)
    return ActsFor(principal, person.stored, project="", role="")
