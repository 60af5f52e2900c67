"""A model of the access rules that uses no table, no policy and no request.

A caller is a pair (kind, subject): the application `ada` is not the person `ada`. A `workload` is
an application of another issuer, so the workload `gpu` is not the application `gpu`. A `delegated`
caller is an agent with a token that names its person, such as `gpu for ada`.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

type Caller = tuple[str, str]
ANONYMOUS: Caller = ("anonymous", "")


def actor_of(caller: Caller) -> Caller:
    """Whose rights a caller has and who is recorded: of a delegated one, the agent."""
    kind, subject = caller
    return ("application", subject.partition(" for ")[0]) if kind == "delegated" else caller


def named_person(caller: Caller) -> Caller | None:
    """The person that a delegated caller's own token names; None for all others."""
    kind, subject = caller
    return ("user", subject.partition(" for ")[2]) if kind == "delegated" else None


VIEWER_ACTIONS = {
    f"read_{kind}"
    for kind in ("project", "run", "messages", "runner", "roles", "service_account", "agent")
}
VIEWER_ACTIONS |= {"post_user_message"}
EDITOR_ACTIONS = VIEWER_ACTIONS | {
    "create_run",
    "start_run",
    "finish_run",
    "fail_run",
    "send_heartbeat",
    "cancel_run",
    "delete_run",
}
EDITOR_ACTIONS |= {"restart_runner", "refresh_runner", "create_service_account", "read_credential"}
ADMIN_ACTIONS = EDITOR_ACTIONS | {
    "delete_project",
    "register_runner",
    "delete_runner",
    "read_tokens",
    "write_credential",
    "bind_credential",
    "delete_credential",
}
ADMIN_ACTIONS |= {
    "read_apply_set",
    "write_apply_set",
    "allow_agent",
    "delete_agent",
    "delete_service_account",
    "grant_role",
    "revoke_role",
    "read_access",
    "read_audit",
}
TOKEN_ACTIONS = {"read_credential_token", "read_runner_token", "execute_run"}
ROLES = {
    "project:viewer": VIEWER_ACTIONS,
    "project:editor": EDITOR_ACTIONS,
    "project:admin": ADMIN_ACTIONS,
    "credential:reader": {"read_project", "read_credential"},
    "credential:token-reader": {"read_project", "read_credential", "read_credential_token"},
    "runner:token-reader": {"read_project", "read_runner", "read_runner_token"},
}
PERSON_ONLY_ACTIONS, DENIED_TO_RUNNER = {"create_service_account"}, {"post_user_message"}
RUNNER_ACTIONS = {"read_runner_token", "refresh_runner", "restart_runner"}
RUNNER_ACTIONS |= {"read_messages", "post_runner_message"}


@dataclass
class Model:
    """The roles and resources after the requests so far.

    `resources`: (project, kind, name) → the attributes that the rules depend on. A credential that
    is bound has `readers`: ("role", role), ("runner", name) or ("application", caller).
    `acts_for`: (application, project) → (person, role). `agents`: (project, agent) → the roles that
    it has with the token of a person.
    """

    admins: set[Caller]
    roles: dict[tuple[str, Caller], set[str]] = field(default_factory=lambda: defaultdict(set))
    acts_for: dict[tuple[Caller, str], tuple[Caller, str]] = field(default_factory=dict)
    agents: dict[tuple[str, Caller], set[str]] = field(default_factory=dict)
    resources: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)

    def roles_of(self, caller: Caller, project: str) -> set[str]:
        """A caller's roles in a project; an admin of all projects is `project:admin` in each."""
        return self.roles[project, caller] | ({"project:admin"} if caller in self.admins else set())

    def may(self, caller: Caller, action: str, project: str, resource: dict[str, Any]) -> bool:
        """Whether the rules allow an action.

        An application that acts for a person needs the person to be allowed too, except for what a
        runner or a registered account may do without a role.
        """
        actor, named = actor_of(caller), named_person(caller)
        if action == "read_credential_token" and resource.get("readers") is not None:
            return self._reads_bound(caller, project, resource["readers"])
        if named is not None:
            # What an agent may do by its own token does not count: its runner permits nothing. What
            # is denied to a runner stays denied.
            if action in DENIED_TO_RUNNER and actor == resource.get("own"):
                return False
            allowed = self.agents.get((project, actor), set())
            return self._permits(actor, allowed, action, {}) and self._permits(
                named, self.roles_of(named, project), action, resource
            )
        if self._permits(actor, set(), action, resource):
            return True
        person, role = self.represented(caller, project)
        assigned = self.roles_of(actor, project) | ({role} if role else set())
        return self._permits(actor, assigned, action, resource) and (
            person is None
            or self._permits(person, self.roles_of(person, project), action, resource)
        )

    def _reads_bound(
        self, caller: Caller, project: str, readers: frozenset[tuple[str, Any]]
    ) -> bool:
        """Whether a caller reads the token of a credential that is bound to `readers`.

        A bound application needs no role, but its person has to be allowed to start runs; with a
        token that names the person, so has the agent. A bound runner needs neither, with its own
        token alone. All others read by a bound role, which both the caller and its person have.
        """
        actor, named = actor_of(caller), named_person(caller)
        person, role = self.represented(caller, project)
        own = self.agents.get((project, actor), set()) if named else self.roles_of(actor, project)
        held = [own | ({role} if role else set())]
        held += [] if person is None else [self.roles_of(person, project)]
        starting = held if named else held[1:]
        if ("application", actor) in readers and all(map(_may_start_runs, starting)):
            return True
        runners = [name for kind, name in readers if kind == "runner"]
        owns = [self.resources.get((project, "runner", name), {}).get("own") for name in runners]
        if named is None and actor in owns:
            return True
        roles = {name for kind, name in readers if kind == "role"}
        return actor != ANONYMOUS and all(roles & each for each in held)

    def represented(self, caller: Caller, project: str) -> tuple[Caller | None, str]:
        """The person that a caller acts for, and the role that its registration gives it.

        The person that a token names comes before the registered one, whose role does not count.
        """
        named = named_person(caller)
        return (named, "") if named else self.acts_for.get((caller, project), (None, ""))

    def _permits(
        self, caller: Caller, roles: set[str], action: str, resource: dict[str, Any]
    ) -> bool:
        is_itself = caller == resource.get("own")
        if action == "post_runner_message" or (is_itself and action in RUNNER_ACTIONS):
            return is_itself
        denied = (caller == ANONYMOUS and action in TOKEN_ACTIONS) or (
            is_itself and action in DENIED_TO_RUNNER
        )
        denied |= action in PERSON_ONLY_ACTIONS and caller[0] != "user"
        is_of_account = caller in {resource.get("person"), resource.get("account")}
        is_of_account &= action in {"read_service_account", "delete_service_account"}
        return not denied and (is_of_account or any(action in ROLES[role] for role in roles))


def _may_start_runs(roles: set[str]) -> bool:
    return any("create_run" in ROLES[role] for role in roles)
