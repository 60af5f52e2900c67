"""Who may what, in sixty lines that know of no table, no policy and no request.

A caller is a pair (kind, subject): `ada` the application is not `ada` the person.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

type Who = tuple[str, str]
NOBODY: Who = ("anonymous", "")

SEE = {f"read_{kind}" for kind in ("run", "messages", "runner", "roles", "service_account")}
SEE |= {"post_user_message"}
RUN = SEE | {"create_run", "start_run", "finish_run", "fail_run", "cancel_run", "delete_run"}
RUN |= {"restart_runner", "create_service_account", "read_credential"}
MANAGE = RUN | {"register_runner", "delete_runner", "write_credential", "delete_credential"}
MANAGE |= {"delete_service_account", "grant_role", "revoke_role", "read_audit"}
TOKENS = {"read_credential_token", "read_runner_token"}
ROLES = {
    "project:viewer": SEE,
    "project:editor": RUN,
    "project:admin": MANAGE,
    "credential:reader": {"read_credential"},
    "credential:token-reader": {"read_credential", "read_runner"} | TOKENS,
}
FOR_PEOPLE, NOT_AS_ITSELF = {"create_service_account"}, {"post_user_message"}
FOR_ITSELF = {"read_runner_token", "restart_runner", "read_messages", "post_runner_message"}


@dataclass
class Model:
    """`things`: (project, kind, name) → whose they are. `acts_for`: whom, where and as what."""

    admins: set[Who]
    roles: dict[tuple[str, Who], set[str]] = field(default_factory=lambda: defaultdict(set))
    acts_for: dict[Who, tuple[Who, str, str]] = field(default_factory=dict)
    things: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)

    def held(self, who: Who, project: str) -> set[str]:
        return self.roles[project, who] | ({"project:admin"} if who in self.admins else set())

    def may(self, who: Who, action: str, project: str, thing: dict[str, Any]) -> bool:
        """A service account may what both it and its person may, and what it may by itself."""
        if self._permits(who, set(), action, thing):
            return True
        person, where, role = self.acts_for.get(who, (None, "", ""))
        own = self.held(who, project) | ({role} if where == project else set())
        return self._permits(who, own, action, thing) and (
            person is None or self._permits(person, self.held(person, project), action, thing)
        )

    def _permits(self, who: Who, roles: set[str], action: str, thing: dict[str, Any]) -> bool:
        is_itself = who[0] == "application" and who == thing.get("own")
        if action == "post_runner_message" or (is_itself and action in FOR_ITSELF):
            return is_itself
        denied = (who == NOBODY and action in TOKENS) or (is_itself and action in NOT_AS_ITSELF)
        denied |= action in FOR_PEOPLE and who[0] != "user"
        is_their_own = who == thing.get("person") and action.endswith("_service_account")
        return not denied and (is_their_own or any(action in ROLES[role] for role in roles))
