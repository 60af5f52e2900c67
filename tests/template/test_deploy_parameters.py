"""The parameter files of `make deploy`: examples that work, and clear errors for the others."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from byline.identity.settings import IdentitySettings
from serve_runs.access.admins import default_issuers, read_admins
from tests.identity.alb_tokens import BEARER_GROUP, BROWSER_GROUP
from tests.template.stack import ROOT, evaluate, template
from tools.deploy.outputs import LoadBalancerAddress, left_to_do
from tools.deploy.parameters import (
    UnusableParameters,
    discovery_document,
    load_balancer_of,
    read_parameters,
)

EXAMPLES = sorted((ROOT / "params/examples").glob("*.yaml"))
LISTENER = (
    "arn:aws:elasticloadbalancing:eu-west-1:111122223333:listener/app/lb"
    "/0123456789abcdef/fedcba9876543210"
)
MOST_LINES = 12


def published(issuer: str) -> Mapping[str, Any]:
    """A provider's discovery document."""
    names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    return {"issuer": issuer, **{name: f"https://provider.example/{name}" for name in names}}


@pytest.fixture(params=EXAMPLES, ids=[path.stem for path in EXAMPLES])
def example(request: pytest.FixtureRequest) -> dict[str, str]:
    """The parameters of an example."""
    path: Path = request.param
    return read_parameters(path, discover=published)


def written(folder: Path, **values: Any) -> Path:
    """A parameter file with these values, on a listener."""
    path = folder / "dev.yaml"
    path.write_text(yaml.safe_dump({"ListenerArn": LISTENER, **values}))
    return path


def test_example_passes_the_rules_of_the_template(example: dict[str, str]) -> None:
    """CloudFormation accepts each example."""
    for name, rule in template()["Rules"].items():
        if "RuleCondition" in rule and not evaluate(rule["RuleCondition"], example):
            continue
        for assertion in rule["Assertions"]:
            assert evaluate(assertion["Assert"], example), (name, assertion["AssertDescription"])


def test_function_starts_with_the_values_of_an_example(example: dict[str, str]) -> None:
    """The function reads the issuers and the admins of each example."""
    settings = IdentitySettings.from_environment(
        {
            "LOAD_BALANCER_ARNS": example["LoadBalancerArns"],
            "OIDC_ISSUER": example["OidcIssuer"],
            "OIDC_CLIENT_ID": example["OidcClientId"],
            "TRUSTED_ISSUERS": example["TrustedIssuers"],
            "BROWSER_TARGET_GROUP": BROWSER_GROUP,
            "BEARER_TARGET_GROUP": BEARER_GROUP,
        }
    )
    assert read_admins(example["ProjectAdmins"], issuers=default_issuers(settings)) or (
        example["ProjectCreation"] == "anyone"
    )


def test_every_identity_provider_has_an_example() -> None:
    """There is an example for each provider that README names, and one for a stage."""
    [named] = re.findall(r"identity provider \((.+?)\)", (ROOT / "README.md").read_text())
    assert [path.stem for path in EXAMPLES] == sorted([*re.findall(r"`(\w+)`", named), "stage"])


def test_operator_writes_few_values(example: dict[str, str]) -> None:
    """README lists at most twelve things that an operator writes, and each is a parameter."""
    del example
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## Deploy") : text.index("## Use")]
    lines = re.findall(r"^\d+\. .*", section, re.M)
    assert 0 < len(lines) <= MOST_LINES
    named = {name for line in lines for name in re.findall(r"`([A-Z]\w+)`", line)}
    assert named <= template()["Parameters"].keys()
    for path in EXAMPLES:
        if path.stem != "stage":
            assert yaml.safe_load(path.read_text()).keys() <= named, path.stem


def test_file_of_an_account_is_not_tracked() -> None:
    """Git ignores every parameter file but the examples."""
    check = ["git", "check-ignore", "--quiet"]
    assert subprocess.run([*check, "params/dev.yaml"], cwd=ROOT, check=False).returncode == 0
    for path in EXAMPLES:
        assert subprocess.run([*check, path], cwd=ROOT, check=False).returncode == 1


def test_values_that_follow_are_derived(tmp_path: Path) -> None:
    """The load balancer follows from its listener, the endpoints from the provider."""
    path = written(
        tmp_path, OidcIssuer="https://login.example", BearerIssuer="https://login.example"
    )
    values = read_parameters(path, discover=published)
    assert values["LoadBalancerArns"] == load_balancer_of(LISTENER)
    assert values["LoadBalancerArns"].endswith(":loadbalancer/app/lb/0123456789abcdef")
    assert values["OidcTokenEndpoint"] == "https://provider.example/token_endpoint"
    assert values["BearerJwksEndpoint"] == "https://provider.example/jwks_uri"


def test_given_value_is_not_replaced(tmp_path: Path) -> None:
    """What the file says counts, and a provider whose values are all given is not asked."""

    def unreachable(issuer: str) -> Mapping[str, Any]:
        raise AssertionError(issuer)

    path = written(
        tmp_path, BearerIssuer="https://login.example", BearerJwksEndpoint="https://keys.example"
    )
    assert (
        read_parameters(path, discover=unreachable)["BearerJwksEndpoint"] == "https://keys.example"
    )


def test_parameter_that_is_left_out_has_its_default(tmp_path: Path) -> None:
    """A value that was deployed once and is no longer in the file does not stay."""
    values = read_parameters(written(tmp_path), discover=published)
    assert values.keys() == template()["Parameters"].keys()
    assert values["IdentityTrust"] == "verify"
    assert values["ProjectAdmins"] == ""


@pytest.mark.parametrize("word", ["on", "off"])
def test_switch_may_be_written_without_quotes(tmp_path: Path, word: str) -> None:
    """YAML reads `on` and `off` as booleans; the parameters Tracer and Alarms take the words."""
    path = tmp_path / "dev.yaml"
    path.write_text(f"ListenerArn: {LISTENER}\nTracer: {word}\nDeletionProtection: {word}\n")
    values = read_parameters(path, discover=published)
    assert values["Tracer"] == word
    assert values["DeletionProtection"] == {"on": "true", "off": "false"}[word]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ProjectAdmin": "ada"}, "ProjectAdmin is no parameter"),
        ({"IdentityTrust": "none"}, "IdentityTrust is 'none'. Values: verify, forwarded, ignore."),
        ({"SessionSeconds": 60}, "SessionSeconds is 60, and must be between 300 and 604800"),
        ({"SessionSeconds": "a day"}, "SessionSeconds is 'a day', and must be a number"),
        (
            {"OidcIssuer": "http://login.example"},
            "OidcIssuer is 'http://login.example', and must match",
        ),
        ({"ListenerArn": "arn:aws:x"}, "ListenerArn is 'arn:aws:x', and must match"),
        ({"ProjectAdmins": {"ada": 1}}, "ProjectAdmins is neither a text, a number nor a list"),
        ({"ProjectAdmins": "a" * 3_000}, "ProjectAdmins has 3000 characters, and may have 2048"),
    ],
)
def test_impossible_value_is_named(tmp_path: Path, values: dict[str, Any], says: str) -> None:
    """A wrong name or value is refused before anything is sent to AWS."""
    with pytest.raises(UnusableParameters, match=re.escape(says)):
        read_parameters(written(tmp_path, **values), discover=published)


@pytest.mark.parametrize("text", ["", "- a list", "a: [", "text"])
def test_file_without_parameters_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is no YAML mapping is named."""
    path = tmp_path / "dev.yaml"
    path.write_text(text)
    with pytest.raises(UnusableParameters, match=r"dev\.yaml"):
        read_parameters(path, discover=published)


def test_provider_that_lacks_an_endpoint_is_named(tmp_path: Path) -> None:
    """A discovery document without a userinfo endpoint is an error that names the parameter."""
    path = written(tmp_path, OidcIssuer="https://login.example")
    with pytest.raises(UnusableParameters, match="has no `"):
        read_parameters(path, discover=lambda issuer: {"issuer": issuer})


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            httpx.Response(200, json={"issuer": "https://login.example/"}),
            "names the issuer 'https://login.example/'",
        ),
        (httpx.Response(404), "HTTPStatusError"),
        (httpx.Response(200, text="<html>"), "JSONDecodeError"),
        (httpx.Response(302, headers={"location": "https://evil.example"}), "HTTPStatusError"),
    ],
)
def test_unusable_discovery_document_is_named(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, says: str
) -> None:
    """A document of another issuer, a redirect, or no document is an error."""
    transport = httpx.MockTransport(lambda _: answer)
    client = httpx.Client(transport=transport)
    monkeypatch.setattr("tools.deploy.parameters.httpx.get", client.get)
    with pytest.raises(UnusableParameters, match=re.escape(says)):
        discovery_document("https://login.example")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ("", "Name an environment"),
        ("../dev", "Name an environment"),
        ("nobody-s", "params/nobody-s.yaml is missing"),
    ],
)
def test_environment_without_a_file_is_named(environment: str, says: str) -> None:
    """`make deploy` without a file says which examples there are."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.deploy", environment],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert says in done.stderr


def test_rest_of_the_work_is_printed(example: dict[str, str]) -> None:
    """The redirect URI and the alias record name the host and the load balancer."""
    address = LoadBalancerAddress("lb-1.eu-central-1.elb.amazonaws.com", "Z215JYRZR1TBD5")
    lines = dict(left_to_do(example, address))
    assert lines["  redirect URI"] == f"https://{example['HostName']}/oauth2/idpresponse"
    assert lines["DNS: alias record for"] == example["HostName"]
    assert lines["  alias target"] == address.name
    assert lines["  hosted zone id of the target"] == address.zone
