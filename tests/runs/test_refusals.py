"""Who is known, who is refused and why, and what a refusal leaves behind: one count, one line."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from byline.errors import REASONS
from tests.identity import alb_tokens, bearer_issuer
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import RunsApi, metrics
from tests.runs.table_server import DynamoDb, Refusal

RUNS = "/v1/projects/apollo/runs"
RUN = f"{RUNS}/01JD9XK3T5ZQ8W7V6R5N4M3K2J"
Said = Callable[[], list[str]]

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
"""Every route that wants to know who asks."""


class TestWhoAmI:
    """`whoami` identifies the caller as the run routes do."""

    def test_person_by_browser(self, api: RunsApi, ada: Credential) -> None:
        """A user, by the load balancer's token."""
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
        }

    def test_service_account_by_bearer_token(self, api: RunsApi, nightly: Credential) -> None:
        """A service account with a Bearer token is shown as an application."""
        assert api.call("GET", "/v1/whoami", by=nightly).json == {
            "executed_by": {
                "application": {"id": {"subject": "nightly"}, "spec": {"name": "nightly"}}
            },
            "kind": "application",
            "source": "bearer",
            "on_behalf_of": None,
        }

    def test_same_identity_is_on_the_run(self, api: RunsApi, ada: Credential) -> None:
        """The identity that `whoami` returns is the one stored on a run."""
        caller = api.call("GET", "/v1/whoami", by=ada).json
        assert api.create(ada)["executed_by"] == caller["executed_by"]

    @pytest.mark.parametrize("anonymous", ["refuse", "allow"])
    def test_nobody_is_401_in_every_mode(
        self, start_api: Callable[..., RunsApi], anonymous: str
    ) -> None:
        """`whoami` without credentials is 401 in every mode."""
        api = start_api(ANONYMOUS_CALLERS=anonymous)
        answer = api.call("GET", "/v1/whoami", by=NO_CREDENTIAL)
        assert (answer.status, answer.reason) == (401, "no_credentials")
        assert answer.headers["www-authenticate"] == 'Bearer realm="byline"'

    def test_forged_header_beside_a_genuine_token_changes_nothing(
        self, api: RunsApi, web: Web, nightly: Credential
    ) -> None:
        """On the Bearer target group the load balancer's headers are not read."""
        eve = web.browser_token({}, {"sub": "eve"}, key=alb_tokens.signing_key("eve's"))
        headers = (*eve.headers, ("x-amzn-oidc-identity", "eve"))
        answer = api.call("GET", "/v1/whoami", by=nightly, headers=headers)
        assert answer.json["executed_by"]["application"]["id"] == {"subject": "nightly"}


CHANGES = [(method, path) for method, path, _ in ROUTES if method in ("POST", "DELETE")]
TABLE_REQUESTS = {
    "TransactWriteItems": ("POST", RUNS),
    "GetItem": ("GET", RUN),
    "Query": ("GET", RUNS),
}
TROUBLES = {
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "ProvisionedThroughputExceededException": 400,
    "ThrottlingException": 400,
    "RequestLimitExceeded": 400,
}
"""What DynamoDB says when it cannot answer now, with the status.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""


def spoiled(web: Web) -> dict[str, Credential]:
    """One credential for each way to be refused, each valid but for one thing."""
    now = int(time.time())
    ada = {"sub": "ada"}
    good = web.browser("ada")
    stranger = alb_tokens.signing_key("a stranger's")
    return {
        "no_credentials": NO_CREDENTIAL,
        "duplicated_header": Credential(good.headers * 2, good.group),
        "unsupported_scheme": Credential(
            (("authorization", "Basic YWRhOnB3"),), alb_tokens.BEARER_GROUP
        ),
        "malformed_token": Credential((("x-amzn-oidc-data", "x.y.z"),), good.group),
        "token_too_large": Credential((("x-amzn-oidc-data", "x" * 20_000),), good.group),
        "unsupported_algorithm": web.browser_token({"alg": "none"}, ada),
        "untrusted_signer": web.browser_token({"signer": alb_tokens.FOREIGN_SIGNER}, ada),
        "untrusted_client": web.browser_token({"client": "another"}, ada),
        "untrusted_issuer": web.browser_token({"iss": "https://evil.example"}, ada),
        "untrusted_audience": web.bearer("ada", aud="another"),
        "expired": web.browser_token({"exp": now - 1}, ada),
        "not_yet_valid": web.bearer("ada", nbf=now + 3_600),
        "bad_signature": web.browser_token({}, ada, key=stranger),
        "unknown_key": web.browser_token({"kid": alb_tokens.KID.replace("0", "1")}, ada),
        "missing_claim": web.browser_token({}, {"sub": alb_tokens.ABSENT}),
        "subject_mismatch": Credential(
            (*good.headers, ("x-amzn-oidc-identity", "eve")), good.group
        ),
    }


REFUSED = sorted(spoiled(Web("http://127.0.0.1:1")))


class TestRefusal:
    """A bad credential is refused on every route, before AWS is asked for anything."""

    @pytest.mark.parametrize("reason", REFUSED)
    def test_refusal_is_401_with_its_reason_and_asks_nothing_of_aws(
        self, api: RunsApi, web: Web, dynamodb: DynamoDb, reason: str
    ) -> None:
        """A bad credential is refused on every route before anything is written."""
        credential = spoiled(web)[reason]
        for method, path, query in ROUTES:
            answer = api.call(method, path, by=credential, query=query)
            assert (answer.status, answer.reason) == (401, reason), (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert dynamodb.calls == []

    @pytest.mark.parametrize("reason", REFUSED)
    def test_refusal_is_counted_once_in_all_and_once_by_reason(
        self, api: RunsApi, web: Web, said: Said, reason: str
    ) -> None:
        """Two documents of the embedded metric format, and one warning without token text."""
        api.call("GET", RUNS, by=spoiled(web)[reason])
        by_reason, in_all = sorted(
            metrics(said(), "Rejected"), key=lambda found: "reason" not in found
        )
        assert by_reason["reason"] == reason
        for counted, dimensions in ((by_reason, {"service", "reason"}), (in_all, {"service"})):
            [directive] = counted["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == "Byline"
            assert [set(names) for names in directive["Dimensions"]] == [dimensions]
            assert counted["service"] == "byline"
            assert counted["Rejected"] == [1.0]
        [warning] = [json.loads(line) for line in said() if '"WARNING"' in line]
        assert warning["reason"] == reason
        assert warning["request_id"]

    def test_spoiled_credentials_are_many_of_the_closed_list(self) -> None:
        """What is missing above is shown in the tests of the identity layer."""
        assert REASONS.issuperset(REFUSED)
        assert len(REFUSED) > 15

    def test_bad_credential_is_refused_where_nobody_may_call(
        self, start_api: Callable[..., RunsApi], web: Web, dynamodb: DynamoDb
    ) -> None:
        """`ANONYMOUS_CALLERS=allow` is for requests without a credential only."""
        api = start_api(ANONYMOUS_CALLERS="allow")
        assert api.call("POST", RUNS, by=NO_CREDENTIAL).status == 201
        dynamodb.calls.clear()
        for reason, credential in spoiled(web).items():
            if reason != "no_credentials":
                answer = api.call("POST", RUNS, by=credential)
                assert (answer.status, answer.reason) == (401, reason)
        assert dynamodb.calls == []

    def test_nothing_of_a_caller_outlives_the_request(
        self, start_api: Callable[..., RunsApi], ada: Credential
    ) -> None:
        """After Ada's request nobody is still nobody."""
        api = start_api(ANONYMOUS_CALLERS="allow")
        assert api.create(ada)["creator_user_id"] == "ada"
        assert api.create(NO_CREDENTIAL)["creator_user_id"] is None


class TestUnavailable:
    """What cannot be decided now is 503, never 401 and never a skipped check."""

    @pytest.fixture(params=["browser", "bearer"])
    def credential(self, request: pytest.FixtureRequest, web: Web) -> Credential:
        credential: Credential = getattr(web, request.param)("ada")
        return credential

    def test_keys_out_of_reach_are_503_and_counted(
        self, start_api: Callable[..., RunsApi], web: Web, said: Said, credential: Credential
    ) -> None:
        """With `Retry-After`, one error line, and the two metrics that alarms are built on."""
        api = start_api(NAME=f"outage of {credential.group}")  # a function that knows no key yet
        web.down = True
        try:
            answer = api.call("POST", RUNS, by=credential)
        finally:
            web.down = False
        assert (answer.status, answer.reason) == (503, "keys_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert metrics(said(), "KeyFetchFailed")[0]["KeyFetchFailed"] == [1.0]
        assert metrics(said(), "Unavailable")[0]["Unavailable"] == [1.0]
        assert metrics(said(), "Rejected") == []

    def test_known_key_goes_on_counting_while_keys_are_out_of_reach(
        self, api: RunsApi, web: Web, credential: Credential
    ) -> None:
        """An outage after the first request is not noticed."""
        assert api.call("POST", RUNS, by=credential).status == 201
        web.down = True
        try:
            assert api.call("POST", RUNS, by=web.browser("grace")).status == 201
        finally:
            web.down = False

    @pytest.mark.parametrize("operation", TABLE_REQUESTS)
    @pytest.mark.parametrize("code", TROUBLES)
    def test_table_in_trouble_is_503(
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        said: Said,
        operation: str,
        code: str,
    ) -> None:
        """Whatever DynamoDB calls it, after botocore's own retries."""
        dynamodb.faults.extend([Refusal(operation, code, status=TROUBLES[code])] * 9)
        answer = api.call(*TABLE_REQUESTS[operation], by=ada)
        assert (answer.status, answer.reason) == (503, "store_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert metrics(said(), "Unavailable")

    def test_table_that_recovers_is_not_noticed(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """One failure is retried, and the run is there once."""
        dynamodb.faults.append(Refusal("TransactWriteItems", "InternalServerError", status=500))
        api.create(ada)
        assert len(dynamodb.rows()) == 1

    def test_table_out_of_reach_is_503(
        self, start_api: Callable[..., RunsApi], ada: Credential
    ) -> None:
        """Nothing listens where DynamoDB should be."""
        api = start_api(AWS_ENDPOINT_URL="http://127.0.0.1:9")
        answer = api.call("POST", RUNS, by=ada)
        assert (answer.status, answer.reason) == (503, "store_unavailable")

    @pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
    def test_table_that_is_not_ours_is_our_error(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, said: Said, code: str
    ) -> None:
        """500: a retry would not help. It tells nothing, and is counted for the alarm. The log has
        AWS's code and not its text, which may quote what was sent."""
        refusal = Refusal("TransactWriteItems", code, members={"Message": "arn:secret"})
        dynamodb.faults.extend([refusal] * 9)
        answer = api.call("POST", RUNS, by=ada)
        assert (answer.status, answer.reason) == (500, "internal")
        assert "arn:secret" not in answer.body
        assert metrics(said(), "InternalError")[0]["InternalError"] == [1.0]
        [line] = [line for line in said() if "unexpected error" in line]
        assert f'"error":"{code}"' in line
        assert '"operation":"TransactWriteItems"' in line
        assert "arn:secret" not in line


class TestCrossSite:
    """A page of another site may not act for its visitor, whose cookie travels along."""

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
        """403 on every change, and AWS is not asked for anything."""
        for method, path in CHANGES:
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
    def test_change_from_our_own_page_is_made(
        self, api: RunsApi, ada: Credential, headers: list[tuple[str, str]]
    ) -> None:
        """The other half of each pair."""
        assert api.call("POST", RUNS, by=ada, headers=headers).status == 201

    def test_reading_from_another_site_is_allowed(self, api: RunsApi, ada: Credential) -> None:
        """A link from elsewhere works: without CORS headers no other page reads the answer."""
        headers = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")]
        answer = api.call("GET", RUNS, by=ada, headers=headers)
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]

    def test_bearer_token_is_no_cookie(self, api: RunsApi, nightly: Credential) -> None:
        """Whoever sends a Bearer token means it: SDKs and other sites' own clients go on."""
        headers = [("sec-fetch-site", "cross-site"), ("origin", "https://tool.example")]
        assert api.call("POST", RUNS, by=nightly, headers=headers).status == 201

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
    def test_body_that_any_page_may_send_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, content_type: str
    ) -> None:
        """An old browser that does not say where it comes from cannot send JSON unasked."""
        answer = api.call(
            "POST", RUNS, by=ada, body='{"name":"x"}', headers=[("content-type", content_type)]
        )
        assert (answer.status, answer.reason) == (415, "unsupported_media_type")
        assert dynamodb.calls == []


class TestOperatorsChoice:
    """`IDENTITY_TRUST`: whether forwarded identity is believed at all."""

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
        self, start_api: Callable[..., RunsApi], said: Said, trust: str
    ) -> None:
        """An operator sees at every cold start that callers are not verified."""
        start_api(IDENTITY_TRUST=trust, ANONYMOUS_CALLERS="allow", NAME=f"warned of {trust}")
        [warning] = [json.loads(line) for line in said() if '"WARNING"' in line]
        assert warning["identity_trust"] == trust

    def test_verified_cold_start_says_nothing(
        self, start_api: Callable[..., RunsApi], said: Said
    ) -> None:
        """No line where all is as it should be."""
        start_api(NAME="verified")
        assert said() == []


def test_health_is_constant_and_needs_nobody(
    api: RunsApi, dynamodb: DynamoDb, said: Said, web: Web
) -> None:
    """Anyone may ask, with whatever credential, and nothing is asked of AWS, logged or counted."""
    checker = [("user-agent", "ELB-HealthChecker/2.0")]
    askers = (NO_CREDENTIAL, web.browser("ada", exp=1), Credential((), "another-group"))
    answers = [api.call("GET", "/healthz", by=by, headers=checker) for by in askers]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].status == 200
    assert answers[0].json == {"status": "ok"}
    assert dynamodb.calls == []
    assert said() == []


def test_both_shapes_of_an_event_give_the_same_answer(
    api: RunsApi, ada: Credential, nightly: Credential, web: Web
) -> None:
    """Single values are answered in single values; who and what is the same."""
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


def test_tokens_are_really_looked_for(web: Web) -> None:
    """The leak detector behind every test here knows what it looks for."""
    credential = web.bearer("ada")
    token = credential.headers[0][1].removeprefix("Bearer ")
    assert alb_tokens.segments_of(web.tokens) >= set(token.split("."))
    assert bearer_issuer.KID not in alb_tokens.segments_of(web.tokens)
    web.tokens.clear()
