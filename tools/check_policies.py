"""Checks the policies of RunsFunction: the shipped policies and those that an operator added.

    python -m tools.check_policies [FOLDER]

Exits with 1 and the list of faults where a policy does not fit the schema, does not say what it is
for, or where policies and `roles.json` do not name the same roles.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cedarpy

POLICIES = Path(__file__).parents[1] / "functions" / "serve_runs" / "access" / "policies"
SCHEMA = "byline.cedarschema"
ROLE = "Byline::Role"

NOT_GRANTABLE = frozenset({"deployment:admin"})
"""The roles that settings give. Roles that can be granted are in `roles.json`."""


def faults(folder: Path = POLICIES) -> list[str]:
    """The errors in the policies of a folder."""
    schema = (folder / SCHEMA).read_text()
    files = sorted(folder.glob("*.cedar"))
    if invalid := [fault for file in files for fault in _invalid(file, schema)]:
        return invalid
    policies = [(file, policy) for file in files for policy in _policies(file)]
    return [*_unnamed(policies), *_roles(policies, folder)]


def _invalid(file: Path, schema: str) -> list[str]:
    """The errors of a file that is not Cedar, or that uses names outside the schema."""
    result = cedarpy.validate_policies(file.read_text(), schema)
    return [f"{file.name}: {error.error}" for error in result.errors]


def _policies(file: Path) -> list[dict[str, Any]]:
    policies = json.loads(cedarpy.policies_to_json_str(file.read_text()))
    return list(policies["staticPolicies"].values())


def _unnamed(policies: list[tuple[Path, dict[str, Any]]]) -> Iterator[str]:
    """The policies without an `@id` of their own, which the explanation of a decision needs."""
    seen: set[str] = set()
    for file, policy in policies:
        name = policy.get("annotations", {}).get("id", "")
        if not name:
            yield f"{file.name}: a policy without @id"
        elif name in seen:
            yield f"{file.name}: another policy has the same @id: {name}"
        seen.add(name)


def _roles(policies: list[tuple[Path, dict[str, Any]]], folder: Path) -> Iterator[str]:
    """The roles that no policy uses, and the roles of policies that cannot be granted."""
    granted = json.loads((folder / "roles.json").read_text())
    named = {role for _, policy in policies for role in _roles_in(policy)} - NOT_GRANTABLE
    yield from (f"roles.json: no policy names {role}" for role in sorted(granted.keys() - named))
    yield from (f"{role} is missing in roles.json" for role in sorted(named - granted.keys()))
    yield from (
        f"roles.json: {role} has no description" for role, text in granted.items() if not text
    )


def _roles_in(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if part.get("type") == ROLE:
            yield part["id"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _roles_in(each)


if __name__ == "__main__":
    if found := faults(Path(sys.argv[1]) if sys.argv[1:] else POLICIES):
        sys.exit("\n".join(found))
