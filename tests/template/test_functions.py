"""What the functions of the template promise: all of them, and the one that answers requests."""

from typing import Any, cast

import pytest

from byline import aws, fetch
from tests.template.stack import (
    NO_VALUE,
    Json,
    properties,
    resources,
    template,
    translate,
)

FUNCTION = "AWS::Lambda::Function"

FUNCTIONS = pytest.mark.parametrize("function", resources(FUNCTION))


@FUNCTIONS
def test_function_logs_into_a_group_that_forgets(function: str) -> None:
    """Logs go to a group of the template's own, whose retention an operator sets."""
    group = properties(FUNCTION, function)["LoggingConfig"]["LogGroup"]["Ref"]
    retention = properties("AWS::Logs::LogGroup", group)["RetentionInDays"]
    assert retention == {"Ref": "LogRetentionDays"}


@FUNCTIONS
def test_function_logs_nothing_below_info_of_its_libraries(function: str) -> None:
    """Lambda's level is INFO: lower shows requests with their headers, higher drops metrics."""
    logging = properties(FUNCTION, function)["LoggingConfig"]
    assert logging["ApplicationLogLevel"] == "INFO"


@FUNCTIONS
def test_function_is_traced(function: str) -> None:
    """Lambda traces by itself; the tracer in the code is an operator's choice, off by default."""
    body = properties(FUNCTION, function)
    assert body["TracingConfig"] == {"Mode": {"Ref": "Tracing"}}
    assert template()["Parameters"]["Tracing"]["Default"] == "Active"
    disabled = body["Environment"]["Variables"]["POWERTOOLS_TRACE_DISABLED"]
    assert disabled == {"Fn::If": ["TracerOn", "false", "true"]}
    assert template()["Parameters"]["Tracer"]["Default"] == "off"


def test_runs_function_serves_a_published_version_from_a_snapshot() -> None:
    """Callers get the alias of a published version, which starts from a snapshot."""
    alias = properties("AWS::Lambda::Alias", "RunsFunctionAliaslive")
    [version] = resources("AWS::Lambda::Version")
    assert alias["Name"] == "live"
    assert alias["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}
    body = properties(FUNCTION, "RunsFunction")
    assert body["SnapStart"] == {"ApplyOn": {"Ref": "SnapStart"}}
    assert template()["Parameters"]["SnapStart"]["Default"] == "PublishedVersions"


@pytest.mark.parametrize("changed", ["code", "layer", "environment"])
def test_whatever_changes_is_published(changed: str) -> None:
    """New code, a new layer or a new variable each make a new version."""
    function = "RunsFunction"
    changed_template = template()
    body = changed_template["Resources"][function]["Properties"]
    match changed:
        case "code":
            body["CodeUri"] = "other/code"
        case "layer":
            layer = changed_template["Resources"]["IdentityLayer"]
            layer["Properties"]["ContentUri"] = "other/layer"
        case "environment":
            body["Environment"]["Variables"]["OTHER"] = "value"

    def version(of: Json) -> Any:
        alias = translate(of)["Resources"][f"{function}Aliaslive"]
        return alias["Properties"]["FunctionVersion"]["Fn::GetAtt"][0]

    assert version(template()) == version(template())
    assert version(changed_template) != version(template())


def test_runs_function_has_no_way_in_beside_the_load_balancer() -> None:
    """RunsFunction has no event source and no schedule: both would bypass the listener's rules."""
    sources = resources("AWS::Lambda::EventSourceMapping").values()
    schedules = resources("AWS::Scheduler::Schedule").values()
    invoked = [str(source["Properties"]["FunctionName"]) for source in sources]
    invoked += [str(schedule["Properties"]["Target"]["Arn"]) for schedule in schedules]
    assert not [name for name in invoked if "RunsFunction" in name]


@FUNCTIONS
def test_function_has_no_address_of_its_own(function: str) -> None:
    """Nothing calls a function over HTTP but the load balancer."""
    assert "FunctionUrlConfig" not in template()["Resources"][function]["Properties"]
    kinds = {resource["Type"] for resource in translate(template())["Resources"].values()}
    assert not kinds & {"AWS::Lambda::Url", "AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api"}


@FUNCTIONS
def test_function_never_sets_python_optimize(function: str) -> None:
    """With it the runtime compiles its standard library at every cold start: a second more."""
    assert "PYTHONOPTIMIZE" not in properties(FUNCTION, function)["Environment"]["Variables"]


@FUNCTIONS
def test_function_calls_aws_itself_on_aws(function: str) -> None:
    """The variable that sends a local function's calls elsewhere is named and never set."""
    variables = properties(FUNCTION, function)["Environment"]["Variables"]
    assert variables["AWS_ENDPOINT_URL"] == NO_VALUE


@FUNCTIONS
def test_function_runs_what_the_build_compiles_for(function: str) -> None:
    """Runtime and architecture are those of the layer's wheels and byte code."""
    body = properties(FUNCTION, function)
    assert (body["Runtime"], body["Architectures"]) == ("python3.13", ["x86_64"])
    for layer in body["Layers"]:
        shipped = properties("AWS::Lambda::LayerVersion", layer["Ref"])
        assert shipped["CompatibleRuntimes"] == [body["Runtime"]]
        assert shipped["CompatibleArchitectures"] == body["Architectures"]


def test_runs_function_has_the_settings_of_the_interface() -> None:
    """Every variable of the interface is set, and by the parameter that it says."""
    variables = properties(FUNCTION, "RunsFunction")["Environment"]["Variables"]
    by_parameter = {
        "OIDC_ISSUER": "OidcIssuer",
        "OIDC_CLIENT_ID": "OidcClientId",
        "TRUSTED_ISSUERS": "TrustedIssuers",
        "IDENTITY_TRUST": "IdentityTrust",
        "ANONYMOUS_CALLERS": "AnonymousCallers",
        "PROJECT_ADMINS": "ProjectAdmins",
        "PROJECT_CREATION": "ProjectCreation",
        "ALB_PUBLIC_KEYS_URL": "AlbPublicKeysUrl",
        "RUNS_TABLE": "RunsTable",
        "RUNNERS_TABLE": "RunnersTable",
        "ACCESS_TABLE": "AccessTable",
        "REFRESH_QUEUE_URL": "RefreshQueue",
    }
    assert {name: variables[name] for name in by_parameter} == {
        name: {"Ref": parameter} for name, parameter in by_parameter.items()
    }
    assert variables["LOAD_BALANCER_ARNS"] == {
        "Fn::If": [
            "OwnLoadBalancerForBrowsers",
            {"Fn::Join": [",", [{"Ref": "LoadBalancer"}, {"Ref": "LoadBalancerArns"}]]},
            {"Ref": "LoadBalancerArns"},
        ]
    }
    assert {"BROWSER_TARGET_GROUP", "BEARER_TARGET_GROUP"} <= variables.keys()


@pytest.mark.parametrize(
    ("parameter", "default"),
    [("IdentityTrust", "verify"), ("AnonymousCallers", "refuse"), ("LoadBalancerArns", "")],
)
def test_default_believes_nobody_unverified(parameter: str, default: str) -> None:
    """Who changes nothing gets verification, and refuses who brings no credential."""
    assert template()["Parameters"][parameter]["Default"] == default


def test_runs_function_outlasts_its_own_limits() -> None:
    """A dependency that hangs ends in an answer, not in Lambda's axe: the limits add up to less."""
    fetches = 3  # discovery, keys, userinfo
    attempts = cast(Any, aws)._CONFIG.retries["total_max_attempts"]
    one_attempt = aws.CONNECT_TIMEOUT_SECONDS + aws.READ_TIMEOUT_SECONDS
    slowest = fetches * fetch.TIMEOUT_SECONDS + attempts * one_attempt
    assert slowest < properties(FUNCTION, "RunsFunction")["Timeout"]
