"""What each role permits, as the Cedar policies decide it. Only the policies define it."""

import re
from functools import cache
from typing import NamedTuple

from byline.identity.caller import Principal, PrincipalKind
from serve_runs.access.decisions import POLICIES, Question, decisions, role_descriptions

_ACTION = re.compile(
    r"^ *action (?P<names>[\w, ]+) in .*appliesTo \{ principal: \[(?P<principals>[\w, ]+)\],"
    r" resource: \[(?P<type>\w+)",
    re.MULTILINE,
)
_KINDS: dict[str, PrincipalKind] = {"User": "user", "Application": "application"}
_CONTEXT = (("source", "bearer"), ("verified", True))
"""The context of the questions: a caller that was verified."""


class Permission(NamedTuple):
    """An action of the schema, the type of its resource, and who can carry it out."""

    action: str
    resource_type: str
    kinds: tuple[PrincipalKind, ...]


@cache
def permissions() -> tuple[Permission, ...]:
    """All actions of the Cedar schema, in its order."""
    schema = (POLICIES / "byline.cedarschema").read_text()
    return tuple(
        Permission(name.strip(), found["type"], _kinds(found["principals"]))
        for found in _ACTION.finditer(schema)
        for name in found["names"].split(",")
    )


@cache
def permitted_by(role: str) -> tuple[str, ...]:
    """The actions that a role permits, in the order of the schema.

    A policy that depends on the resource, such as one about a runner's own token, does not count.
    """
    return tuple(
        each.action
        for each in permissions()
        if any(_permits(role, each, kind) for kind in each.kinds)
    )


def roles_json() -> list[dict[str, object]]:
    """The roles that can be granted, with what each permits."""
    return [
        {"role": role, "description": text, "permits": permitted_by(role)}
        for role, text in role_descriptions().items()
    ]


def _permits(role: str, permission: Permission, kind: PrincipalKind) -> bool:
    # A principal that no policy can name, so only the role counts.
    principal = Principal(kind, "-", "-")
    action, resource_type, _ = permission
    question = Question(principal, action, resource_type, "-", (), (role,), _CONTEXT)
    return decisions().answer(question)


def _kinds(names: str) -> tuple[PrincipalKind, ...]:
    return tuple(_KINDS[name.strip()] for name in names.split(",") if name.strip() in _KINDS)
