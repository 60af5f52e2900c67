"""Listener rules and target groups: which requests the load balancer forwards, and where."""

from typing import Any

import pytest

from tests.template.deployment import Deployment
from tests.template.stack import NO_VALUE, Json, properties, resources, template
from tests.template.test_parameters import BEARERS, BROWSERS, FULL

RULE = "AWS::ElasticLoadBalancingV2::ListenerRule"
LISTENER = "AWS::ElasticLoadBalancingV2::Listener"

RULES = {"BrowserRule": "BrowserTargetGroup", "BearerRule": "BearerTargetGroup"}
ONE_ISSUER = {"BearerIssuer": BEARERS["BearerIssuer"]}
SEVERAL_ISSUERS = {"BearerIssuer": "", "BearerJwksEndpoint": ""}


def test_template_has_only_the_two_rules() -> None:
    """Each listener rule is covered by the tests of this module."""
    assert resources(RULE).keys() == RULES.keys()


@pytest.mark.parametrize(
    ("rule", "changes", "authentication"),
    [
        ("BrowserRule", {}, ["authenticate-oidc"]),
        ("BearerRule", ONE_ISSUER, ["jwt-validation"]),
        ("BearerRule", SEVERAL_ISSUERS, []),
    ],
)
def test_rule_forwards_to_the_target_group_of_its_credential(
    rule: str, changes: dict[str, str], authentication: list[str]
) -> None:
    """A rule authenticates first, except for Bearer tokens without BearerIssuer."""
    deployment = Deployment({**FULL, **changes})
    *actions, forward = deployment.properties(rule)["Actions"]
    assert [action["Type"] for action in actions] == authentication
    assert [action["Order"] for action in actions] == [1] * len(actions)
    group = deployment.physical_id(RULES[rule])
    assert forward == {"Type": "forward", "Order": 2, "TargetGroupArn": group}


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({}, {"BrowserRule", "BearerRule"}),
        (SEVERAL_ISSUERS, {"BrowserRule", "BearerRule"}),
        ({**SEVERAL_ISSUERS, "TrustedIssuers": ""}, {"BrowserRule"}),
        (dict.fromkeys(BROWSERS, ""), {"BearerRule"}),
    ],
)
def test_stack_has_a_rule_for_each_credential(changes: dict[str, str], rules: set[str]) -> None:
    """TrustedIssuers switches the Bearer rule on, OidcIssuer the browser rule."""
    assert set(Deployment({**FULL, **changes}).resources(RULE)) == rules


def test_browser_rule_authenticates_a_request_without_a_session() -> None:
    """With `allow` the load balancer would forward the client's own headers as if verified."""
    assert _oidc()["OnUnauthenticatedRequest"] == "authenticate"


def test_browser_rule_has_the_issuer_and_client_of_the_function() -> None:
    """The function compares tokens with the same issuer and client that the rule uses."""
    assert _oidc()["Issuer"] == {"Ref": "OidcIssuer"}
    assert _oidc()["ClientId"] == {"Ref": "OidcClientId"}


def test_client_secret_is_a_dynamic_reference() -> None:
    """CloudFormation reads the secret from Secrets Manager. No parameter holds it."""
    _, *references = _oidc()["ClientSecret"]["Fn::If"]
    assert len(references) == 2
    for reference in references:
        text = reference["Fn::Sub"]
        assert text.startswith("{{resolve:secretsmanager:${OidcClientSecretArn}:SecretString:")
        assert text.endswith("}}")
    assert not [name for name, body in template()["Parameters"].items() if "NoEcho" in body]


def test_bearer_rule_validates_bearer_tokens_of_the_issuer() -> None:
    """The rule matches requests with a Bearer token and forwards only tokens of the issuer."""
    body = properties(RULE, "BearerRule")
    assert {
        "Field": "http-header",
        "HttpHeaderConfig": {"HttpHeaderName": "Authorization", "Values": ["Bearer *"]},
    } in body["Conditions"]
    assert Deployment(FULL).properties("BearerRule")["Actions"][0]["JwtValidationConfig"] == {
        "Issuer": BEARERS["BearerIssuer"],
        "JwksEndpoint": BEARERS["BearerJwksEndpoint"],
    }


@pytest.mark.parametrize("rule", RULES)
def test_rule_matches_only_bylines_paths(rule: str) -> None:
    """A rule matches no other path of a shared listener, and with HostName no other host."""
    conditions = properties(RULE, rule)["Conditions"]
    paths = {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/v1/*", "/healthz"]}}
    host = {"Field": "host-header", "HostHeaderConfig": {"Values": [{"Ref": "HostName"}]}}
    assert paths in conditions
    assert {"Fn::If": ["OneHostName", host, NO_VALUE]} in conditions


@pytest.mark.parametrize("rule", RULES)
def test_rule_has_at_most_five_condition_values(rule: str) -> None:
    """AWS allows five condition values in a rule."""

    def values(condition: Any) -> int:
        if isinstance(condition, dict):
            return sum(
                len(value) if name == "Values" else values(value)
                for name, value in condition.items()
            )
        return sum(map(values, condition)) if isinstance(condition, list) else 0

    assert values(properties(RULE, rule)["Conditions"]) <= 5


def test_bearer_rule_goes_before_the_browser_rule() -> None:
    """The browser rule matches every request, so the bearer rule has the smaller priority."""
    parameters = template()["Parameters"]
    priorities = [
        properties(RULE, rule)["Priority"]["Ref"] for rule in ("BearerRule", "BrowserRule")
    ]
    assert parameters[priorities[0]]["Default"] < parameters[priorities[1]]["Default"]


def test_listener_answers_a_request_without_a_rule_with_404() -> None:
    """The default action of the stack's listener is a fixed response, not a forward."""
    for listener in resources(LISTENER).values():
        [action] = listener["Properties"]["DefaultActions"]
        assert action["Type"] == "fixed-response"
        assert action["FixedResponseConfig"]["StatusCode"] == "404"


def test_listener_accepts_only_tls() -> None:
    """No token and no session cookie is sent unencrypted."""
    for listener in resources(LISTENER).values():
        assert (listener["Properties"]["Protocol"], listener["Properties"]["Port"]) == (
            "HTTPS",
            443,
        )
        assert listener["Properties"]["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")


@pytest.mark.parametrize("rule", RULES)
def test_rule_belongs_to_the_given_or_the_created_listener(rule: str) -> None:
    """Rules use ListenerArn, or the listener of the load balancer that the stack creates."""
    assert properties(RULE, rule)["ListenerArn"] == {
        "Fn::If": ["OwnLoadBalancer", {"Ref": "Listener"}, {"Ref": "ListenerArn"}]
    }


@pytest.mark.parametrize("group", resources("AWS::ElasticLoadBalancingV2::TargetGroup"))
def test_target_group_sends_multi_value_headers(group: str) -> None:
    """Without multi-value headers the function could not detect a duplicated header."""
    body = properties("AWS::ElasticLoadBalancingV2::TargetGroup", group)
    assert body["TargetType"] == "lambda"
    assert body["Targets"] == [{"Id": {"Ref": "RunsFunctionAliaslive"}}]
    assert {"Key": "lambda.multi_value_headers.enabled", "Value": "true"} in body[
        "TargetGroupAttributes"
    ]


def test_load_balancer_drops_invalid_header_fields() -> None:
    """An ambiguous header field does not reach the function."""
    [load_balancer] = resources("AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    attributes = load_balancer["Properties"]["LoadBalancerAttributes"]
    assert {"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": "true"} in attributes


def _oidc() -> Json:
    config: Json = properties(RULE, "BrowserRule")["Actions"][0]["AuthenticateOidcConfig"]
    return config
