"""The way in: what the load balancer lets through, and to which group."""

from typing import Any

import pytest

from tests.template.stack import NO_VALUE, Json, properties, resources, template

RULE = "AWS::ElasticLoadBalancingV2::ListenerRule"
LISTENER = "AWS::ElasticLoadBalancingV2::Listener"

AUTHENTICATION = {
    "BrowserRule": ("authenticate-oidc", "BrowserTargetGroup"),
    "BearerRule": ("jwt-validation", "BearerTargetGroup"),
}


def test_there_are_just_the_two_rules() -> None:
    """A rule that nobody tested here would be a third way in."""
    assert resources(RULE).keys() == AUTHENTICATION.keys()


@pytest.mark.parametrize("rule", AUTHENTICATION)
def test_rule_authenticates_before_it_forwards(rule: str) -> None:
    """Every rule authenticates first, then forwards to the group that stands for how."""
    kind, group = AUTHENTICATION[rule]
    first, second = properties(RULE, rule)["Actions"]
    assert (first["Order"], first["Type"]) == (1, kind)
    assert second == {"Type": "forward", "Order": 2, "TargetGroupArn": {"Ref": group}}


def test_browser_rule_never_lets_a_request_without_a_session_pass() -> None:
    """`allow` would forward what a client sent as if a person had signed in."""
    assert _oidc()["OnUnauthenticatedRequest"] == "authenticate"


def test_browser_rule_signs_in_where_the_function_expects_it() -> None:
    """Issuer and client of the rule are those that the function compares tokens with."""
    assert _oidc()["Issuer"] == {"Ref": "OidcIssuer"}
    assert _oidc()["ClientId"] == {"Ref": "OidcClientId"}


def test_client_secret_is_only_ever_a_reference() -> None:
    """The secret is read by CloudFormation itself: no parameter holds it, no `NoEcho` hides it."""
    _, *references = _oidc()["ClientSecret"]["Fn::If"]
    assert len(references) == 2
    for reference in references:
        text = reference["Fn::Sub"]
        assert text.startswith("{{resolve:secretsmanager:${OidcClientSecretArn}:SecretString:")
        assert text.endswith("}}")
    assert not [name for name, body in template()["Parameters"].items() if "NoEcho" in body]


def test_bearer_rule_takes_bearer_tokens_of_the_issuer() -> None:
    """Only requests with a Bearer token meet the rule, and only one issuer's pass it."""
    body = properties(RULE, "BearerRule")
    assert {
        "Field": "http-header",
        "HttpHeaderConfig": {"HttpHeaderName": "Authorization", "Values": ["Bearer *"]},
    } in body["Conditions"]
    assert body["Actions"][0]["JwtValidationConfig"] == {
        "Issuer": {"Ref": "BearerIssuer"},
        "JwksEndpoint": {"Ref": "BearerJwksEndpoint"},
    }


@pytest.mark.parametrize("rule", AUTHENTICATION)
def test_rule_takes_bylines_paths_alone(rule: str) -> None:
    """A shared listener's other paths, and other hosts' where a name is given, are not touched."""
    conditions = properties(RULE, rule)["Conditions"]
    paths = {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/v1/*", "/healthz"]}}
    host = {"Field": "host-header", "HostHeaderConfig": {"Values": [{"Ref": "HostName"}]}}
    assert paths in conditions
    assert {"Fn::If": ["OneHostName", host, NO_VALUE]} in conditions


@pytest.mark.parametrize("rule", AUTHENTICATION)
def test_rule_stays_within_the_values_of_a_rule(rule: str) -> None:
    """A rule may have five condition values in all."""

    def values(condition: Any) -> int:
        if isinstance(condition, dict):
            return sum(
                len(value) if name == "Values" else values(value)
                for name, value in condition.items()
            )
        return sum(map(values, condition)) if isinstance(condition, list) else 0

    assert values(properties(RULE, rule)["Conditions"]) <= 5


def test_bearer_rule_goes_before_the_browser_rule() -> None:
    """The browser rule takes everything, so Bearer tokens have to be met before it."""
    parameters = template()["Parameters"]
    priorities = [
        properties(RULE, rule)["Priority"]["Ref"] for rule in ("BearerRule", "BrowserRule")
    ]
    assert parameters[priorities[0]]["Default"] < parameters[priorities[1]]["Default"]


def test_listener_answers_what_no_rule_took() -> None:
    """On a listener of its own the default is a fixed answer, never a forward."""
    for listener in resources(LISTENER).values():
        [action] = listener["Properties"]["DefaultActions"]
        assert action["Type"] == "fixed-response"
        assert action["FixedResponseConfig"]["StatusCode"] == "404"


def test_listener_speaks_tls_alone() -> None:
    """Neither a token nor a session cookie ever travels in the clear."""
    for listener in resources(LISTENER).values():
        assert (listener["Properties"]["Protocol"], listener["Properties"]["Port"]) == (
            "HTTPS",
            443,
        )
        assert listener["Properties"]["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")


@pytest.mark.parametrize("rule", AUTHENTICATION)
def test_rule_stands_on_either_listener(rule: str) -> None:
    """Rules go to the listener that is given, or to that of a load balancer of its own."""
    assert properties(RULE, rule)["ListenerArn"] == {
        "Fn::If": ["OwnLoadBalancer", {"Ref": "Listener"}, {"Ref": "ListenerArn"}]
    }


@pytest.mark.parametrize("group", resources("AWS::ElasticLoadBalancingV2::TargetGroup"))
def test_group_hands_over_doubled_headers(group: str) -> None:
    """Only with multi-value headers does the function see that a header was sent twice."""
    body = properties("AWS::ElasticLoadBalancingV2::TargetGroup", group)
    assert body["TargetType"] == "lambda"
    assert body["Targets"] == [{"Id": {"Ref": "RunsFunctionAliaslive"}}]
    assert {"Key": "lambda.multi_value_headers.enabled", "Value": "true"} in body[
        "TargetGroupAttributes"
    ]


def test_load_balancer_drops_headers_that_are_not_headers() -> None:
    """What two readers could read differently does not reach the function."""
    [load_balancer] = resources("AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    attributes = load_balancer["Properties"]["LoadBalancerAttributes"]
    assert {"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": "true"} in attributes


def _oidc() -> Json:
    config: Json = properties(RULE, "BrowserRule")["Actions"][0]["AuthenticateOidcConfig"]
    return config
