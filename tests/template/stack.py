"""`template.yaml`, read as CloudFormation gets it."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, cast

import boto3
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]

type Json = dict[str, Any]

NO_VALUE = {"Ref": "AWS::NoValue"}


@cache
def _template() -> Json:
    return cast(Json, yaml_parse((ROOT / "template.yaml").read_text()))


def template() -> Json:
    """A copy of the template as it is written, with every `!Ref` as `{"Ref": ...}`."""
    return deepcopy(_template())


def translate(template: Json) -> Json:
    """The plain CloudFormation that SAM makes of `template`, Globals merged."""
    template = deepcopy(template)
    for body in template["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            # The translator takes what `sam package` leaves behind: an address in S3.
            if name in body.get("Properties", {}):
                body["Properties"][name] = f"s3://bucket/{body['Properties'][name]}"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    return cast(Json, translator.translate(template, parameter_values={}))


@cache
def _translated() -> Json:
    return translate(template())


def resources(kind: str) -> dict[str, Json]:
    """The translated resources of the CloudFormation type `kind`, by logical id. Not a copy."""
    every = _translated()["Resources"]
    found = {name: body for name, body in every.items() if body["Type"] == kind}
    assert found, f"the template has no {kind}, so nothing is tested"
    return found


def properties(kind: str, name: str) -> Json:
    """The properties of one resource."""
    return cast(Json, resources(kind)[name]["Properties"])


def folder(function: str) -> Path:
    """The folder whose code the function `function` ships."""
    code: str = template()["Resources"][function]["Properties"]["CodeUri"]
    return ROOT / code


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
    """IAM takes one value or a list of them."""
    return value if isinstance(value, list) else [value]


def evaluate(value: Any, parameters: Json) -> Any:
    """What CloudFormation's functions in `Rules` and `Conditions` come to."""
    match value:
        case {"Ref": name}:
            return parameters[name]
        case {"Fn::Equals": [one, other]}:
            return evaluate(one, parameters) == evaluate(other, parameters)
        case {"Fn::Not": [inner]}:
            return not evaluate(inner, parameters)
        case {"Fn::And": inner}:
            return all(evaluate(each, parameters) for each in inner)
        case {"Fn::Or": inner}:
            return any(evaluate(each, parameters) for each in inner)
        case str():
            return value
    raise AssertionError(f"{value} is no function of rules")
