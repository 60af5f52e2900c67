"""The metadata that tell a client where to sign in (RFC 9728), and the challenge with their URL."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from byline.errors import Misconfigured
from tests.runs.identity_server import NO_CREDENTIAL, Web
from tests.runs.runs_api import RunsApi, request

PATH = "/.well-known/oauth-protected-resource"
ORIGIN = "https://byline.example.com"
CLI = {"client_id": "byline-cli"}
GITHUB = {
    "issuer": "https://token.actions.githubusercontent.com",
    "audiences": ["byline-ci", "other"],
    "profile": "github",
    "allow": {"repository": "acme/*"},
}
CLUSTER = {
    "issuer": "https://oidc.eks.example/id/SECRETNAME",
    "audiences": ["byline"],
    "profile": "kubernetes",
}


def people(web: Web, **members: Any) -> dict[str, Any]:
    """The entry of an issuer of people's tokens."""
    return {"issuer": web.url, "audiences": ["byline"], "profile": "generic", **members}


def start(
    start_api: Callable[..., RunsApi], *issuers: dict[str, Any], url: str = ORIGIN
) -> RunsApi:
    """The function with a public address and these issuers."""
    trusted = json.dumps(issuers)
    return start_api(PUBLIC_URL=url, TRUSTED_ISSUERS=trusted, PROJECT_ADMINS="")


def test_metadata_names_resource_issuer_and_client(
    start_api: Callable[..., RunsApi], web: Web
) -> None:
    """`byline login URL` needs nothing but this document."""
    answer = start(start_api, people(web, cli=CLI)).call("GET", PATH, by=NO_CREDENTIAL)
    assert answer.status == 200
    assert answer.json == {
        "resource": ORIGIN,
        "authorization_servers": [web.url],
        "bearer_methods_supported": ["header"],
        "resource_name": "Byline",
        "byline_issuers": [
            {
                "issuer": web.url,
                "profile": "generic",
                "audience": "byline",
                "cli_client_id": "byline-cli",
                "cli_scope": "openid profile email offline_access",
            }
        ],
    }


def test_jobs_find_their_audience_and_no_cluster_is_named(
    start_api: Callable[..., RunsApi], web: Web
) -> None:
    """A GitHub job learns the audience to ask for. The names of clusters stay inside."""
    answer = start(start_api, people(web), GITHUB, CLUSTER).call("GET", PATH, by=NO_CREDENTIAL)
    assert answer.json["authorization_servers"] == [web.url]
    assert answer.json["byline_issuers"][1:] == [
        {"issuer": GITHUB["issuer"], "profile": "github", "audience": "byline-ci"}
    ]
    assert "SECRETNAME" not in answer.body


@pytest.mark.parametrize(
    "rules",
    [
        {"application_when": {"sub": "*"}},
        {"application_when": [{"sub": "{client_id}"}, {"iss": "*"}]},
        {"application_when": {"iss": "*", "aud": "*"}},
        {"person_when": []},
        {"subject": "workload_id", "application_when": {"workload_id": "*"}},
    ],
)
def test_issuer_whose_rules_admit_no_person_is_not_named(
    start_api: Callable[..., RunsApi], web: Web, rules: dict[str, Any]
) -> None:
    """Its tokens are all those of workloads, whatever its profile: its name stays inside."""
    inside = {"issuer": "https://ci.example/SECRETNAME", "audiences": ["byline"]}
    api = start(start_api, people(web), {**inside, "profile": "generic", **rules})
    answer = api.call("GET", PATH, by=NO_CREDENTIAL)
    assert answer.json["authorization_servers"] == [web.url]
    assert [each["issuer"] for each in answer.json["byline_issuers"]] == [web.url]


@pytest.mark.parametrize(
    "rules",
    [
        {"application_when": {"sub": "svc-*"}},
        {"application_when": {"azp": "*"}},
        {"subject": ["uid", "sub"], "application_when": {"uid": "*"}},
        {
            "profile": "workload",
            "allow": {"sub": "*"},
            "application_when": [],
            "person_when": {"sub": "*"},
        },
    ],
)
def test_issuer_whose_rules_admit_people_is_named(
    start_api: Callable[..., RunsApi], web: Web, rules: dict[str, Any]
) -> None:
    """Some of its tokens are people's, who sign in there."""
    api = start(start_api, people(web, **rules))
    answer = api.call("GET", PATH, by=NO_CREDENTIAL)
    assert answer.json["authorization_servers"] == [web.url]


def test_no_header_of_the_request_changes_the_metadata(
    start_api: Callable[..., RunsApi], web: Web
) -> None:
    """An attacker who controls `Host` cannot lead a client to another issuer or resource."""
    api = start(start_api, people(web, cli=CLI))
    event = request("GET", PATH, by=NO_CREDENTIAL)
    usual = api.send(event).body
    for name in ("host", "x-forwarded-host", "x-forwarded-proto", "forwarded"):
        event["multiValueHeaders"][name] = ["evil.example"]
    assert api.send(event).body == usual


def test_credential_is_not_read_by_the_metadata(
    start_api: Callable[..., RunsApi], web: Web
) -> None:
    """A client with an expired token can find out where to get another one."""
    expired = web.bearer("ada", exp=1)
    assert start(start_api, people(web)).call("GET", PATH, by=expired).status == 200


def test_every_401_points_to_the_metadata(start_api: Callable[..., RunsApi], web: Web) -> None:
    """A client that calls a route first finds the metadata (RFC 9728, section 5.1)."""
    api = start(start_api, people(web), url=f"{ORIGIN}/")
    where = f', resource_metadata="{ORIGIN}{PATH}"'
    missing = api.call("GET", "/v1/whoami", by=NO_CREDENTIAL)
    assert missing.headers["www-authenticate"] == f'Bearer realm="byline"{where}'
    expired = api.call("GET", "/v1/whoami", by=web.bearer("ada", exp=1))
    assert expired.headers["www-authenticate"] == (
        f'Bearer realm="byline"{where}, error="invalid_token"'
    )


def test_without_public_url_nothing_is_published(
    start_api: Callable[..., RunsApi], web: Web
) -> None:
    """A client compares `resource` with the address that it called, so it is never guessed."""
    api = start(start_api, people(web, cli=CLI), url="")
    assert api.call("GET", PATH, by=NO_CREDENTIAL).reason == "not_found"
    missing = api.call("GET", "/v1/whoami", by=NO_CREDENTIAL)
    assert missing.headers["www-authenticate"] == 'Bearer realm="byline"'


@pytest.mark.parametrize(
    "url",
    [
        "http://byline.example.com",
        "byline.example.com",
        "https://byline.example.com/api",
        "https://byline.example.com?x=1",
        "https://ada@byline.example.com",
        'https://byline.example.com", error="',
        "https://byline.example.com\r\nx: y",
    ],
)
def test_public_url_that_is_no_origin_fails_the_cold_start(
    start_api: Callable[..., RunsApi], web: Web, url: str
) -> None:
    """A header quotes the value, so it is an https origin and nothing else."""
    with pytest.raises(Misconfigured, match="PUBLIC_URL"):
        start(start_api, people(web), url=url)


@pytest.mark.parametrize(
    "cli", [{}, {"client_id": ""}, {"client_id": "a", "secret": "b"}, "byline-cli"]
)
def test_client_without_an_id_fails_the_cold_start(
    start_api: Callable[..., RunsApi], web: Web, cli: Any
) -> None:
    """A public client has an id and no secret."""
    with pytest.raises(Misconfigured, match="TRUSTED_ISSUERS"):
        start(start_api, people(web, cli=cli))
