"""Callers that are identified, refused or not decidable, and the metrics and log lines of a
refusal."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from byline.errors import REASONS
from byline.metrics import Metrics
from serve_runs.web.problems import Problems
from tests.identity import alb_tokens, bearer_issuer
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web, shown
from tests.runs.runs_api import RunsApi, build_function, metrics
from tests.runs.table_server import DynamoDb, Refusal
from tests.template.stack import properties

RUNS = "/v1/projects/apollo/runs"
RUN = f"{RUNS}/01JD9XK3T5ZQ8W7V6R5N4M3K2J"
LogLines = Callable[[], list[str]]

ROUTES = [
    ("GET", "/v1/whoami", {}),
    ("POST", RUNS, {}),
    ("GET", RUNS, {}),
    ("GET", "/v1/runs", {"created_by": "ada"}),
    ("GET", RUN, {}),
    ("POST", f"{RUN}/start", {}),
    ("POST", f"{RUN}/finish", {}),
    ("POST", f"{RUN}/fail", {}),
    ("POST", f"{RUN}/cancel", {}),
    ("DELETE", RUN, {}),
]
"""Every route that identifies its caller."""


class TestWhoAmI:
    """`whoami` identifies the caller as the run routes do."""

    def test_person_by_browser_is_a_user(self, api: RunsApi, ada: Credential, web: Web) -> None:
        """A person who signed in at the load balancer is shown as a user."""
        answer = api.call("GET", "/v1/whoami", by=ada)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json == {
            "executed_by": {
                "user": {
                    "id": {"subject": "ada"},
                    "spec": {
                        "firstName": "Ada",
                        "lastName": "Lovelace",
                        "email": "ada@example.com",
                    },
                }
            },
            "kind": "user",
            "source": "alb",
            "on_behalf_of": None,
            "who": {
                "executed_by": shown(web, "ada", name="Ada Lovelace", email="ada@example.com"),
                "on_behalf_of": None,
            },
            "registrations": [],
            "next_cursor": None,
        }

    def test_service_account_by_bearer_token_is_an_application(
        self, api: RunsApi, nightly: Credential, web: Web
    ) -> None:
        """A service account with a Bearer token is shown as an application."""
        assert api.call("GET", "/v1/whoami", by=nightly).json == {
            "executed_by": {
                "application": {"id": {"subject": "nightly"}, "spec": {"name": "nightly"}}
            },
            "kind": "application",
            "source": "bearer",
            "on_behalf_of": None,
            "who": {
                "executed_by": shown(web, "nightly", kind="application"),
                "on_behalf_of": None,
            },
            "registrations": [],
            "next_cursor": None,
        }

    def test_identity_equals_that_of_a_created_run(self, api: RunsApi, ada: Credential) -> None:
        """The identity that `whoami` returns is the one stored on a run."""
        caller = api.call("GET", "/v1/whoami", by=ada).json
        assert api.create(ada)["executed_by"] == caller["executed_by"]

    @pytest.mark.parametrize("anonymous", ["refuse", "allow"])
    def test_anonymous_caller_is_401_in_every_mode(
        self, start_api: Callable[..., RunsApi], anonymous: str
    ) -> None:
        """`whoami` without a credential is 401, even where anonymous callers are allowed."""
        api = start_api(ANONYMOUS_CALLERS=anonymous)
        answer = api.call("GET", "/v1/whoami", by=NO_CREDENTIAL)
        assert (answer.status, answer.reason) == (401, "no_credentials")
        assert answer.headers["www-authenticate"] == 'Bearer realm="byline"'

    def test_forged_header_on_the_bearer_group_is_ignored(
        self, api: RunsApi, web: Web, nightly: Credential
    ) -> None:
        """On the Bearer target group the load balancer's headers are not read."""
        eve = web.browser_token({}, {"sub": "eve"}, key=alb_tokens.signing_key("eve's"))
        headers = (*eve.headers, ("x-amzn-oidc-identity", "eve"))
        answer = api.call("GET", "/v1/whoami", by=nightly, headers=headers)
        assert answer.json["executed_by"]["application"]["id"] == {"subject": "nightly"}


CHANGING_ROUTES = [(method, path) for method, path, _ in ROUTES if method in ("POST", "DELETE")]
TABLE_REQUESTS = {
    "TransactWriteItems": ("POST", RUNS),
    "GetItem": ("GET", RUN),
    "Query": ("GET", RUNS),
}
RETRYABLE_ERRORS = {
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "ProvisionedThroughputExceededException": 400,
    "ThrottlingException": 400,
    "RequestLimitExceeded": 400,
}
"""The errors of DynamoDB after which a retry may help, with their status.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""


def invalid_credentials(web: Web) -> dict[str, Credential]:
    """One credential for each reason to refuse it, valid but for one fact."""
    now = int(time.time())
    ada = {"sub": "ada"}
    valid = web.browser("ada")
    other_key = alb_tokens.signing_key("a stranger's")
    return {
        "no_credentials": NO_CREDENTIAL,
        "duplicated_header": Credential(valid.headers * 2, valid.group),
        "unsupported_scheme": Credential(
            (("authorization", "Basic YWRhOnB3"),), alb_tokens.BEARER_GROUP
        ),
        "malformed_token": Credential((("x-amzn-oidc-data", "x.y.z"),), valid.group),
        "token_too_large": Credential((("x-amzn-oidc-data", "x" * 20_000),), valid.group),
        "unsupported_algorithm": web.browser_token({"alg": "none"}, ada),
        "untrusted_signer": web.browser_token({"signer": alb_tokens.FOREIGN_SIGNER}, ada),
        "untrusted_client": web.browser_token({"client": "another"}, ada),
        "untrusted_issuer": web.browser_token({"iss": "https://evil.example"}, ada),
        "untrusted_audience": web.bearer("ada", aud="another"),
        "expired": web.browser_token({"exp": now - 1}, ada),
        "not_yet_valid": web.bearer("ada", nbf=now + 3_600),
        "bad_signature": web.browser_token({}, ada, key=other_key),
        "unknown_key": web.browser_token({"kid": alb_tokens.KID.replace("0", "1")}, ada),
        "missing_claim": web.browser_token({}, {"sub": alb_tokens.ABSENT}),
        "subject_mismatch": Credential(
            (*valid.headers, ("x-amzn-oidc-identity", "eve")), valid.group
        ),
    }


REFUSED = sorted(invalid_credentials(Web("http://127.0.0.1:1")))


class TestRefusal:
    """A bad credential is refused on every route, before AWS is called."""

    @pytest.mark.parametrize("reason", REFUSED)
    def test_bad_credential_is_401_without_an_aws_call(
        self, api: RunsApi, web: Web, dynamodb: DynamoDb, reason: str
    ) -> None:
        """Every route answers 401 with the reason and calls no AWS service."""
        credential = invalid_credentials(web)[reason]
        for method, path, query in ROUTES:
            answer = api.call(method, path, by=credential, query=query)
            assert (answer.status, answer.reason) == (401, reason), (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert dynamodb.calls == []

    @pytest.mark.parametrize("reason", REFUSED)
    def test_refusal_is_counted_in_total_and_by_reason(
        self, api: RunsApi, web: Web, log_lines: LogLines, reason: str
    ) -> None:
        """A refusal writes two metrics, and one warning without token text."""
        api.call("GET", RUNS, by=invalid_credentials(web)[reason])
        by_reason, in_total = sorted(
            metrics(log_lines(), "Rejected"), key=lambda found: "reason" not in found
        )
        assert by_reason["reason"] == reason
        for metric, dimensions in ((by_reason, {"service", "reason"}), (in_total, {"service"})):
            [directive] = metric["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == "Byline"
            assert [set(names) for names in directive["Dimensions"]] == [dimensions]
            assert metric["service"] == "stage"
            assert metric["Rejected"] == [1.0]
        [warning] = [json.loads(line) for line in log_lines() if '"WARNING"' in line]
        assert warning["reason"] == reason
        assert warning["request_id"]

    def test_invalid_credentials_cover_most_reasons(self) -> None:
        """The tests of the identity layer show the other reasons."""
        assert REASONS.issuperset(REFUSED)
        assert len(REFUSED) > 15

    def test_bad_credential_is_refused_where_anonymous_callers_are_allowed(
        self, start_api: Callable[..., RunsApi], web: Web, dynamodb: DynamoDb
    ) -> None:
        """`ANONYMOUS_CALLERS=allow` accepts only requests without a credential."""
        api = start_api(ANONYMOUS_CALLERS="allow")
        assert api.call("POST", RUNS, by=NO_CREDENTIAL).status == 201
        dynamodb.calls.clear()
        for reason, credential in invalid_credentials(web).items():
            if reason != "no_credentials":
                answer = api.call("POST", RUNS, by=credential)
                assert (answer.status, answer.reason) == (401, reason)
        assert dynamodb.calls == []

    def test_anonymous_request_after_a_callers_request_stays_anonymous(
        self, start_api: Callable[..., RunsApi], ada: Credential
    ) -> None:
        """No fact about a caller is kept for the next request."""
        api = start_api(ANONYMOUS_CALLERS="allow")
        assert api.create(ada)["creator_user_id"] == "ada"
        assert api.create(NO_CREDENTIAL)["creator_user_id"] is None


class TestUnavailable:
    """A decision that is not possible now is answered 503, never 401."""

    @pytest.fixture(params=["browser", "bearer"])
    def credential(self, request: pytest.FixtureRequest, web: Web) -> Credential:
        """A valid credential of each kind."""
        credential: Credential = getattr(web, request.param)("ada")
        return credential

    def test_unreachable_keys_are_503(
        self,
        start_api: Callable[..., RunsApi],
        web: Web,
        log_lines: LogLines,
        credential: Credential,
    ) -> None:
        """The answer has `Retry-After`, and the two metrics of the alarms are counted."""
        api = start_api(NAME=f"outage of {credential.group}")  # a function without cached keys
        web.down = True
        try:
            answer = api.call("POST", RUNS, by=credential)
        finally:
            web.down = False
        assert (answer.status, answer.reason) == (503, "keys_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert metrics(log_lines(), "KeyFetchFailed")[0]["KeyFetchFailed"] == [1.0]
        assert metrics(log_lines(), "Unavailable")[0]["Unavailable"] == [1.0]
        assert metrics(log_lines(), "Rejected") == []

    def test_cached_key_counts_while_keys_are_unreachable(
        self, api: RunsApi, web: Web, credential: Credential
    ) -> None:
        """An outage after the first request does not affect callers."""
        assert api.call("POST", RUNS, by=credential).status == 201
        web.down = True
        try:
            assert api.call("POST", RUNS, by=web.browser("grace")).status == 201
        finally:
            web.down = False

    @pytest.mark.parametrize("operation", TABLE_REQUESTS)
    @pytest.mark.parametrize("code", RETRYABLE_ERRORS)
    def test_failing_table_is_503(
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        log_lines: LogLines,
        operation: str,
        code: str,
    ) -> None:
        """Every retryable error of DynamoDB is answered 503 after botocore's own retries."""
        dynamodb.faults.extend([Refusal(operation, code, status=RETRYABLE_ERRORS[code])] * 9)
        answer = api.call(*TABLE_REQUESTS[operation], by=ada)
        assert (answer.status, answer.reason) == (503, "store_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert metrics(log_lines(), "Unavailable")

    def test_single_table_failure_is_retried(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """One failed write is retried, and one run exists."""
        dynamodb.faults.append(Refusal("TransactWriteItems", "InternalServerError", status=500))
        api.create(ada)
        assert len(dynamodb.rows()) == 1

    def test_unreachable_table_is_503(
        self, start_api: Callable[..., RunsApi], ada: Credential
    ) -> None:
        """A DynamoDB endpoint that refuses connections is answered 503."""
        api = start_api(AWS_ENDPOINT_URL="http://127.0.0.1:9")
        answer = api.call("POST", RUNS, by=ada)
        assert (answer.status, answer.reason) == (503, "store_unavailable")

    @pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
    def test_misconfigured_table_is_500(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, log_lines: LogLines, code: str
    ) -> None:
        """A denied or missing table is answered 500 and counted for the alarm.

        The log has AWS's code and not its text, which may quote the request.
        """
        refusal = Refusal("TransactWriteItems", code, members={"Message": "arn:secret"})
        dynamodb.faults.extend([refusal] * 9)
        answer = api.call("POST", RUNS, by=ada)
        assert (answer.status, answer.reason) == (500, "internal")
        assert "arn:secret" not in answer.body
        assert metrics(log_lines(), "InternalError")[0]["InternalError"] == [1.0]
        [line] = [line for line in log_lines() if "unexpected error" in line]
        assert f'"error":"{code}"' in line
        assert '"operation":"TransactWriteItems"' in line
        assert any(place.startswith("rows.py:") for place in json.loads(line)["at"])
        assert "arn:secret" not in line

    def test_unexpected_error_is_logged_without_its_message(self, log_lines: LogLines) -> None:
        """An error of any library may quote a token, so the log has its class and its places."""
        problems = Problems(Metrics("stage"), public_origin="")
        try:
            int("S3CRET")
        except ValueError as error:
            answer = problems.answer(error, request_id="request-1")
        assert (answer.status_code, "S3CRET" in str(answer.body)) == (500, False)
        [line] = [line for line in log_lines() if "unexpected error" in line]
        assert '"error":"ValueError"' in line
        assert '"at":["test_refusals.py:' in line
        assert "S3CRET" not in line


def test_create_with_a_hanging_dynamodb_is_answered_before_lambdas_timeout(
    web: Web, ada: Credential, log_lines: LogLines
) -> None:
    """A DynamoDB that accepts connections and never answers is 503, not a broken request."""
    with socket.create_server(("127.0.0.1", 0), backlog=32) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {
            "RUNS_TABLE": "RunsTable",
            "RUNNERS_TABLE": "RunnersTable",
            "ACCESS_TABLE": "AccessTable",
            "REFRESH_QUEUE_URL": endpoint,
            "SECRET_PREFIX": "stage",
            "POWERTOOLS_SERVICE_NAME": "stage",
        }
        api = RunsApi(
            build_function({**web.environment(), **environment, "AWS_ENDPOINT_URL": endpoint})
        )
        started = time.monotonic()
        answer = api.call("POST", RUNS, by=ada)
        seconds = time.monotonic() - started
    assert (answer.status, answer.reason) == (503, "store_unavailable")
    assert seconds < properties("AWS::Lambda::Function", "RunsFunction")["Timeout"]


class TestCrossSite:
    """A page of another site may not make changes with its visitor's cookie."""

    @pytest.mark.parametrize(
        "headers",
        [
            [("sec-fetch-site", "cross-site")],
            [("sec-fetch-site", "same-site")],
            [("Sec-Fetch-Site", "cross-site"), ("origin", "https://byline.example")],
            [("origin", "https://evil.example")],
            [("origin", "https://byline.example.evil.example")],
            [("origin", "https://evil.example/byline.example")],
            [("origin", "null")],
            [("sec-fetch-site", "nonsense")],
            [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            [("origin", "https://byline.example"), ("Origin", "https://evil.example")],
        ],
    )
    def test_change_from_another_site_is_refused(
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        headers: list[tuple[str, str]],
    ) -> None:
        """Every change is answered 403, and AWS is not called."""
        for method, path in CHANGING_ROUTES:
            answer = api.call(method, path, by=ada, headers=headers)
            assert (answer.status, answer.reason) == (403, "cross_site_request"), headers
        assert dynamodb.calls == []

    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [("sec-fetch-site", "same-origin"), ("origin", "https://byline.example")],
            [("sec-fetch-site", "none")],
            [("origin", "https://byline.example")],
        ],
    )
    def test_change_from_the_own_site_is_accepted(
        self, api: RunsApi, ada: Credential, headers: list[tuple[str, str]]
    ) -> None:
        """A change from the same site, or without the headers, is carried out."""
        assert api.call("POST", RUNS, by=ada, headers=headers).status == 201

    def test_read_from_another_site_is_accepted(self, api: RunsApi, ada: Credential) -> None:
        """A link from another site works; without CORS headers its page cannot read the answer."""
        headers = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")]
        answer = api.call("GET", RUNS, by=ada, headers=headers)
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]

    def test_change_with_a_bearer_token_from_another_site_is_accepted(
        self, api: RunsApi, nightly: Credential
    ) -> None:
        """A browser never sends a Bearer token by itself."""
        headers = [("sec-fetch-site", "cross-site"), ("origin", "https://tool.example")]
        assert api.call("POST", RUNS, by=nightly, headers=headers).status == 201

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
    def test_form_body_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, content_type: str
    ) -> None:
        """A page of another site in an old browser can send forms, but not JSON."""
        answer = api.call(
            "POST", RUNS, by=ada, body='{"name":"x"}', headers=[("content-type", content_type)]
        )
        assert (answer.status, answer.reason) == (415, "unsupported_media_type")
        assert dynamodb.calls == []


class TestIdentityTrust:
    """`IDENTITY_TRUST`: whether callers are verified, believed or ignored."""

    def test_ignored_identity_leaves_executed_by_empty(
        self, start_api: Callable[..., RunsApi], ada: Credential
    ) -> None:
        """In `ignore` mode `executed_by` stays empty, whatever is sent."""
        api = start_api(IDENTITY_TRUST="ignore", ANONYMOUS_CALLERS="allow")
        run = api.create(ada)
        assert run["executed_by"] is None
        assert api.call("GET", "/v1/whoami", by=ada).status == 401

    @pytest.mark.parametrize("trust", ["forwarded", "ignore"])
    def test_cold_start_without_verification_warns(
        self, start_api: Callable[..., RunsApi], log_lines: LogLines, trust: str
    ) -> None:
        """Every cold start without verification of callers logs a warning."""
        start_api(IDENTITY_TRUST=trust, ANONYMOUS_CALLERS="allow", NAME=f"warned of {trust}")
        [warning] = [json.loads(line) for line in log_lines() if '"WARNING"' in line]
        assert warning["identity_trust"] == trust

    def test_verified_cold_start_logs_nothing(
        self, start_api: Callable[..., RunsApi], log_lines: LogLines
    ) -> None:
        """A cold start with verification logs no line."""
        start_api(NAME="verified")
        assert log_lines() == []


def test_health_check_is_constant_for_every_caller(
    api: RunsApi, dynamodb: DynamoDb, log_lines: LogLines, web: Web
) -> None:
    """The health check ignores credentials, calls no AWS service, and logs and counts nothing."""
    checker = [("user-agent", "ELB-HealthChecker/2.0")]
    credentials = (NO_CREDENTIAL, web.browser("ada", exp=1), Credential((), "another-group"))
    answers = [api.call("GET", "/healthz", by=by, headers=checker) for by in credentials]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].status == 200
    assert answers[0].json == {"status": "ok"}
    assert dynamodb.calls == []
    assert log_lines() == []


def test_both_shapes_of_an_event_give_the_same_answer(
    api: RunsApi, ada: Credential, nightly: Credential, web: Web
) -> None:
    """Events with single and multiple header values get the same answer."""
    for by in (ada, nightly, web.bearer("grace")):
        whoami = [
            api.call("GET", "/v1/whoami", by=by, multi_value=multi_value)
            for multi_value in (True, False)
        ]
        assert whoami[0] == whoami[1]
        for multi_value in (True, False):
            document: dict[str, Any] = {"name": "shape"}
            created = api.call("POST", RUNS, by=by, document=document, multi_value=multi_value)
            assert created.status == 201
            assert created.headers["location"].startswith(RUNS)
            listed = api.call("GET", RUNS, by=by, query={"limit": "1"}, multi_value=multi_value)
            assert [run["id"] for run in listed.json["runs"]] == [created.json["id"]]
            refused = api.call("GET", RUNS, by=NO_CREDENTIAL, multi_value=multi_value)
            assert refused.reason == "no_credentials"


def test_token_search_finds_the_parts_of_a_token(web: Web) -> None:
    """The search for tokens behind every test here looks for each part of a token."""
    credential = web.bearer("ada")
    token = credential.headers[0][1].removeprefix("Bearer ")
    assert alb_tokens.segments_of(web.tokens) >= set(token.split("."))
    assert bearer_issuer.KID not in alb_tokens.segments_of(web.tokens)
    web.tokens.clear()
