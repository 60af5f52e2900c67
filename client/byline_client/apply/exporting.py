"""Exports a project as documents that change nothing when they are applied."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from byline_client.apply.models import MODELS
from byline_client.apply.planning import Present
from byline_client.apply.principals import ServiceAccounts

SECRET = {"ServiceAccount", "Credential"}
_NO_NAME = re.compile(r"[^A-Z0-9]+")


def exported(project: str, present: Present) -> Iterator[dict[str, Any]]:
    """The documents of a project. A secret is the name of a variable. Raises `ClientError`."""
    for name in MODELS:
        kind = present.kind(name)
        titles: set[str] = set()
        for entry in present.entries(project, kind):
            if isinstance(kind, ServiceAccounts) and not kind.is_own(entry):
                continue
            members = _escaped(kind.document(entry))
            title = _unique(str(members.pop("name")), titles)
            document = {"kind": name, "name": title, "project": project, **members}
            if name in SECRET:
                document["token"] = {"env": _variable(name, title)}
            yield document


def yaml_of(document: dict[str, Any]) -> str:
    """A document as YAML, in ASCII."""
    return str(yaml.safe_dump(document, sort_keys=False, explicit_start=True, width=1000))


def left_out(project: str, present: Present) -> int:
    """How many service accounts act for other people. Only those people can apply them."""
    kind = ServiceAccounts(present.caller)
    return sum(not kind.is_own(entry) for entry in present.entries(project, kind))


def _variable(kind: str, name: str) -> str:
    return _NO_NAME.sub("_", f"{kind} {name} token".upper()).strip("_")


def _unique(name: str, seen: set[str]) -> str:
    number, found = 1, name[:190]
    while found in seen:
        number += 1
        found = f"{name[:190]} {number}"
    seen.add(found)
    return found


def _escaped(value: Any) -> Any:
    """The value with `${` written as documents have it."""
    if isinstance(value, dict):
        return {name: _escaped(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_escaped(each) for each in value]
    return value.replace("${", "$${") if isinstance(value, str) else value
