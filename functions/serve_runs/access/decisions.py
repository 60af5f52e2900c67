"""Decisions by the policies in `policies/`: Cedar says who may do what, and nothing else does.

Loaded with the first decision: a health check, and a cold start that decides nothing, go without.
https://docs.cedarpolicy.com/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from byline.identity.caller import Principal

POLICIES = Path(__file__).parent / "policies"


REMEMBERED = 1_024
"""How many answers are kept."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What is to be done something to: an entity of the schema, and what policies know of it."""

    type: str
    id: str
    attributes: Mapping[str, Principal] = field(default_factory=dict)

    @property
    def uid(self) -> dict[str, str]:
        """Its entity in Cedar."""
        return {"type": f"Byline::{self.type}", "id": self.id}


class _Question(NamedTuple):
    """All that a decision follows from."""

    principal: Principal
    action: str
    resource_type: str
    resource_id: str
    attributes: tuple[tuple[str, Principal], ...]
    roles: tuple[str, ...]
    context: tuple[tuple[str, Any], ...]


class Decisions:
    """The policies of a folder, read once."""

    def __init__(self, folder: Path = POLICIES) -> None:
        import cedarpy  # noqa: PLC0415 - 50 ms that only a decision is worth

        self._cedar = cedarpy
        # The policies stay as they are, so the same question has the same answer. What may change,
        # the caller's roles, is part of the question.
        self._answer = lru_cache(REMEMBERED)(self._decide)
        self._policies = cedarpy.PolicySet.from_str(policy_text(folder))
        self._schema = cedarpy.Schema.from_str((folder / "byline.cedarschema").read_text())

    def permits(
        self,
        principal: Principal,
        action: str,
        resource: Resource,
        *,
        roles: Iterable[str],
        context: Mapping[str, Any],
    ) -> bool:
        """Whether the policies permit it to a principal who holds `roles` in the project.

        Whatever Cedar cannot make sense of is refused: an action that nobody mapped, an attribute
        that is not there.
        """
        question = _Question(
            principal,
            action,
            resource.type,
            resource.id,
            tuple(sorted(resource.attributes.items())),
            tuple(sorted(roles)),
            tuple(sorted(context.items())),
        )
        return self._answer(question)

    def _decide(self, question: _Question) -> bool:
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
                "attrs": {
                    name: {"__entity": value.uid} for name, value in resource.attributes.items()
                },
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
        # Cedar passes over a policy that fails, and it may be one that forbids.
        return answer.allowed and not answer.diagnostics.errors


@cache
def decisions() -> Decisions:
    """The policies that are shipped."""
    return Decisions()


@cache
def role_names() -> frozenset[str]:
    """The roles that can be granted."""
    return frozenset(msgspec.json.decode((POLICIES / "roles.json").read_bytes()))


def policy_text(folder: Path) -> str:
    """All policies of a folder."""
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.cedar")))
