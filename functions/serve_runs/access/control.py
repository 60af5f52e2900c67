"""Access control: Cedar policies decide each action from the caller's current roles.

caller → roles in the project → Cedar. Where a service account acts for a person, the policies must
allow the action to both. A right that the person loses is lost to the service account at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from byline.caching import Clock
from byline.identity.caller import Caller, Principal, principal_of
from byline.tables.rows import Item, read_rows
from serve_runs.access.admins import DEPLOYMENT_ROLE
from serve_runs.access.decisions import VISIBILITY, Attribute, Question, Resource, decisions
from serve_runs.errors import forbidden, not_found

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

    from serve_runs.access.standing import ActsFor

    type Rows = dict[tuple[str, str], Item]

ADMIN_ROLE = "project:admin"


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
    acts_for: "ActsFor | None"
    context: Mapping[str, Any]

    @property
    def is_delegated(self) -> bool:
        """Whether the caller is an agent whose token names the person."""
        return "agent_allowed" in self.context

    def may(self, action: str, resource: Resource | None = None) -> bool:
        """Whether the policies allow `action` on `resource`, by default on the project."""
        resource = resource or self.of_project
        if all(self._allows(assignment, action, resource) for assignment in self.assignments):
            return True
        return self.is_own_right(action, resource)

    def is_own_right(self, action: str, resource: Resource) -> bool:
        """Whether the caller may carry out `action` without a role, because `resource` names it.

        A runner reads its own token, for example. It then acts for nobody, and needs no person.
        """
        caller = self.assignments[0].principal
        return caller in resource.named and self._allows(
            RoleAssignment(caller, frozenset()), action, resource
        )

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

    `admins` administer every project, and what belongs to none (`""`), without roles in the table.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        admins: frozenset[Principal],
        callers_are_verified: bool,
        now: Clock,
    ) -> None:
        self._client = client
        self._table = table
        self._admins = admins
        self._callers_are_verified = callers_are_verified
        self._now = now

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
        context = {
            "source": "none" if caller is None else caller.source,
            "verified": self._callers_are_verified,
        }
        is_agent = caller is not None and caller.represents is not None
        if is_agent:
            keys = [agent_key(own, project) for project in projects]
        else:
            keys = self._role_keys(dict.fromkeys(projects, own))
            if own.kind == "application":
                keys += registration_keys(own, projects)
        rows = self._read_rows(keys)
        acts_for = self._acts_for(caller, own, rows, projects)
        rows |= self._read_rows(
            self._role_keys({project: one.person for project, one in acts_for.items()})
        )
        accesses = {}
        for project in projects:
            one = acts_for.get(project)
            more = frozenset() if one is None else one.roles
            if is_agent:
                # With a person's token an agent has none of the roles that it has by itself.
                assignments = [RoleAssignment(own, more)]
                context = context | {"agent_allowed": bool(more)}
            else:
                assignments = [self._assignment(own, project, rows, more=more)]
            if one is not None:
                assignments.append(self._assignment(one.person, project, rows))
            accesses[project] = Access(project, tuple(assignments), one, context)
        return accesses

    def _acts_for(
        self, caller: Caller | None, own: Principal, rows: "Rows", projects: Sequence[str]
    ) -> "dict[str, ActsFor]":
        own_rows = {entry: row for (scope, entry), row in rows.items() if scope == _scope(own)}
        if not own_rows and (caller is None or caller.represents is None):
            return {}
        # Imported here, because most callers act for nobody.
        from serve_runs.access.standing import represented  # noqa: PLC0415

        return represented(caller, own_rows, projects, now=self._now())

    def _assignment(
        self,
        principal: Principal,
        project: str,
        rows: "Rows",
        *,
        more: frozenset[str] = frozenset(),
    ) -> RoleAssignment:
        key = roles_key(project, principal)
        if principal not in self._admins:
            return RoleAssignment(principal, _roles(rows, key) | more)
        # Cached, so that all decisions of a request see the same roles.
        read_others = cache(lambda: _roles(self._read_rows([key]), key))
        role = ADMIN_ROLE if project else DEPLOYMENT_ROLE
        return RoleAssignment(principal, more | {role}, read_others)

    def _role_keys(self, principals: Mapping[str, Principal]) -> list[Item]:
        """The keys of principals' roles, by project. Those of admins are read when needed."""
        return [
            roles_key(project, principal)
            for project, principal in principals.items()
            if principal not in self._admins
        ]

    def _read_rows(self, keys: Sequence[Item]) -> "Rows":
        """The rows with these keys, in one call for every hundred.

        Raises `RowsUnread`, because roles that could not be read must not count as absent.
        """
        found = read_rows(self._client, self._table, keys).complete()
        return {_key(item): item for item in found}


def roles_key(project: str, principal: Principal) -> Item:
    """The key of a principal's roles in a project."""
    return {"scope": {"S": f"project#{project}"}, "entry": {"S": f"roles#{principal.text}"}}


def acts_for_key(application: Principal, project: str) -> Item:
    """The key of the person that an application acts for in a project: one at a time."""
    return {"scope": {"S": _scope(application)}, "entry": {"S": f"acts-for#{project}"}}


def agent_key(agent: Principal, project: str) -> Item:
    """The key of the permission of an agent to act in a project for whoever's token it carries."""
    return {"scope": {"S": _scope(agent)}, "entry": {"S": f"agent#{project}"}}


def registration_keys(application: Principal, projects: Sequence[str]) -> list[Item]:
    """The keys of an application's registrations, with the one that earlier versions wrote."""
    old: Item = {"scope": {"S": _scope(application)}, "entry": {"S": "acts-for"}}
    return [*(acts_for_key(application, project) for project in projects), old]


def _scope(principal: Principal) -> str:
    return f"principal#{principal.text}"


def _roles(rows: "Rows", key: Item) -> frozenset[str]:
    return frozenset(rows.get(_key(key), {}).get("roles", {}).get("SS", ()))


def _key(item: Item) -> tuple[str, str]:
    return item["scope"]["S"], item["entry"]["S"]
