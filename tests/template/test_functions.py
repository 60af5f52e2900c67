"""Settings of the functions: of all of them, of those with the layer, and of RunsFunction."""

from typing import Any, cast

import pytest

from byline import aws, fetch
from serve_runs.profiles.best_effort import BEST_EFFORT_SECONDS
from tests.template.stack import (
    NO_VALUE,
    flatten,
    properties,
    resources,
    template,
)

FUNCTION = "AWS::Lambda::Function"

FUNCTIONS = pytest.mark.parametrize("function", resources(FUNCTION))
WITH_LAYER = pytest.mark.parametrize(
    "function", [name for name in resources(FUNCTION) if name != "ServeConsoleFunction"]
)
"""All but the console's function, which has neither layer nor settings; see `test_console.py`."""


@FUNCTIONS
def test_function_logs_into_a_group_with_retention(function: str) -> None:
    """Each function logs into a group of the template, whose retention the operator sets."""
    group = properties(FUNCTION, function)["LoggingConfig"]["LogGroup"]["Ref"]
    retention = properties("AWS::Logs::LogGroup", group)["RetentionInDays"]
    assert retention == {"Ref": "LogRetentionDays"}


@FUNCTIONS
def test_function_has_lambda_log_level_info(function: str) -> None:
    """Lambda's level is INFO: a lower one logs request headers, a higher one drops metrics."""
    logging = properties(FUNCTION, function)["LoggingConfig"]
    assert logging["ApplicationLogLevel"] == "INFO"


@WITH_LAYER
def test_function_is_traced(function: str) -> None:
    """Lambda traces by default. The tracer in the code is off unless the operator turns it on."""
    body = properties(FUNCTION, function)
    assert body["TracingConfig"] == {"Mode": {"Ref": "Tracing"}}
    assert template()["Parameters"]["Tracing"]["Default"] == "Active"
    disabled = body["Environment"]["Variables"]["POWERTOOLS_TRACE_DISABLED"]
    assert disabled == {"Fn::If": ["TracerOn", "false", "true"]}
    assert template()["Parameters"]["Tracer"]["Default"] == "off"


def test_runs_function_serves_a_published_version_from_a_snapshot() -> None:
    """The alias points to a published version, which starts from a snapshot by default."""
    alias = properties("AWS::Lambda::Alias", "RunsFunctionAliaslive")
    [version] = resources("AWS::Lambda::Version")
    assert alias["Name"] == "live"
    assert alias["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}
    body = properties(FUNCTION, "RunsFunction")
    assert body["SnapStart"] == {"ApplyOn": {"Ref": "SnapStart"}}
    assert template()["Parameters"]["SnapStart"]["Default"] == "PublishedVersions"


def test_runs_function_has_no_trigger_but_the_load_balancer() -> None:
    """RunsFunction has no event source and no schedule: both would bypass the listener's rules."""
    sources = resources("AWS::Lambda::EventSourceMapping").values()
    schedules = resources("AWS::Scheduler::Schedule").values()
    invoked = [str(source["Properties"]["FunctionName"]) for source in sources]
    invoked += [str(schedule["Properties"]["Target"]["Arn"]) for schedule in schedules]
    assert not [name for name in invoked if "RunsFunction" in name]


def test_no_function_has_a_function_url() -> None:
    """Only the load balancer invokes a function for an HTTP request."""
    kinds = {body["Type"] for body in flatten(template())["Resources"].values()}
    assert not kinds & {"AWS::Lambda::Url", "AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api"}


@WITH_LAYER
def test_function_never_sets_python_optimize(function: str) -> None:
    """With PYTHONOPTIMIZE, each cold start compiles the standard library, which takes a second."""
    assert "PYTHONOPTIMIZE" not in properties(FUNCTION, function)["Environment"]["Variables"]


@WITH_LAYER
def test_function_uses_the_default_aws_endpoints(function: str) -> None:
    """AWS_ENDPOINT_URL is named for `sam local invoke` and has no value on AWS."""
    variables = properties(FUNCTION, function)["Environment"]["Variables"]
    assert variables["AWS_ENDPOINT_URL"] == NO_VALUE


@FUNCTIONS
def test_function_runs_what_the_build_compiles_for(function: str) -> None:
    """Runtime and architecture match the wheels and the byte code of the layer."""
    body = properties(FUNCTION, function)
    assert (body["Runtime"], body["Architectures"]) == ("python3.13", [{"Ref": "Architecture"}])
    for layer in body.get("Layers", []):
        shipped = properties("AWS::Lambda::LayerVersion", layer["Ref"])
        assert shipped["CompatibleRuntimes"] == [body["Runtime"]]
        assert shipped["CompatibleArchitectures"] == body["Architectures"]


def test_runs_function_has_the_settings_of_the_interface() -> None:
    """Each documented variable of RunsFunction has the value of its parameter or resource."""
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
def test_default_verifies_and_refuses_anonymous_callers(parameter: str, default: str) -> None:
    """By default, tokens are verified and a request without credentials is refused."""
    assert template()["Parameters"][parameter]["Default"] == default


def test_timeout_is_longer_than_the_codes_own_limits() -> None:
    """Where a dependency hangs, the function answers 503 before Lambda's timeout ends it."""
    fetches = 3  # discovery, keys, userinfo
    attempts = cast(Any, aws)._CONFIG.retries["total_max_attempts"]
    one_attempt = aws.CONNECT_TIMEOUT_SECONDS + aws.READ_TIMEOUT_SECONDS
    waits = sum(2**retry for retry in range(attempts - 1))  # botocore's longest, in standard mode
    slowest = fetches * fetch.TIMEOUT_SECONDS + BEST_EFFORT_SECONDS + attempts * one_attempt + waits
    assert slowest < properties(FUNCTION, "RunsFunction")["Timeout"]
