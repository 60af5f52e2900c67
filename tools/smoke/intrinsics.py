"""The values of CloudFormation's functions in a deployed template.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ABSENT = object()
"""The value of `AWS::NoValue`: the property is left out."""


class Unresolvable(Exception):
    """A function or a name has no value here. The text names it."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """`names`: the values of parameters, the physical ids of resources, pseudo parameters."""

    names: Mapping[str, str]
    conditions: Mapping[str, Any]

    def value(self, node: Any) -> Any:
        """`node` with each function replaced by its value. Raises `Unresolvable`."""
        match node:
            case {"Ref": "AWS::NoValue"}:
                return ABSENT
            case {"Ref": name}:
                return self._named(name)
            case dict() if any(name.startswith("Fn::") for name in node):
                return self._result(node)
            case dict():
                values = {name: self.value(part) for name, part in node.items()}
                return {name: value for name, value in values.items() if value is not ABSENT}
            case list():
                return [value for value in map(self.value, node) if value is not ABSENT]
        return node

    def _result(self, function: Mapping[str, Any]) -> Any:
        result: Any
        match function:
            case {"Fn::If": [condition, *branches]}:
                result = self.value(branches[0 if self.holds(condition) else 1])
            case {"Fn::GetAtt": [name, "VersionNumber"]}:
                # The physical id is the number, or ends with it.
                result = re.findall(r"\d+", self._named(name))[-1]
            case {"Fn::Join": [separator, parts]}:
                result = separator.join(self.value(parts))
            case {"Fn::Split": [separator, text]}:
                result = self.value(text).split(separator)
            case {"Fn::Select": [index, parts]}:
                result = self.value(parts)[int(index)]
            case {"Fn::Sub": [text, values]}:
                result = self._substituted(text, values)
            case {"Fn::Sub": text}:
                result = self._substituted(text, {})
            case _:
                raise Unresolvable(str(function))
        return result

    def holds(self, condition: Any) -> bool:
        """Whether a condition, or the name of one, is true. Raises `Unresolvable`."""
        match condition:
            case str():
                return self.holds(self.conditions[condition])
            case {"Condition": name}:
                return self.holds(name)
            case {"Fn::Equals": [one, other]}:
                return str(self.value(one)) == str(self.value(other))
            case {"Fn::Not": [part]}:
                return not self.holds(part)
            case {"Fn::And": parts}:
                return all(map(self.holds, parts))
            case {"Fn::Or": parts}:
                return any(map(self.holds, parts))
        raise Unresolvable(str(condition))

    def _named(self, name: str) -> str:
        if name not in self.names:
            raise Unresolvable(name)
        return self.names[name]

    def _substituted(self, text: str, values: Mapping[str, Any]) -> str:
        def one(found: re.Match[str]) -> str:
            name = found[1]
            if name in values:
                return str(self.value(values[name]))
            if "." in name:
                return str(self.value({"Fn::GetAtt": name.split(".", 1)}))
            return self._named(name)

        return re.sub(r"\$\{([^!}]+)\}", one, text)
