"""`template.yaml` and `observability.yaml`, as CloudFormation gets them."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, cast

import boto3
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
OBSERVABILITY = "observability.yaml"

type Json = dict[str, Any]

NO_VALUE = {"Ref": "AWS::NoValue"}


@cache
def _template(name: str) -> Json:
    return cast(Json, yaml_parse((ROOT / name).read_text()))


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


@cache
def _resources() -> Json:
    """The translated resources of both templates.

    In those of `observability.yaml`, the values that the root passes replace the parameters. For a
    resource with a condition, these are the values under that condition.
    """
    root = translate(template())["Resources"]
    nested = translate(template(OBSERVABILITY))["Resources"]
    passed = root["Observability"]["Properties"]["Parameters"]
    assert not root.keys() & nested.keys()
    for name, body in nested.items():
        values = {key: _under(body.get("Condition"), value) for key, value in passed.items()}
        nested[name] = _with_parameters(body, values)
    return {**root, **nested}


def _under(condition: str | None, value: Any) -> Any:
    match value:
        case {"Fn::If": [name, inner, _]} if name == condition:
            return inner
    return value


def _with_parameters(value: Any, passed: Json) -> Any:
    match value:
        case {"Ref": name} if name in passed:
            return deepcopy(passed[name])
        case dict():
            return {key: _with_parameters(inner, passed) for key, inner in value.items()}
        case list():
            return [_with_parameters(inner, passed) for inner in value]
    return value


def resources(kind: str) -> dict[str, Json]:
    """The resources of the CloudFormation type `kind` in both templates, by logical id.

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
