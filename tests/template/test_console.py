"""The nested application of the web console: who reaches it, and that it has no rights."""

import pytest

from tests.template.deployment import Deployment
from tests.template.listener_rules import RULE, rule_of
from tests.template.stack import CONSOLE, properties, resources, statements, template
from tests.template.test_parameters import BROWSERS, FULL

FUNCTION = "ServeConsoleFunction"
PAGE = {"accept": "text/html,application/xhtml+xml"}


def test_console_has_one_right() -> None:
    """Its role writes into its own log group, and allows nothing else."""
    [statement] = statements("ServeConsoleRole")
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert statement["Resource"] == {"Fn::GetAtt": ["ServeConsoleLogGroup", "Arn"]}
    assert "ManagedPolicyArns" not in properties("AWS::IAM::Role", "ServeConsoleRole")


def test_console_knows_nothing() -> None:
    """The function has no variable, no layer and no network of the organisation."""
    body = properties("AWS::Lambda::Function", FUNCTION)
    assert not body.keys() & {"Environment", "Layers", "VpcConfig", "FileSystemConfigs"}


@pytest.mark.parametrize("path", ["/", "/console/runs", "/console/assets/app-0.js"])
def test_console_is_for_people_who_signed_in(path: str) -> None:
    """Its rule signs a browser in with the same provider and session as the browser rule."""
    assert rule_of("GET", path, PAGE) == "ConsoleRule"
    assert rule_of("POST", path, PAGE) is None
    assert rule_of("GET", path, PAGE, host="other.example.com") is None
    authenticate, forward = properties(RULE, "ConsoleRule")["Actions"]
    browser, _ = properties(RULE, "BrowserRule")["Actions"]
    assert authenticate == browser
    group = {"Ref": "ConsoleTargetGroup"}
    assert forward == {"Type": "forward", "Order": 2, "TargetGroupArn": group}


@pytest.mark.parametrize("path", ["/consoles", "/console", "/index.html", "/v1/whoami", "/logout"])
def test_console_takes_no_other_address(path: str) -> None:
    """The rule matches `/` and what is below `/console/`."""
    assert rule_of("GET", path, PAGE) != "ConsoleRule"


@pytest.mark.parametrize("off", [{"Console": "off"}, dict.fromkeys(BROWSERS, "")])
def test_console_can_be_left_out(off: dict[str, str]) -> None:
    """With Console=off, or without a sign-in for browsers, the stack has nothing of it."""
    assert "WebConsole" not in Deployment({**FULL, **off}).resources("AWS::CloudFormation::Stack")


def test_only_the_load_balancer_of_this_account_may_invoke_the_console() -> None:
    """Lambda refuses other accounts, and target groups of other names."""
    body = properties("AWS::Lambda::Permission", "ConsolePermission")
    assert body["FunctionName"] == {"Ref": FUNCTION}
    assert body["Principal"] == "elasticloadbalancing.amazonaws.com"
    assert body["SourceAccount"] == {"Ref": "AWS::AccountId"}
    group = template(CONSOLE)["Resources"]["ConsoleTargetGroup"]["Properties"]["Name"]["Fn::Sub"]
    permitted = template(CONSOLE)["Resources"]["ConsolePermission"]["Properties"]["SourceArn"]
    assert permitted["Fn::Sub"].endswith(f":targetgroup/{group}/*")


def test_rules_of_the_listener_have_different_priorities() -> None:
    """A listener refuses a second rule of the same priority."""
    parameters = template()["Parameters"]
    names = [body["Properties"]["Priority"]["Ref"] for body in resources(RULE).values()]
    assert len({parameters[name]["Default"] for name in names}) == len(names)
