"""Settings that contradict each other fail the cold start, and the error names the variable."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from byline.errors import Misconfigured
from byline.fetch import is_loopback
from byline.identity.settings import IdentitySettings
from byline.identity.trusted_issuers import MAX_ISSUER_BYTES
from byline.settings import required
from byline.urls import require_https
from tests.identity.alb_tokens import (
    BEARER_GROUP,
    BROWSER_GROUP,
    CLIENT,
    ENVIRONMENT,
    ISSUER,
    KEYS_URL,
    SIGNER,
)

TRUSTED = {"issuer": "https://issuer.example.com", "audiences": ["byline"], "profile": "generic"}
VALID: Mapping[str, str] = {**ENVIRONMENT, "TRUSTED_ISSUERS": json.dumps([TRUSTED])}


def read(**changes: str) -> IdentitySettings:
    return IdentitySettings.from_environment({**VALID, **changes})


def trusted(**changes: Any) -> str:
    return json.dumps([{**TRUSTED, **changes}])


def assert_misconfigured(variable: str, **changes: str) -> str:
    """The message; the variable to mend stands in it."""
    with pytest.raises(Misconfigured) as error:
        read(**changes)
    assert error.value.variable == variable
    assert str(error.value).startswith(f"{variable}: ")
    return error.value.detail


def test_valid_environment_is_read() -> None:
    """Every variable of the interface, as an operator sets it."""
    settings = read(IDENTITY_TRUST="verify", ANONYMOUS_CALLERS="allow")
    assert [(signer.signer, signer.keys_url) for signer in settings.signers] == [(SIGNER, KEYS_URL)]
    assert (settings.oidc_issuer, settings.oidc_client_id) == (ISSUER, CLIENT)
    assert settings.bearer_target_group == BEARER_GROUP
    assert (settings.trust, settings.anonymous) == ("verify", "allow")
    (issuer,) = settings.trusted_issuers
    assert issuer.algorithms == ("RS256",)
    assert (issuer.jwks_uri, issuer.userinfo, issuer.service_accounts) == (None, False, {})


def test_empty_environment_trusts_no_issuer_and_no_load_balancer() -> None:
    """The default settings verify tokens and trust no issuer."""
    settings = IdentitySettings.from_environment({})
    assert settings == IdentitySettings()
    assert (settings.trust, settings.anonymous) == ("verify", "refuse")
    assert not settings.signers
    assert not settings.trusted_issuers


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_variable_of_nothing_but_space_is_not_set(empty: str) -> None:
    """CloudFormation passes an unset parameter as empty text."""
    assert IdentitySettings.from_environment(dict.fromkeys(VALID, empty)) == IdentitySettings()


@pytest.mark.parametrize(
    ("partition", "region", "url"),
    [
        ("aws", "eu-west-1", "https://public-keys.auth.elb.eu-west-1.amazonaws.com"),
        (
            "aws-us-gov",
            "us-gov-west-1",
            "https://s3-us-gov-west-1.amazonaws.com/aws-elb-public-keys-prod-us-gov-west-1",
        ),
        (
            "aws-us-gov",
            "us-gov-east-1",
            "https://s3-us-gov-east-1.amazonaws.com/aws-elb-public-keys-prod-us-gov-east-1",
        ),
        ("aws-cn", "cn-north-1", "https://public-keys.auth.elb.cn-north-1.amazonaws.com.cn"),
        (
            "aws-cn",
            "cn-northwest-1",
            "https://public-keys.auth.elb.cn-northwest-1.amazonaws.com.cn",
        ),
    ],
)
def test_known_partition_has_its_keys_address(partition: str, region: str, url: str) -> None:
    """Where keys are published follows from the configured ARN."""
    settings = read(LOAD_BALANCER_ARNS=arn(partition, region))
    assert settings.signers[0].keys_url == url


def test_unknown_partition_needs_an_address_of_its_own() -> None:
    """No guess is made where a partition publishes its keys."""
    unknown = arn("aws-eusc", "eusc-de-east-1")
    assert "aws-eusc" in assert_misconfigured("ALB_PUBLIC_KEYS_URL", LOAD_BALANCER_ARNS=unknown)
    settings = read(LOAD_BALANCER_ARNS=unknown, ALB_PUBLIC_KEYS_URL="https://keys.example.com/x/")
    assert settings.signers[0].keys_url == "https://keys.example.com/x"


def arn(partition: str, region: str) -> str:
    return SIGNER.replace("arn:aws:", f"arn:{partition}:").replace("us-east-1", region)


def test_several_load_balancers_are_read() -> None:
    """Space and empty places between commas are harmless."""
    other = arn("aws", "eu-west-1")
    settings = read(LOAD_BALANCER_ARNS=f" {SIGNER} ,, {other} ,")
    assert [signer.signer for signer in settings.signers] == [SIGNER, other]


@pytest.mark.parametrize(
    "spoiled",
    [
        "*",
        "arn:aws:elasticloadbalancing:*",
        SIGNER + "x",
        SIGNER.replace("app/", "net/"),
        SIGNER.replace("123456789012", "12345678901"),
        SIGNER.replace("us-east-1", ""),
        SIGNER.replace("us-east-1", "evil.example.com/"),
        SIGNER.replace("arn:aws:", "arn:evil:"),
        SIGNER.replace("loadbalancer", "targetgroup"),
        f"{SIGNER} {SIGNER}",
        f"{SIGNER},another",
    ],
)
def test_load_balancer_arn_that_is_none_is_named(spoiled: str) -> None:
    """A signer is one exact ARN: no wildcard, no other service, no other type."""
    assert_misconfigured("LOAD_BALANCER_ARNS", LOAD_BALANCER_ARNS=spoiled)


@pytest.mark.parametrize(
    ("variable", "changes"),
    [
        ("LOAD_BALANCER_ARNS", {"LOAD_BALANCER_ARNS": ""}),
        ("OIDC_ISSUER", {"OIDC_ISSUER": ""}),
        ("OIDC_CLIENT_ID", {"OIDC_CLIENT_ID": ""}),
        ("BROWSER_TARGET_GROUP", {"BROWSER_TARGET_GROUP": ""}),
        ("BEARER_TARGET_GROUP", {"BEARER_TARGET_GROUP": ""}),
        ("BEARER_TARGET_GROUP", {"BEARER_TARGET_GROUP": BROWSER_GROUP}),
        ("BEARER_TARGET_GROUP", {"BEARER_TARGET_GROUP": "byline-bearer"}),
        ("BROWSER_TARGET_GROUP", {"BROWSER_TARGET_GROUP": f"{BROWSER_GROUP}/1234567890abcdef"}),
        ("ANONYMOUS_CALLERS", {"IDENTITY_TRUST": "ignore"}),
        ("ANONYMOUS_CALLERS", {"IDENTITY_TRUST": "ignore", "ANONYMOUS_CALLERS": "refuse"}),
        ("ANONYMOUS_CALLERS", {"ANONYMOUS_CALLERS": "Allow"}),
        ("ANONYMOUS_CALLERS", {"ANONYMOUS_CALLERS": "true"}),
        ("IDENTITY_TRUST", {"IDENTITY_TRUST": "Verify"}),
        ("IDENTITY_TRUST", {"IDENTITY_TRUST": "none"}),
        ("ALB_PUBLIC_KEYS_URL", {"ALB_PUBLIC_KEYS_URL": "http://keys.example.com"}),
        ("ALB_PUBLIC_KEYS_URL", {"ALB_PUBLIC_KEYS_URL": "keys.example.com"}),
        ("ALB_PUBLIC_KEYS_URL", {"ALB_PUBLIC_KEYS_URL": "https://keys.example.com?x=1"}),
        ("ALB_PUBLIC_KEYS_URL", {"ALB_PUBLIC_KEYS_URL": "https://keys.example.com#x"}),
    ],
)
def test_contradiction_names_its_variable(variable: str, changes: dict[str, str]) -> None:
    """Settings that cannot be meant fail the cold start, not a request."""
    assert_misconfigured(variable, **changes)


def test_browsers_alone_and_bearer_tokens_alone_are_legal() -> None:
    """A team may want one way in only."""
    browsers = {name: VALID[name] for name in VALID if name not in BEARER_ONLY}
    bearer = {name: VALID[name] for name in BEARER_ONLY}
    assert not IdentitySettings.from_environment(browsers).trusted_issuers
    assert not IdentitySettings.from_environment(bearer).signers


BEARER_ONLY = ("TRUSTED_ISSUERS", "BEARER_TARGET_GROUP")


@pytest.mark.parametrize(
    "spoiled",
    [
        "{",
        "null",
        "{}",
        '"https://issuer.example.com"',
        "[[]]",
        "[{}]",
        "[" * 100_000,
        trusted() + "x",
        trusted(issuer=""),
        trusted(issuer="http://issuer.example.com"),
        trusted(issuer="accounts.example.com"),
        trusted(issuer="https://"),
        trusted(issuer="https://user:pass@issuer.example.com"),
        trusted(audiences=[]),
        trusted(audiences=[""]),
        trusted(audiences="byline"),
        trusted(profile="azure"),
        trusted(algorithms=[]),
        trusted(algorithms=["HS256"]),
        trusted(algorithms=["none"]),
        trusted(jwks_uri="http://issuer.example.com/keys"),
        trusted(jwks_uri="file:///etc/passwd"),
        trusted(userinfo="yes"),
        trusted(service_accounts=["svc"]),
        trusted(service_accounts={"": "svc"}),
        trusted(service_accounts={"svc": ""}),
        trusted(service_accounts={"s\u200bvc": "svc"}),
        trusted(service_accounts={"svc ": "svc"}),
        trusted(issuer="https://issuer\u2060.example.com"),
        trusted(audience="byline"),
        trusted(verify=False),
        json.dumps([TRUSTED, TRUSTED]),
        trusted().replace('"audiences"', '"audiences": ["other"], "audiences"'),
    ],
    ids=lambda text: text[:60],
)
def test_trusted_issuer_that_is_none_is_named(spoiled: str) -> None:
    """Bad JSON, unknown fields, symmetric algorithms, an issuer twice: nothing is guessed."""
    assert_misconfigured("TRUSTED_ISSUERS", TRUSTED_ISSUERS=spoiled)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"person_when": {}}, "has `person_when`, which has an empty object"),
        ({"person_when": {"sub": 5}}, "has `person_when`, which at `sub` needs a text"),
        ({"application_when": "sub"}, "has `application_when`, which must be an object"),
        ({"application_when": [{"sub": "{azp"}]}, "has `application_when`, which at `sub` has a"),
        ({"subject": " > oid"}, "has `subject`, which must name a claim: ' > oid'"),
        ({"name": "{given_name"}, "has `name`, which has a `{` or `}`"),
        (
            {"allow": {"sub": ["*", "!ev\u200be"]}},
            "has `allow`, which at `sub` has U+200B (ZERO WIDTH SPACE)",
        ),
        (
            {"service_accounts": {"\u202esvc": "svc"}},
            "has '\\u202esvc' in `service_accounts`, which has U+202E",
        ),
    ],
)
def test_illegal_claim_rule_is_explained(changes: dict[str, Any], fault: str) -> None:
    """The message names the issuer, the member and what is wrong with it."""
    detail = assert_misconfigured("TRUSTED_ISSUERS", TRUSTED_ISSUERS=trusted(**changes))
    assert detail.startswith(f"'https://issuer.example.com' {fault}")
    assert detail.endswith("See docs/issuers.md.")


@pytest.mark.parametrize("rule", ["application_when", "person_when"])
def test_claim_rule_without_alternatives_is_legal(rule: str) -> None:
    """An empty list proves nothing, so it is not a way to let anybody in."""
    [issuer] = read(TRUSTED_ISSUERS=trusted(**{rule: []})).trusted_issuers
    assert issuer.rules == {rule: ()}


@pytest.mark.parametrize(
    "name", ["http://sts.acme.example/adfs/services/trust", "spiffe://acme.example", "acme.example"]
)
def test_issuer_that_is_no_address_needs_the_address_of_its_keys(name: str) -> None:
    """Keys are found from an https address alone, or at `jwks_uri`."""
    keys = "https://sts.acme.example/keys"
    [issuer] = read(TRUSTED_ISSUERS=trusted(issuer=name, jwks_uri=keys)).trusted_issuers
    assert issuer.issuer == name
    assert_misconfigured("TRUSTED_ISSUERS", TRUSTED_ISSUERS=trusted(issuer=name))
    with_userinfo = trusted(issuer=name, jwks_uri=keys, userinfo=True)
    assert_misconfigured("TRUSTED_ISSUERS", TRUSTED_ISSUERS=with_userinfo)


@pytest.mark.parametrize("name", ["acme#1", "acme example", "acme\u202e"])
def test_issuer_that_could_end_within_a_principal_is_refused(name: str) -> None:
    """The first `#` of a principal ends its issuer, so no issuer may contain one."""
    keys = "https://sts.acme.example/keys"
    assert_misconfigured("TRUSTED_ISSUERS", TRUSTED_ISSUERS=trusted(issuer=name, jwks_uri=keys))


def test_issuer_of_the_longest_length_is_trusted_and_a_longer_one_is_not() -> None:
    """An issuer is part of table keys, whose length is limited, so the cold start fails."""
    issuer = "https://issuer.example.com/"
    longest = issuer + "x" * (MAX_ISSUER_BYTES - len(issuer))
    assert read(OIDC_ISSUER=longest).oidc_issuer == longest
    assert read(TRUSTED_ISSUERS=trusted(issuer=longest)).trusted_issuers[0].issuer == longest
    assert_misconfigured("OIDC_ISSUER", OIDC_ISSUER=longest + "x")
    assert_misconfigured("TRUSTED_ISSUERS", TRUSTED_ISSUERS=trusted(issuer=longest + "x"))


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example.com",
        "https://issuer.example.com:8443/realms/main",
        "http://localhost:8081",
        "http://127.0.0.1:8081/x",
        "http://127.1.2.3",
        "http://[::1]:8081",
    ],
)
def test_https_and_plain_http_on_loopback_are_accepted(url: str) -> None:
    """`http://` is for this machine alone."""
    require_https("OIDC", url)


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@issuer.example.com",
        "http://0.0.0.0:8081",
        "http://10.0.0.1",
        "http://169.254.169.254",
        "http://[::ffff:10.0.0.1]",
        "http://2130706433.example.com",
        "https://",
        "https:///path",
        "https://user@issuer.example.com",
        "https://issuer.example.com:port",
        "https://[::1",
        "HTTP://issuer.example.com",
        "ftp://127.0.0.1",
        "javascript:alert(1)",
        "//issuer.example.com",
        "",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    """Nothing but https crosses a network, and no password stands in an address."""
    with pytest.raises(Misconfigured) as error:
        require_https("OIDC", url)
    assert error.value.variable == "OIDC"


@pytest.mark.parametrize("port", ["", ":port"])
def test_message_does_not_quote_a_password(port: str) -> None:
    """A URL with a password is refused without a quote, and so is one that is malformed too."""
    detail = assert_misconfigured(
        "ALB_PUBLIC_KEYS_URL", ALB_PUBLIC_KEYS_URL=f"https://user:SECRET@keys.example.com{port}"
    )
    assert "SECRET" not in detail


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.255.254", "::1"])
def test_this_machine_is_loopback(host: str) -> None:
    """RFC 6761, section 6.3, and the two loopback networks."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "localhost.", "127.0.0.1.nip.io", "0.0.0.0", "128.0.0.1"])
def test_other_host_is_not_loopback(host: str) -> None:
    """A name that looks like this machine is not it."""
    assert not is_loopback(host)


def test_variable_that_must_be_there_is_read_or_named() -> None:
    """A function without its table does not start."""
    assert required({"RUNS_TABLE": "runs"}, "RUNS_TABLE") == "runs"
    for environment in ({}, {"RUNS_TABLE": ""}):
        with pytest.raises(Misconfigured) as error:
            required(environment, "RUNS_TABLE")
        assert error.value.variable == "RUNS_TABLE"
