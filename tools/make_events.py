"""Makes `events/`: a load balancer's event for each case, and the events of the other functions.

    python -m tools.make_events

With `make up` running, `sam local invoke RunsFunction -e events/browser.json` answers what the
name of the case says; `tick` is PlanRefreshFunction's and `refresh-unit` RefreshTokensFunction's.
The `register-…` are RegisterResourcesFunction's, with an authorization service on port 8084.
The output is the same bytes every time; a test holds it to that.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools import refresh_events, register_events, sample_tokens

EVENTS = Path(__file__).parents[1] / "events"

PROJECT = "apollo"

SAMPLE_RUN_IDS: Mapping[str, str] = {
    # A ULID of 2026-11-02T08:00:00Z, when the sample tokens were issued.
    event: f"01M6DMBE00{number:016}"
    for number, event in enumerate(
        ("get-run", "start-run", "finish-run", "fail-run", "cancel-run", "delete-run"), start=1
    )
}
"""The id of each event's run. `tools.sample_runs` creates the runs."""

SAMPLE_RUNNERS = ("forecaster", "retired")
"""The runners of the events. `tools.sample_runners` registers them."""
SAMPLE_RUNNERS_CLIENT = "nightly-train"
"""The OAuth client of these runners, which is their service account too."""
SAMPLE_SHARD = "15"
"""The shard of runners of that client and project."""

_TARGET_GROUPS = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup"
_BROWSER = f"{_TARGET_GROUPS}/byline-browser/1234567890abcdef"
_BEARER = f"{_TARGET_GROUPS}/byline-bearer/1234567890abcdef"

_RUNS = f"/v1/projects/{PROJECT}/runs"
_RUNNERS = f"/v1/projects/{PROJECT}/runners"
_ACCESS_TOKEN = "opaque-and-often-expired"
_FORWARDED: Sequence[tuple[str, str]] = (
    ("host", "byline.example.com"),
    ("x-amzn-trace-id", "Root=1-69073c00-0123456789abcdef01234567"),
    ("x-forwarded-for", "192.0.2.10"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-proto", "https"),
)

type Headers = Sequence[tuple[str, str]]
type Event = dict[str, Any]


def files() -> Mapping[str, str]:
    """The text of every generated file, by its path below `events/`."""
    documents: dict[str, Mapping[str, Any]] = {f"{name}.json": event for name, event in requests()}
    documents["tick.json"] = refresh_events.tick()
    documents["refresh-unit.json"] = refresh_events.refresh_unit(SAMPLE_SHARD, project=PROJECT)
    gone = register_events.changes([SAMPLE_RUN_IDS["delete-run"]], project=f"deleted#{PROJECT}")
    documents["register-created.json"] = register_events.changes(
        [SAMPLE_RUN_IDS["get-run"], SAMPLE_RUN_IDS["start-run"]], project=PROJECT
    )
    documents["register-deleted.json"] = gone
    documents["register-pass.json"] = register_events.a_pass()
    documents["register-backfill.json"] = register_events.backfill()
    documents["env.json"] = {
        "RunsFunction": _environment(),
        "PlanRefreshFunction": _ADDRESSES,
        "RefreshTokensFunction": {**_ADDRESSES, **_SECRETS},
        "RegisterResourcesFunction": {
            "RUNS_TABLE": "RunsTable",
            "AUTHORIZATION_SERVICE_URL": "http://localhost:8084",
            "POWERTOOLS_SERVICE_NAME": _ADDRESSES["POWERTOOLS_SERVICE_NAME"],
            "AWS_ENDPOINT_URL": _ADDRESSES["AWS_ENDPOINT_URL"],
        },
    }
    documents["keys/issuer.jwks.json"] = sample_tokens.issuer_key_set()
    return {
        **{path: json.dumps(document, indent=2) + "\n" for path, document in documents.items()},
        f"keys/{sample_tokens.LOAD_BALANCER_KID}.pem": sample_tokens.load_balancer_public_key(),
    }


def requests() -> Iterator[tuple[str, Event]]:
    """The names and events of all cases of RunsFunction."""
    browser = _browser(sample_tokens.browser_token())
    person = _bearer("user-1906", "byline-cli", given_name="Grace", family_name="Hopper")
    service_account = _bearer("nightly-train", "nightly-train")

    # Callers that are identified.
    yield "browser", _request("GET", "/v1/whoami", browser)
    yield "bearer-person", _request("GET", "/v1/whoami", person, group=_BEARER)
    yield "bearer-service-account", _request("GET", "/v1/whoami", service_account, group=_BEARER)
    yield "single-value-shape", _single_value(_request("GET", "/v1/whoami", browser))
    yield "anonymous", _request("GET", "/v1/whoami")
    yield "health-check", _request("GET", "/healthz", agent="ELB-HealthChecker/2.0")

    # Forged and broken credentials.
    twice = [*browser, ("x-amzn-oidc-data", sample_tokens.browser_token())]
    yield "doubled-header", _request("GET", "/v1/whoami", twice)
    forged = _browser(sample_tokens.forged_browser_token(), subject="user-1906")
    yield (
        "forged-header-on-bearer-group",
        _request("GET", "/v1/whoami", [*service_account, *forged], group=_BEARER),
    )
    yield "forged-header", _request("GET", "/v1/whoami", forged)
    expired = _browser(sample_tokens.browser_token(expiry=sample_tokens.PAST))
    yield "expired", _request("GET", "/v1/whoami", expired)
    foreign = _browser(sample_tokens.browser_token(signer=sample_tokens.FOREIGN_LOAD_BALANCER))
    yield "foreign-signer", _request("GET", "/v1/whoami", foreign)

    # One for each route.
    yield "whoami", _request("GET", "/v1/whoami", browser)
    body = {"name": "Tune the forecast", "agent": "forecaster", "labels": {"team": "weather"}}
    yield "create-run", _request("POST", _RUNS, browser, body=body)
    yield "list-runs", _request("GET", _RUNS, person, group=_BEARER, query={"limit": "10"})
    yield (
        "list-runs-created-by-me",
        _request("GET", "/v1/runs", browser, query={"created_by": "me"}),
    )
    yield "get-run", _request("GET", _run("get-run"), person, group=_BEARER)
    for change in ("start", "finish", "fail"):
        path = f"{_run(f'{change}-run')}/{change}"
        yield f"{change}-run", _request("POST", path, service_account, group=_BEARER)
    yield "cancel-run", _request("POST", f"{_run('cancel-run')}/cancel", browser)
    yield "delete-run", _request("DELETE", _run("delete-run"), browser)
    registration = {"client": SAMPLE_RUNNERS_CLIENT, "subject": SAMPLE_RUNNERS_CLIENT}
    yield (
        "register-runner",
        _request("PUT", f"{_RUNNERS}/trainer", service_account, group=_BEARER, body=registration),
    )
    yield "list-runners", _request("GET", _RUNNERS, person, group=_BEARER)
    kept, retired = (f"{_RUNNERS}/{runner}" for runner in SAMPLE_RUNNERS)
    yield "get-runner", _request("GET", kept, browser)
    yield "get-runner-token", _request("GET", f"{kept}/token", service_account, group=_BEARER)
    yield "refresh-runner", _request("POST", f"{kept}/refresh", service_account, group=_BEARER)
    yield "list-tokens", _request("GET", f"/v1/projects/{PROJECT}/tokens", browser)
    yield "get-runner-token-of-another", _request("GET", f"{kept}/token", browser)
    yield "delete-runner", _request("DELETE", retired, browser)
    audit, of_run = f"/v1/projects/{PROJECT}/audit", {"run": SAMPLE_RUN_IDS["get-run"]}
    yield "list-audit-of-run", _request("GET", audit, browser, query=of_run)


def _request(
    method: str,
    path: str,
    credential: Headers = (),
    *,
    group: str = _BROWSER,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    agent: str = "sample-events/1.0",
) -> Event:
    """A request in the multi-value shape, which keeps repeated headers.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
    """
    headers: list[tuple[str, str]] = [*_FORWARDED, ("user-agent", agent), *credential]
    if body is not None:
        headers.append(("content-type", "application/json"))
    values: dict[str, list[str]] = {}
    for name, value in sorted(headers):
        values.setdefault(name, []).append(value)
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": method,
        "path": path,
        "multiValueQueryStringParameters": {name: [v] for name, v in (query or {}).items()},
        "multiValueHeaders": values,
        "body": "" if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def _single_value(event: Event) -> Event:
    """The same event in a target group's default shape, with the last value of each header."""
    renamed = {
        "multiValueHeaders": "headers",
        "multiValueQueryStringParameters": "queryStringParameters",
    }
    return {
        renamed.get(member, member): (
            {name: values[-1] for name, values in value.items()} if member in renamed else value
        )
        for member, value in event.items()
    }


def _browser(token: str, *, subject: str = sample_tokens.ADA["sub"]) -> Headers:
    return [
        ("x-amzn-oidc-accesstoken", _ACCESS_TOKEN),
        ("x-amzn-oidc-data", token),
        ("x-amzn-oidc-identity", subject),
    ]


def _bearer(subject: str, client_id: str, **claims: Any) -> Headers:
    return [("authorization", f"Bearer {sample_tokens.bearer_token(subject, client_id, **claims)}")]


def _run(event: str) -> str:
    return f"{_RUNS}/{SAMPLE_RUN_IDS[event]}"


_ADDRESSES: Mapping[str, str] = {
    "RUNNERS_TABLE": "RunnersTable",
    "REFRESH_QUEUE_URL": "http://localhost:8082/123456789012/RefreshQueue",
    "POWERTOOLS_SERVICE_NAME": "byline",
    "AWS_ENDPOINT_URL": "http://localhost:8082",
}
"""The variables of all functions on one machine."""

_SECRETS: Mapping[str, str] = {"SECRET_PREFIX": "byline"}
"""The name of the stack of `make up`."""


def _environment() -> Mapping[str, str]:
    """The variables for `sam local invoke`, with the addresses of the stack of `make up`.

    Addresses to connect to have the host `localhost`, which samconfig.toml maps to this machine in
    a container. Values to compare with tokens stay as the tokens have them.
    """
    issuer = {
        "issuer": sample_tokens.ISSUER,
        "audiences": [sample_tokens.AUDIENCE],
        "profile": "generic",
        "jwks_uri": "http://localhost:8081/jwks.json",
    }
    return {
        **_ADDRESSES,
        "RUNS_TABLE": "RunsTable",
        "ACCESS_TABLE": "AccessTable",
        **_SECRETS,
        "LOAD_BALANCER_ARNS": sample_tokens.LOAD_BALANCER,
        "OIDC_ISSUER": sample_tokens.ISSUER,
        "OIDC_CLIENT_ID": sample_tokens.CLIENT_ID,
        "TRUSTED_ISSUERS": json.dumps([issuer]),
        "BROWSER_TARGET_GROUP": _BROWSER.rpartition("/")[0],
        "BEARER_TARGET_GROUP": _BEARER.rpartition("/")[0],
        "IDENTITY_TRUST": "verify",
        "ANONYMOUS_CALLERS": "refuse",
        "ALB_PUBLIC_KEYS_URL": "http://localhost:8083",
        "PROJECT_ADMINS": "user-1815, application:nightly-train",
        "PROJECT_CREATION": "anyone",
    }


def main() -> None:
    """Write all files."""
    for path, text in files().items():
        (EVENTS / path).write_text(text)


if __name__ == "__main__":
    main()
