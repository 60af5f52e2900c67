"""Parameters, the rules between them, and the defaults of samconfig.toml."""

import json
import re
import tomllib

import pytest

from tests.template.stack import ROOT, Json, evaluate, properties, template

ALB = "arn:aws:elasticloadbalancing:eu-central-1:123456789012"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:byline/alb-a1b2c3"

LISTENER = {
    "ListenerArn": f"{ALB}:listener/app/shared/50dc6c495c0c9188/0467ef3c8400ae65",
    "LoadBalancerArns": f"{ALB}:loadbalancer/app/shared/50dc6c495c0c9188",
    "HostName": "byline.example.com",
}
OWN = {
    "VpcId": "vpc-0a1b2c3d",
    "SubnetIds": "subnet-0a1b2c3d,subnet-4e5f6a7b",
    "CertificateArn": "arn:aws:acm:eu-central-1:123456789012:certificate/0f6b4bbe",
}
BROWSERS = {
    "OidcIssuer": "https://login.example.com",
    "OidcClientId": "byline",
    "OidcClientSecretArn": SECRET,
    "OidcAuthorizationEndpoint": "https://login.example.com/authorize",
    "OidcTokenEndpoint": "https://login.example.com/token",
    "OidcUserInfoEndpoint": "https://login.example.com/userinfo",
}
BEARERS = {
    "BearerIssuer": "https://login.example.com",
    "BearerJwksEndpoint": "https://login.example.com/keys",
    "TrustedIssuers": '[{"issuer": "https://login.example.com", "audiences": ["byline"]}]',
}
FULL = {**LISTENER, **BROWSERS, **BEARERS}


def test_parameter_is_described_and_grouped() -> None:
    """Each parameter has a description and a group in the console."""
    interface = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in interface for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template()["Parameters"])
    for body in template()["Parameters"].values():
        assert body["Description"]


def test_parameter_limits_its_values() -> None:
    """Text has a pattern, a choice or a length. A number has bounds or choices."""
    limits = {"AllowedPattern", "AllowedValues", "MaxLength", "MinValue"}
    loose = [name for name, body in template()["Parameters"].items() if not limits & body.keys()]
    assert loose == []


@pytest.mark.parametrize(
    "parameters",
    [
        FULL,
        {**OWN, **BROWSERS},
        {**OWN, **BEARERS},
        {**FULL, "BearerIssuer": "", "BearerJwksEndpoint": ""},
        {**FULL, "IdentityTrust": "forwarded"},
        {**FULL, **dict.fromkeys(BEARERS, ""), "IdentityTrust": "forwarded"},
        {**LISTENER, "LoadBalancerArns": "", **BEARERS},
        {**OWN, **BROWSERS, "Scheme": "internet-facing", "ClientCidr": "0.0.0.0/0"},
        {**FULL, "IdentityTrust": "ignore", "AnonymousCallers": "allow"},
    ],
)
def test_consistent_parameters_are_accepted(parameters: dict[str, str]) -> None:
    """Consistent parameters pass all rules, with either kind of load balancer."""
    assert _refusals(parameters) == []


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"ListenerArn": ""}, "Set either ListenerArn, or"),
        ({"HostName": ""}, "ListenerArn requires HostName"),
        ({"FunctionSubnetIds": "subnet-0a1b2c3d"}, "Set both FunctionSubnetIds and"),
        ({"FunctionSecurityGroupIds": "sg-0a1b2c3d"}, "Set both FunctionSubnetIds and"),
        ({"VpcId": "vpc-0a1b2c3d"}, "Set either ListenerArn, or"),
        ({"CertificateArn": OWN["CertificateArn"]}, "Set either ListenerArn, or"),
        ({"LoadBalancerArns": ""}, "requires LoadBalancerArns"),
        ({"OidcClientId": ""}, "requires OidcClientId"),
        ({"OidcClientSecretArn": ""}, "requires OidcClientSecretArn"),
        ({"OidcAuthorizationEndpoint": ""}, "requires OidcAuthorizationEndpoint"),
        ({"OidcTokenEndpoint": ""}, "requires OidcTokenEndpoint"),
        ({"OidcUserInfoEndpoint": ""}, "requires OidcUserInfoEndpoint"),
        ({"OidcIssuer": ""}, "without OidcIssuer"),
        ({"BearerJwksEndpoint": ""}, "requires BearerJwksEndpoint"),
        ({"TrustedIssuers": ""}, "requires TrustedIssuers"),
        ({"BearerIssuer": ""}, "without BearerIssuer"),
        (
            {"BearerIssuer": "", "BearerJwksEndpoint": "", "IdentityTrust": "forwarded"},
            "nothing verifies Bearer tokens",
        ),
        ({"IdentityTrust": "ignore"}, "Set AnonymousCallers=allow"),
    ],
)
def test_contradicting_parameters_are_refused(change: dict[str, str], refusal: str) -> None:
    """One wrong parameter makes CloudFormation refuse the deployment. The message names it."""
    assert [text for text in _refusals({**FULL, **change}) if refusal in text]


@pytest.mark.parametrize("private", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"])
def test_internet_facing_load_balancer_for_private_clients_is_refused(private: str) -> None:
    """A load balancer with public addresses sees no client of a private range, also by default."""
    own = {**OWN, **BROWSERS, "Scheme": "internet-facing"}
    for given in (own, {**own, "ClientCidr": private}):
        [refusal] = _refusals(given)
        assert "admits nobody" in refusal


@pytest.mark.parametrize("missing", ["CertificateArn", "SubnetIds"])
def test_new_load_balancer_without_certificate_or_subnets_is_refused(missing: str) -> None:
    """VpcId requires CertificateArn and SubnetIds."""
    assert _refusals({**OWN, **BROWSERS, missing: ""})


def test_stack_without_any_sign_in_is_refused() -> None:
    """Without OidcIssuer and TrustedIssuers the stack would have no listener rule."""
    [refusal] = _refusals({**LISTENER, "LoadBalancerArns": ""})
    assert "Both are empty" in refusal


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("OidcIssuer", "http://login.example.com"),
        ("BearerJwksEndpoint", "http://login.example.com/keys"),
        ("AlbPublicKeysUrl", "http://keys.example.com"),
        ("AlbPublicKeysUrl", "http://127.0.0.1:80@keys.example.com"),
        ("AlbPublicKeysUrl", "http://127.0.0.1.example.com:80"),
        ("OidcTokenEndpoint", "http://127x0x0x1:80/token"),
        ("LoadBalancerArns", "arn:aws:elasticloadbalancing:*:*:loadbalancer/app/*"),
        ("LoadBalancerArns", LISTENER["ListenerArn"]),
        ("ListenerArn", LISTENER["LoadBalancerArns"]),
        ("SubnetIds", "subnet-0a1b2c3d"),
        ("OidcScope", "profile email"),
        ("OidcClientSecretArn", "the-secret-itself"),
        ("TrustedIssuers", "https://login.example.com"),
    ],
)
def test_malformed_value_is_refused(parameter: str, value: str) -> None:
    """The patterns refuse plain http, wildcards and values of the wrong kind."""
    pattern = template()["Parameters"][parameter]["AllowedPattern"]
    assert not re.fullmatch(pattern, value)


def test_loopback_needs_no_https() -> None:
    """Addresses of this machine are accepted with http, as by the functions."""
    found = template()["Parameters"].items()
    addresses = [name for name, body in found if "https://" in body.get("AllowedPattern", "")]
    assert len(addresses) == 11
    for name in addresses:
        pattern = template()["Parameters"][name]["AllowedPattern"]
        path = "" if name == "PublicUrl" else "/keys"  # an origin: no path
        assert re.fullmatch(pattern, f"http://127.0.0.1:8081{path}"), name
        assert name != "PublicUrl" or not re.fullmatch(pattern, "https://byline.example.com/x")


def test_samconfig_names_no_account() -> None:
    """samconfig.toml names no account, bucket, profile, role or parameter value."""
    text = (ROOT / "samconfig.toml").read_text()
    assert not re.search(r"\d{12}", text)
    config = tomllib.loads(text)["default"]
    named = {name for section in config.values() for name in section["parameters"]}
    assert not named & {"profile", "s3_bucket", "role_arn", "parameter_overrides"}


def test_sam_deploy_may_create_roles_and_the_nested_application() -> None:
    """samconfig.toml acknowledges both capabilities. CloudFormation requires them to deploy."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    capabilities = config["deploy"]["parameters"]["capabilities"].split()
    assert set(capabilities) == {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}


def test_sample_environment_is_passed_on() -> None:
    """The template names each variable of events/env.json. `sam local invoke` drops others."""
    file = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]["local_invoke"]
    environment: Json = json.loads((ROOT / file["parameters"]["env_vars"]).read_text())
    for function, values in environment.items():
        named = properties("AWS::Lambda::Function", function)["Environment"]["Variables"]
        assert values.keys() <= named.keys()


def _refusals(given: dict[str, str]) -> list[str]:
    """The messages of the rules that `given` breaks. Each value matches its own pattern."""
    parameters = {name: body["Default"] for name, body in template()["Parameters"].items()}
    for name, value in given.items():
        pattern = template()["Parameters"][name].get("AllowedPattern", ".*")
        assert re.fullmatch(pattern, value), f"{name} does not take {value}"
    parameters.update(given)
    return [
        assertion["AssertDescription"]
        for rule in template()["Rules"].values()
        if evaluate(rule.get("RuleCondition", ""), parameters) is not False
        for assertion in rule["Assertions"]
        if not evaluate(assertion["Assert"], parameters)
    ]
