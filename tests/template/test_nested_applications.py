"""The nested applications, and the parameters that the root passes to them."""

import re
from typing import Any

import pytest

from tests.template.stack import NESTED, OBSERVABILITY, ROOT, Json, properties, template

TEMPLATES = pytest.mark.parametrize("name", ["template.yaml", *NESTED.values()])
APPLICATIONS = pytest.mark.parametrize("application", NESTED)
MOST_LINES = 1_400

PSEUDO_PARAMETERS = {"AWS::AccountId", "AWS::NoValue", "AWS::Partition", "AWS::Region"}


def test_root_is_short_enough_to_read() -> None:
    """What grows beyond that belongs into a nested application."""
    assert len((ROOT / "template.yaml").read_text().splitlines()) <= MOST_LINES


@APPLICATIONS
def test_root_passes_every_parameter(application: str) -> None:
    """The root passes a value for each parameter and nothing else. No default hides a gap."""
    parameters = template(NESTED[application])["Parameters"]
    assert _passed(application).keys() == parameters.keys()
    assert not [name for name, body in parameters.items() if "Default" in body]


def test_alarms_can_be_left_out() -> None:
    """With Alarms=off the stack has no alarm and no dashboard. By default it has them."""
    body = template()
    assert body["Resources"]["Observability"]["Condition"] == "AlarmsOn"
    assert body["Conditions"]["AlarmsOn"] == {"Fn::Equals": [{"Ref": "Alarms"}, "on"]}
    assert body["Parameters"]["Alarms"]["Default"] == "on"
    assert "AWS::CloudWatch::Dashboard" not in str(body["Resources"])


@pytest.mark.parametrize(
    ("application", "name"),
    [
        (each, name)
        for each, file in NESTED.items()
        for name in sorted(template(file)["Parameters"])
    ],
)
def test_parameter_carries_what_its_name_says(application: str, name: str) -> None:
    """A parameter with the name of a resource or of a root parameter gets the value of that one.

    The parameter `XArn` gets the ARN of the resource `X`.
    """
    expected = {
        "StackName": {"AWS::StackName"},
        "Prefix": {"SecretPrefix", "AWS::StackName"},
        "RunsTableStreamArn": {"RunsTable"},
        "ListenerArn": {"Listener", "ListenerArn"},
        "Suffix": {"AWS::StackId"},
    }.get(name, {name} & template()["Parameters"].keys() or {name.removesuffix("Arn")})
    assert _references(_passed(application)[name]) == expected


@TEMPLATES
def test_every_parameter_is_used(name: str) -> None:
    """Each parameter has an effect: a resource, a condition, a rule or an output refers to it."""
    body = template(name)
    used = _references({key: part for key, part in body.items() if key != "Parameters"})
    assert body["Parameters"].keys() <= used


@TEMPLATES
def test_every_condition_is_used(name: str) -> None:
    """Each condition decides about a resource, a property, an output or another condition."""
    body = template(name)
    text = str({key: part for key, part in body.items() if key != "Rules"})
    for condition in body["Conditions"]:
        assert re.search(rf"'(Condition|Fn::If)': \[?'{condition}'", text), condition


@APPLICATIONS
def test_nested_resources_refer_to_parameters_alone(application: str) -> None:
    """Each reference is a parameter or a resource beside it: nothing else exists there."""
    body = template(NESTED[application])
    known = {*body["Parameters"], *body["Resources"], *PSEUDO_PARAMETERS}
    assert _references(body["Resources"]) <= known


def test_root_uses_every_output_of_the_permissions() -> None:
    """Each output is the role of a function, or a policy that a resource of the root needs."""
    text = str(template())
    for output in template(NESTED["Permissions"])["Outputs"]:
        assert f"Outputs.{output}'" in text


def test_permissions_depend_on_the_settings_of_the_root() -> None:
    """A condition of the same name means the same in both templates."""
    nested, root = template(NESTED["Permissions"])["Conditions"], template()["Conditions"]
    assert nested.pop("Registration") != root["Registration"]  # it follows from an empty ARN
    same = nested.keys() & root.keys()
    assert {"Bounded", "InRolePath", "CustomerKey", "InVpc"} <= same
    assert {name: nested[name] for name in same} == {name: root[name] for name in same}


def test_registration_alarms_follow_the_roots_condition() -> None:
    """Without registration the root passes empty names, and the nested condition is false."""
    assert template(OBSERVABILITY)["Conditions"]["Registration"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "RegisterResourcesFunction"}, ""]}]
    }
    for name in ("RegisterResourcesFunction", "RegistrationDeadLetters"):
        condition, _, otherwise = _passed("Observability")[name]["Fn::If"]
        assert (condition, otherwise) == ("Registration", "")


def _passed(application: str) -> Json:
    parameters: Json = properties("AWS::CloudFormation::Stack", application)["Parameters"]
    return parameters


def _references(value: Any) -> set[str]:
    """The names that `value` refers to, by Ref, Fn::GetAtt or Fn::Sub."""
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]}:
            return {name}
        case {"Fn::Sub": str(text)}:
            return {name.partition(".")[0] for name in re.findall(r"\$\{([^}]+)\}", text)}
        case dict():
            return set[str]().union(*map(_references, value.values()))
        case list():
            return set[str]().union(*map(_references, value))
    return set()
