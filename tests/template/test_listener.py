"""Listener rules and target groups: which requests the load balancer forwards, and where."""

from typing import Any

import pytest

from tests.template.deployment import Deployment
from tests.template.listener_rules import RULE, rule_of
from tests.template.stack import NO_VALUE, Json, properties, resources, template
from tests.template.test_parameters import BEARERS, BROWSERS, FULL

LISTENER = "AWS::ElasticLoadBalancingV2::Listener"

RULES = {
    "BrowserRule": "BrowserTargetGroup",
    "SessionRule": "BrowserTargetGroup",
    "BearerRule": "BearerTargetGroup",
}
ONE_ISSUER = {"BearerIssuer": BEARERS["BearerIssuer"]}
SEVERAL_ISSUERS = {"BearerIssuer": "", "BearerJwksEndpoint": ""}
METADATA = "/.well-known/oauth-protected-resource"
PATHS = {**{rule: ["/v1/*", "/healthz"] for rule in RULES}, "LogoutRule": ["/logout", METADATA]}
ALWAYS = {"LogoutRule"}
BROWSER_RULES = {"BrowserRule", "SessionRule", "ConsoleRule"}
CHROMIUM_ACCEPTS = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def test_template_has_only_these_rules() -> None:
    """Each listener rule is covered by the tests of this module, the console's by its own."""
    assert resources(RULE).keys() == PATHS.keys() | {"ConsoleRule"}


def test_sign_out_needs_no_session() -> None:
    """`/logout` is forwarded without authentication, which could renew the session's cookies.

    So are the metadata, which a client reads before it has a token.
    """
    assert properties(RULE, "LogoutRule")["Actions"] == [
        {"Type": "forward", "Order": 1, "TargetGroupArn": {"Ref": "BrowserTargetGroup"}}
    ]


def test_session_rule_differs_from_the_browser_rule_in_one_setting() -> None:
    """Both rules accept the same sessions, and only one of them starts a sign-in."""
    difference = {"OnUnauthenticatedRequest": "authenticate"}
    assert _oidc("SessionRule") | difference == _oidc()
    assert _oidc("SessionRule")["OnUnauthenticatedRequest"] == "deny"


def test_sign_out_expires_the_cookie_of_the_rules() -> None:
    """The function is told the cookie name that both rules use."""
    variables = properties("AWS::Lambda::Function", "RunsFunction")["Environment"]["Variables"]
    assert variables["SESSION_COOKIE_NAME"] == _oidc()["SessionCookieName"]
    assert variables["OIDC_END_SESSION_ENDPOINT"] == {"Ref": "OidcEndSessionEndpoint"}
    assert variables["OIDC_POST_LOGOUT_URI"] == {"Ref": "OidcPostLogoutUri"}


@pytest.mark.parametrize("path", ["/v1/whoami", "/v1/projects/a/runs", "/healthz"])
def test_page_is_signed_in(path: str) -> None:
    """A browser that asks for a page without a session is led to the sign-in."""
    assert rule_of("GET", path, {"accept": CHROMIUM_ACCEPTS}) == "BrowserRule"


@pytest.mark.parametrize(
    ("method", "accept"),
    [
        ("GET", {"accept": "application/json"}),
        ("GET", {"accept": "application/json, text/html"}),
        ("GET", {"accept": "*/*"}),
        ("GET", {}),
        *((method, {"accept": CHROMIUM_ACCEPTS}) for method in ("POST", "PUT", "DELETE", "HEAD")),
        *((method, {"accept": CHROMIUM_ACCEPTS}) for method in ("PATCH", "OPTIONS")),
    ],
)
def test_request_that_is_no_page_is_denied_without_a_session(
    method: str, accept: dict[str, str]
) -> None:
    """A script, a tool, and a change get 401 without a session, not a redirect."""
    assert rule_of(method, "/v1/whoami", accept) == "SessionRule"


def test_bearer_token_is_never_led_to_a_sign_in() -> None:
    """The Bearer rule goes first, whatever the request accepts."""
    headers = {"authorization": "bearer abc", "accept": CHROMIUM_ACCEPTS}
    assert rule_of("GET", "/v1/whoami", headers) == "BearerRule"


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/logout", "LogoutRule"),
        ("/logout/x", None),
        (METADATA, "LogoutRule"),
        (f"{METADATA}/x", None),
        ("/.well-known/x", None),
    ],
)
def test_open_rule_has_two_paths(path: str, rule: str | None) -> None:
    """Only `/logout` and the metadata are forwarded unauthenticated, for the host name alone."""
    for method, headers in (("GET", {"accept": CHROMIUM_ACCEPTS}), ("POST", {})):
        assert rule_of(method, path, headers) == rule
        assert rule_of(method, path, headers, host="other.example.com") is None


@pytest.mark.parametrize(
    ("rule", "changes", "authentication"),
    [
        ("BrowserRule", {}, ["authenticate-oidc"]),
        ("SessionRule", {}, ["authenticate-oidc"]),
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
        ({}, {*BROWSER_RULES, "BearerRule"}),
        (SEVERAL_ISSUERS, {*BROWSER_RULES, "BearerRule"}),
        ({**SEVERAL_ISSUERS, "TrustedIssuers": ""}, BROWSER_RULES),
        (dict.fromkeys(BROWSERS, ""), {"BearerRule"}),
    ],
)
def test_stack_has_a_rule_for_each_credential(changes: dict[str, str], rules: set[str]) -> None:
    """TrustedIssuers switches the Bearer rule on, OidcIssuer the browser rule."""
    assert set(Deployment({**FULL, **changes}).resources(RULE)) == rules | ALWAYS


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


@pytest.mark.parametrize("rule", PATHS)
def test_rule_matches_only_bylines_paths(rule: str) -> None:
    """A rule matches no other path of a shared listener, and with HostName no other host."""
    conditions = properties(RULE, rule)["Conditions"]
    paths = {"Field": "path-pattern", "PathPatternConfig": {"Values": PATHS[rule]}}
    host = {"Field": "host-header", "HostHeaderConfig": {"Values": [{"Ref": "HostName"}]}}
    assert paths in conditions
    assert {"Fn::If": ["OneHostName", host, NO_VALUE]} in conditions


@pytest.mark.parametrize("rule", PATHS)
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


def test_rules_have_different_priorities() -> None:
    """A listener accepts each priority once."""
    names = [properties(RULE, rule)["Priority"]["Ref"] for rule in PATHS]
    assert len({template()["Parameters"][name]["Default"] for name in names}) == len(PATHS)


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


@pytest.mark.parametrize("rule", PATHS)
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
    alias, console = (
        {"Ref": "RunsFunctionAliaslive"},
        {"Fn::GetAtt": ["ServeConsoleFunction", "Arn"]},
    )
    assert body["Targets"] == [{"Id": console if group == "ConsoleTargetGroup" else alias}]
    assert {"Key": "lambda.multi_value_headers.enabled", "Value": "true"} in body[
        "TargetGroupAttributes"
    ]


def test_load_balancer_drops_invalid_header_fields() -> None:
    """An ambiguous header field does not reach the function."""
    [load_balancer] = resources("AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    attributes = load_balancer["Properties"]["LoadBalancerAttributes"]
    assert {"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": "true"} in attributes


def _oidc(rule: str = "BrowserRule") -> Json:
    config: Json = properties(RULE, rule)["Actions"][0]["AuthenticateOidcConfig"]
    return config
