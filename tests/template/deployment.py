"""What CloudFormation makes of the template and the values of its parameters.

Attributes of a resource follow from its physical id, and the physical id from the properties whose
change replaces the resource. The resource types' own schemas name these properties.
"""

import hashlib
import json
import re
from functools import cache
from importlib import import_module
from typing import Any, cast

from tests.template.stack import NO_VALUE, Json, evaluate, flatten, template

REGION = "us-east-1"

PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:123456789012:stack/byline/0f6b4bbe-1234-11f0",
    "AWS::StackName": "byline",
    "AWS::URLSuffix": "amazonaws.com",
}


class Deployment:
    """`source` deployed with `given`; the other parameters have their defaults."""

    def __init__(self, given: dict[str, str], source: Json | None = None) -> None:
        source = source or template()
        self.parameters = {name: body["Default"] for name, body in source["Parameters"].items()}
        self.parameters |= given
        self._translated = flatten(
            source, self.parameters, applications=["Permissions", "WebConsole"]
        )
        self._physical_ids: dict[str, str] = {}

    def resources(self, kind: str) -> list[str]:
        """The logical ids of the resources of the type `kind` that exist under their conditions."""
        return [
            name
            for name, body in self._translated["Resources"].items()
            if body["Type"] == kind and self._exists(body)
        ]

    def properties(self, logical_id: str) -> Json:
        """The properties of a resource, as CloudFormation passes them to its service."""
        body = self._translated["Resources"][logical_id]
        return cast(Json, self._value(body.get("Properties", {})))

    def outputs(self) -> list[str]:
        """The names of the outputs that exist under their conditions."""
        outputs = self._translated["Outputs"]
        return [name for name, body in outputs.items() if self._exists(body)]

    def physical_id(self, logical_id: str) -> str:
        """The same for two deployments exactly when the second one keeps the resource."""
        if logical_id not in self._physical_ids:
            properties = self._translated["Resources"][logical_id].get("Properties", {})
            kind = self._translated["Resources"][logical_id]["Type"]
            # As lists, which leave out what a condition leaves out.
            kept = [self._value([_at(properties, path)]) for path in _replaced_with(kind)]
            digest = hashlib.sha256(json.dumps([logical_id, kept], sort_keys=True).encode())
            self._physical_ids[logical_id] = f"{logical_id}-{digest.hexdigest()[:12]}"
        return self._physical_ids[logical_id]

    def attribute(self, logical_id: str, name: str) -> str:
        """The attribute `name` of a resource: another one for another resource."""
        return f"{name} of {self.physical_id(logical_id)}"

    def holds(self, condition: Any) -> bool:
        """Whether a condition, or the name of one, is true."""
        match condition:
            case str():
                return self.holds(self._translated["Conditions"][condition])
            case {"Condition": name}:
                return self.holds(name)
            case {"Fn::And": parts}:
                return all(map(self.holds, parts))
            case {"Fn::Or": parts}:
                return any(map(self.holds, parts))
            case {"Fn::Not": [part]}:
                return not self.holds(part)
        return cast(bool, evaluate(condition, self.parameters))

    def _exists(self, body: Json) -> bool:
        return "Condition" not in body or self.holds(body["Condition"])

    def _value(self, value: Any) -> Any:
        match value:
            case {"Ref": name}:
                return self._referred(name)
            case dict() if [name for name in value if name.startswith("Fn::")]:
                return self._result(value)
            case dict():
                return {key: self._value(part) for key, part in value.items() if self._given(part)}
            case list():
                return [self._value(part) for part in value if self._given(part)]
        return value

    def _referred(self, name: str) -> str:
        for values in (self.parameters, PSEUDO_PARAMETERS):
            if name in values:
                return str(values[name])
        return self.physical_id(name)

    def _result(self, function: Json) -> Any:
        match function:
            case {"Fn::If": [condition, *branches]}:
                return self._value(branches[0 if self.holds(condition) else 1])
            case {"Fn::GetAtt": [name, attribute]}:
                return self.attribute(name, attribute)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(self._value(parts))
            case {"Fn::Split": [separator, text]}:
                return self._value(text).split(separator)
            case {"Fn::Select": [index, parts]}:
                return self._value(parts)[int(index)]
            case {"Fn::Sub": inner}:
                text, values = inner if isinstance(inner, list) else (inner, {})
                return self._substituted(text, values)
        raise AssertionError(f"{function} is not a function that the templates use")

    def _given(self, value: Any) -> bool:
        match value:
            case {"Fn::If": [condition, *branches]}:
                return self._given(branches[0 if self.holds(condition) else 1])
        return bool(value != NO_VALUE)

    def _substituted(self, text: str, values: Json) -> str:
        def one(found: re.Match[str]) -> str:
            name, _, attribute = found[1].partition(".")
            if name in values:
                return str(self._value(values[name]))
            reference = {"Fn::GetAtt": [name, attribute]} if attribute else {"Ref": name}
            return str(self._value(reference))

        return re.sub(r"\$\{([^!}]+)\}", one, text)


def resource_schema(kind: str) -> Json:
    """CloudFormation's schema of the resource type `kind`."""
    # Importing cfn-lint takes seconds, which every worker of pytest would spend at its start.
    manager = import_module("cfnlint.schema").PROVIDER_SCHEMA_MANAGER
    return cast(Json, manager.get_resource_schema(REGION, kind).schema)


@cache
def _replaced_with(kind: str) -> list[list[str]]:
    """The paths of the properties whose change replaces a resource of the type `kind`."""
    if kind.startswith("AWS::CloudFormation::"):
        return []
    schema = resource_schema(kind)
    names = ("createOnlyProperties", "conditionalCreateOnlyProperties")
    paths = [path for name in names for path in schema.get(name, [])]
    return [path.split("/")[2:] for path in sorted(paths)]


def _at(value: Any, path: list[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
