"""Decisions by the Cedar policies in `policies/`, the only source of permissions.

The policies are loaded at the first decision, so a cold start without a decision skips them.
https://docs.cedarpolicy.com/
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from byline.identity.caller import Principal

POLICIES = Path(__file__).parent / "policies"

REMEMBERED_ANSWERS = 1_024

VISIBILITY = {
    "Project": "read_run",
    "Run": "read_run",
    "Runner": "read_runner",
    "ServiceAccount": "read_service_account",
    "Agent": "read_agent",
    "Credential": "read_credential",
    "ApplySet": "read_apply_set",
    "RoleBindings": "read_roles",
    "Audit": "read_audit",
    "Person": "read_person",
    "Deployment": "create_project",
}
"""By resource type: the action whose permission lets a caller know that a resource exists."""


class BoundReaders(msgspec.Struct, frozen=True):
    """The readers that a credential is bound to: roles, applications, and runners' accounts."""

    roles: tuple[str, ...]
    applications: tuple[Principal, ...]
    runners: tuple[Principal, ...]


type Attribute = Principal | BoundReaders


class Resource(msgspec.Struct, frozen=True):
    """The resource of a question: an entity of the Cedar schema, with its attributes."""

    type: str
    id: str
    attributes: Mapping[str, Attribute] = {}

    @property
    def named(self) -> set[Principal]:
        """The principals that the attributes name."""
        found: set[Principal] = set()
        for value in self.attributes.values():
            if isinstance(value, Principal):
                found.add(value)
            else:
                found.update(value.applications, value.runners)
        return found

    @property
    def uid(self) -> dict[str, str]:
        """The resource's entity id in Cedar."""
        return {"type": f"Byline::{self.type}", "id": self.id}


class Question(NamedTuple):
    """All inputs of a decision, so that equal questions have the same answer."""

    principal: Principal
    action: str
    resource_type: str
    resource_id: str
    attributes: tuple[tuple[str, Attribute], ...]
    roles: tuple[str, ...]
    context: tuple[tuple[str, Any], ...]


class Decisions:
    """The policies of a folder, read once. `answer` is `decide` with a cache of its last answers.

    Cached answers stay correct: policies do not change in a process, and a question has all roles.
    """

    def __init__(self, folder: Path = POLICIES) -> None:
        import cedarpy  # noqa: PLC0415 - 50 ms, needed only for a decision

        self._cedar = cedarpy
        self._policies = cedarpy.PolicySet.from_str(policy_text(folder))
        self._schema = cedarpy.Schema.from_str((folder / "byline.cedarschema").read_text())
        self.answer = lru_cache(REMEMBERED_ANSWERS)(self.decide)

    def decide(self, question: Question) -> bool:
        """Whether the policies allow the action.

        An error of Cedar is a refusal: an action that the schema lacks, a missing attribute.
        """
        principal, action, resource_type, resource_id, attributes, roles, context = question
        resource = Resource(resource_type, resource_id, dict(attributes))
        entities = [
            {
                "uid": principal.uid,
                "attrs": {},
                "parents": [{"type": "Byline::Role", "id": role} for role in roles],
            },
            {
                "uid": resource.uid,
                "attrs": {name: _cedar_value(value) for name, value in resource.attributes.items()},
                "parents": [],
            },
        ]
        request = {
            "principal": principal.uid,
            "action": {"type": "Byline::Action", "id": action},
            "resource": resource.uid,
            "context": msgspec.json.encode(dict(context)).decode(),
        }
        answer = self._cedar.is_authorized(
            request, self._policies, msgspec.json.encode(entities).decode(), self._schema
        )
        # Cedar skips a policy whose evaluation fails, and that policy may be a `forbid`.
        return answer.allowed and not answer.diagnostics.errors


def _cedar_value(value: Attribute) -> dict[str, Any]:
    if isinstance(value, Principal):
        return {"__entity": value.uid}
    return {
        "roles": [{"__entity": {"type": "Byline::Role", "id": role}} for role in value.roles],
        "applications": [{"__entity": each.uid} for each in value.applications],
        "runners": [{"__entity": each.uid} for each in value.runners],
    }


@cache
def decisions() -> Decisions:
    """The decisions by the policies in this package."""
    return Decisions()


@cache
def role_descriptions() -> Mapping[str, str]:
    """The roles that can be granted, each with its description."""
    return msgspec.json.decode((POLICIES / "roles.json").read_bytes(), type=dict[str, str])


def role_names() -> frozenset[str]:
    """The roles that can be granted."""
    return frozenset(role_descriptions())


def policy_text(folder: Path) -> str:
    """The text of all policies of a folder."""
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.cedar")))
