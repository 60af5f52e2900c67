"""The nested application `observability.yaml` and the parameters that the root passes to it."""

import re
from typing import Any

import pytest

from tests.template.stack import OBSERVABILITY, Json, properties, template

TEMPLATES = pytest.mark.parametrize("name", ["template.yaml", OBSERVABILITY])

PSEUDO_PARAMETERS = {"AWS::Region", "AWS::NoValue"}


def test_root_passes_every_parameter() -> None:
    """The root passes a value for each parameter and nothing else. No default hides a gap."""
    parameters = template(OBSERVABILITY)["Parameters"]
    assert _passed().keys() == parameters.keys()
    assert not [name for name, body in parameters.items() if "Default" in body]


def test_alarms_can_be_left_out() -> None:
    """With Alarms=off the stack has no alarm and no dashboard. By default it has them."""
    body = template()
    assert body["Resources"]["Observability"]["Condition"] == "AlarmsOn"
    assert body["Conditions"]["AlarmsOn"] == {"Fn::Equals": [{"Ref": "Alarms"}, "on"]}
    assert body["Parameters"]["Alarms"]["Default"] == "on"
    assert "AWS::CloudWatch::Dashboard" not in str(body["Resources"])


@pytest.mark.parametrize("name", sorted(template(OBSERVABILITY)["Parameters"]))
def test_parameter_carries_what_its_name_says(name: str) -> None:
    """A parameter with the name of a resource or of a root parameter gets the value of that one."""
    expected = {"AWS::StackName"} if name == "StackName" else {name}
    assert _references(_passed()[name]) == expected


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


def test_nested_resources_refer_to_parameters_alone() -> None:
    """Each reference of an alarm or of the dashboard is a parameter: nothing else exists there."""
    body = template(OBSERVABILITY)
    assert _references(body["Resources"]) <= {*body["Parameters"], *PSEUDO_PARAMETERS}


def test_registration_alarms_follow_the_roots_condition() -> None:
    """Without registration the root passes empty names, and the nested condition is false."""
    assert template(OBSERVABILITY)["Conditions"]["Registration"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "RegisterResourcesFunction"}, ""]}]
    }
    for name in ("RegisterResourcesFunction", "RegistrationDeadLetters"):
        condition, _, otherwise = _passed()[name]["Fn::If"]
        assert (condition, otherwise) == ("Registration", "")


def _passed() -> Json:
    parameters: Json = properties("AWS::CloudFormation::Stack", "Observability")["Parameters"]
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
