"""`template.yaml` and its nested applications, as CloudFormation gets them."""

import re
from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, cast

import boto3
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]

from local.template_yaml import read_template

ROOT = Path(__file__).parents[2]
OBSERVABILITY = "observability.yaml"
PERMISSIONS = "permissions.yaml"
CONSOLE = "console.yaml"
NESTED = {"Permissions": PERMISSIONS, "Observability": OBSERVABILITY, "WebConsole": CONSOLE}
"""The nested applications, by logical id."""

type Json = dict[str, Any]

NO_VALUE = {"Ref": "AWS::NoValue"}


@cache
def _template(name: str) -> Json:
    return read_template(ROOT / name)


def template(name: str = "template.yaml") -> Json:
    """A copy of the template as it is written, with every `!Ref` as `{"Ref": ...}`."""
    return deepcopy(_template(name))


def translate(template: Json, parameters: Json | None = None) -> Json:
    """The plain CloudFormation that SAM makes of `template` and `parameters`, Globals merged."""
    template = deepcopy(template)
    for body in template["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            # The translator takes what `sam package` leaves behind: an address in S3.
            if name in body.get("Properties", {}):
                body["Properties"][name] = f"s3://bucket/{body['Properties'][name]}"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    return cast(Json, translator.translate(template, parameter_values=parameters or {}))


def flatten(
    root: Json, parameters: Json | None = None, *, applications: Iterable[str] = NESTED
) -> Json:
    """`translate` with the resources of nested applications among those of the root.

    The values that the root passes replace the parameters of a nested application, and for a
    resource with a condition these are the values under that condition. The outputs of an
    application are replaced by their values.
    """
    flat = translate(root, parameters)
    own = frozenset(flat["Resources"])
    outputs: Json = {}
    for name in applications:
        nested = _nested(NESTED[name])
        passed = flat["Resources"][name]["Properties"]["Parameters"]
        assert not flat["Resources"].keys() & nested["Resources"].keys()
        condition = flat["Resources"][name].get("Condition")
        for resource, body in nested["Resources"].items():
            values = {key: _under(body.get("Condition"), value) for key, value in passed.items()}
            flat["Resources"][resource] = _with_values(body, values, own)
            if condition is not None:
                both = _both(condition, body.get("Condition"), flat["Conditions"])
                flat["Resources"][resource]["Condition"] = both
        for condition, body in nested["Conditions"].items():
            flat["Conditions"].setdefault(condition, _with_values(body, passed))
        outputs |= {
            f"{name}.Outputs.{output}": body["Value"]
            for output, body in nested.get("Outputs", {}).items()
        }
    return cast(Json, _with_values(flat, outputs))


@cache
def _nested(location: str) -> Json:
    return translate(template(location))


@cache
def _resources() -> Json:
    """The translated resources of all templates."""
    return cast(Json, flatten(template())["Resources"])


def _both(application: str, own: str | None, conditions: Json) -> str:
    """The condition of a resource of an application that exists under a condition itself."""
    if own is None:
        return application
    name = f"{application}And{own}"
    conditions[name] = {"Fn::And": [{"Condition": application}, {"Condition": own}]}
    return name


def _under(condition: str | None, value: Any) -> Any:
    match value:
        case {"Fn::If": [name, inner, _]} if name == condition:
            return inner
    return value


def _with_values(value: Any, values: Json, own: frozenset[str] = frozenset()) -> Any:
    """`value` with `values` in place of parameters (`Name`) and attributes (`Name.Attribute`).

    A text keeps the names of the root's `own` resources.
    """
    match value:
        case {"Ref": name} if name in values:
            return deepcopy(values[name])
        case {"Fn::GetAtt": [*path]} if ".".join(path) in values:
            return deepcopy(values[".".join(path)])
        case {"Fn::Sub": inner}:
            text, names = inner if isinstance(inner, list) else (inner, {})
            return _with_values_in_text(text, _with_values(names, values, own), values, own)
        case dict():
            return {key: _with_values(inner, values, own) for key, inner in value.items()}
        case list():
            return [_with_values(inner, values, own) for inner in value]
    return value


def _with_values_in_text(text: str, names: Json, values: Json, own: frozenset[str]) -> Json:
    def one(found: re.Match[str]) -> str:
        match None if found[1] in own else values.get(found[1]):
            case None | {"Ref": _}:
                pass  # a parameter that is passed under its own name
            case {"Fn::GetAtt": path}:
                return f"${{{'.'.join(path)}}}"
            case value:
                names[found[1]] = deepcopy(value)
        return found[0]

    names = dict(names)
    text = re.sub(r"\$\{([^!}]+)\}", one, text)
    return {"Fn::Sub": [text, names] if names else text}


def resources(kind: str) -> dict[str, Json]:
    """The resources of the CloudFormation type `kind` in all templates, by logical id.

    Not a copy.
    """
    found = {name: body for name, body in _resources().items() if body["Type"] == kind}
    assert found, f"the templates have no {kind}, so nothing is tested"
    return found


def properties(kind: str, name: str) -> Json:
    """The properties of one resource."""
    return cast(Json, resources(kind)[name]["Properties"])


def statements(*names: str) -> list[Json]:
    """Every statement of the roles `names`, of all where none is named."""
    roles = resources("AWS::IAM::Role")
    return [
        statement
        for name in names or roles
        for policy in roles[name]["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def listed(value: Any) -> list[Any]:
    """`value` as a list: IAM accepts one value or a list."""
    return value if isinstance(value, list) else [value]


def evaluate(value: Any, parameters: Json) -> Any:
    """The value of the CloudFormation functions of `Rules` and `Conditions` in `value`."""
    match value:
        case {"Ref": name}:
            return parameters[name]
        case {"Fn::Equals": [one, other]}:
            return evaluate(one, parameters) == evaluate(other, parameters)
        case {"Fn::Not": [inner]}:
            return not evaluate(inner, parameters)
        case {"Fn::And": inner} | {"Fn::Or": inner}:
            combine = all if "Fn::And" in value else any
            return combine(evaluate(each, parameters) for each in inner)
        case {"Fn::Contains": [values, one]}:
            return evaluate(one, parameters) in values
        case str():
            return value
    raise AssertionError(f"{value} is not a function that rules can use")
