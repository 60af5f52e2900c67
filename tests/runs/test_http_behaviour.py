"""HEAD, the headers of every answer, and requests that pages of other sites start."""

from collections.abc import Callable
from typing import Any

import pytest

from byline.errors import Misconfigured
from serve_runs.callers.sign_out import SignOut
from tests.runs.credentials_api import CredentialsApi
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runners_api import RunnersApi
from tests.runs.runs_api import RunsApi, request
from tests.runs.table_server import DynamoDb, Refusal

RUNS = "/v1/projects/apollo/runs"
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
CROSS_SITE = (("sec-fetch-site", "cross-site"),)


def from_another_site(by: Credential) -> Credential:
    """The credential, as a browser sends it for a page of another site."""
    return Credential((*by.headers, *CROSS_SITE), by.group)


class TestHeaders:
    """The headers that every answer has."""

    @pytest.mark.parametrize("shape", ["multi-value", "single-value"])
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/healthz", 200),
            ("HEAD", "/healthz", 200),
            ("GET", RUNS, 200),
            ("POST", RUNS, 201),
            ("GET", "/v1/projects/A/runs", 400),
            ("GET", "/v1/none", 404),
            ("PATCH", "/v1/whoami", 405),
        ],
    )
    def test_answer_has_the_fixed_headers(
        self, api: RunsApi, ada: Credential, method: str, path: str, status: int, shape: str
    ) -> None:
        """Every answer may not be sniffed, framed, cached or read by another site."""
        answer = api.call(method, path, by=ada, multi_value=shape == "multi-value")
        assert answer.status == status
        assert HEADERS.items() <= answer.headers.items()

    def test_refused_and_failed_request_have_the_fixed_headers(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """An answer 401, 403 or 500 has them too, and each keeps its own headers."""
        unauthorized = api.call("GET", RUNS, by=NO_CREDENTIAL)
        assert unauthorized.status == 401
        assert "www-authenticate" in unauthorized.headers
        dynamodb.faults.append(Refusal("Query", "AccessDeniedException"))
        failed = api.call("GET", RUNS, by=ada)
        refused = api.call("POST", RUNS, by=from_another_site(ada))
        assert [failed.status, refused.status] == [500, 403]
        for answer in (unauthorized, failed, refused):
            assert HEADERS.items() <= answer.headers.items()

    def test_created_run_keeps_its_location(self, api: RunsApi, ada: Credential) -> None:
        """The fixed headers replace no header of the answer."""
        answer = api.call("POST", RUNS, by=ada)
        assert answer.headers["location"] == f"{RUNS}/{answer.json['id']}"


class TestHead:
    """HEAD is answered as GET, without the body."""

    @pytest.mark.parametrize("shape", ["multi-value", "single-value"])
    @pytest.mark.parametrize(
        "path", ["/healthz", "/v1/whoami", RUNS, "/v1/projects/apollo/runners", "/v1/none"]
    )
    def test_head_is_answered_as_get_without_a_body(
        self, api: RunsApi, ada: Credential, path: str, shape: str
    ) -> None:
        """Status and headers are those of GET, and the body is empty."""
        of_get, of_head = (
            api.call(method, path, by=ada, multi_value=shape == "multi-value")
            for method in ("GET", "HEAD")
        )
        assert (of_head.status, of_head.headers) == (of_get.status, of_get.headers)
        assert of_get.body
        assert of_head.body == ""

    def test_head_of_a_run_shows_whether_it_exists(self, api: RunsApi, ada: Credential) -> None:
        """A run that exists is 200, and another one is 404."""
        path = f"{RUNS}/{api.create(ada)['id']}"
        assert api.call("HEAD", path, by=ada).status == 200
        assert api.call("HEAD", f"{path[:-26]}01JD9XK3T5ZQ8W7V6R5N4M3K2J", by=ada).status == 404

    def test_head_without_a_credential_is_refused(self, api: RunsApi) -> None:
        """HEAD needs the same credential as GET."""
        answer = api.call("HEAD", "/v1/whoami", by=NO_CREDENTIAL)
        assert (answer.status, answer.body) == (401, "")

    def test_head_of_a_change_is_not_allowed(self, api: RunsApi, ada: Credential) -> None:
        """A path without GET has no HEAD."""
        answer = api.call("HEAD", f"{RUNS}/01JD9XK3T5ZQ8W7V6R5N4M3K2J/start", by=ada)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")

    @pytest.mark.parametrize("path", ["runners/nightly/token", "credentials/github/token"])
    def test_head_of_a_token_is_not_allowed(
        self, credentials: CredentialsApi, ada: Credential, path: str
    ) -> None:
        """HEAD of a token reads no secret and writes no record of a read."""
        answer = credentials.api.call("HEAD", f"/v1/projects/{credentials.project}/{path}", by=ada)
        assert (answer.status, answer.headers["allow"], answer.body) == (405, "GET", "")
        assert credentials.calls() == []

    def test_head_of_a_sign_out_is_not_allowed(self, api: RunsApi) -> None:
        """HEAD ends no session."""
        answer = api.call("HEAD", "/logout", by=NO_CREDENTIAL)
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
        assert "set-cookie" not in answer.headers


class TestAnotherSite:
    """A page of another site may not let its visitor's browser write anything."""

    def test_read_of_a_runners_token_is_refused(
        self, runners: RunnersApi, ada: Credential, nightly: Credential, web: Web
    ) -> None:
        """The token of a runner is not read, and no record says that it was."""
        assert runners.put(nightly, subject="gpu").status == 201
        runners.refresh()
        reader = web.browser("gpu")
        runners.world.aws.calls.clear()
        answer = runners.token(from_another_site(reader))
        assert (answer.status, answer.reason) == (403, "cross_site_request")
        assert runners.calls() == []

    def test_read_of_a_credentials_token_is_refused(
        self, credentials: CredentialsApi, ada: Credential, web: Web
    ) -> None:
        """A reader's browser records no false read, and its own page can read the token."""
        assert credentials.put(ada).status == 201
        credentials.grant("reader", "credential:token-reader")
        reader = web.browser("reader")
        before = credentials.records()
        refused = credentials.token(from_another_site(reader))
        assert (refused.status, refused.reason) == (403, "cross_site_request")
        assert credentials.records() == before
        own = Credential((*reader.headers, ("sec-fetch-site", "same-origin")), reader.group)
        assert credentials.token(own).status == 200
        assert len(credentials.records()) == len(before) + 1

    def test_read_of_a_token_by_bearer_token_is_accepted(
        self, runners: RunnersApi, nightly: Credential, gpu: Credential
    ) -> None:
        """A browser never sends a Bearer token by itself."""
        assert runners.put(nightly, subject="gpu").status == 201
        runners.refresh()
        assert runners.token(from_another_site(gpu)).status == 200

    def test_read_writes_no_profile(self, api: RunsApi, web: Web, dynamodb: DynamoDb) -> None:
        """A link of another site shows the answer, and leaves the visitor's profile alone."""
        visitor = web.browser("visitor-of-another-site", given_name="Vi")
        assert api.call("GET", "/v1/whoami", by=from_another_site(visitor)).status == 200
        assert dynamodb.profile_writes == []
        assert api.call("GET", "/v1/whoami", by=visitor).status == 200
        assert len(dynamodb.profile_writes) == 1

    @pytest.mark.parametrize("trust", ["verify", "ignore"])
    def test_change_of_an_anonymous_caller_is_refused(
        self,
        start_api: Callable[..., RunsApi],
        dynamodb: DynamoDb,
        trust: str,
    ) -> None:
        """The browser of a caller who needs no credential is not used by another site either."""
        api = start_api(IDENTITY_TRUST=trust, ANONYMOUS_CALLERS="allow")
        answer = api.call("POST", RUNS, by=from_another_site(NO_CREDENTIAL))
        assert (answer.status, answer.reason) == (403, "cross_site_request")
        assert dynamodb.calls == []
        assert api.call("POST", RUNS, by=NO_CREDENTIAL).status == 201


class TestSignOut:
    """`/logout` ends the browser's session at the load balancer."""

    def cookies(self, answer: Any) -> list[str]:
        """The cookies that an answer sets."""
        cookies: list[str] = answer.headers["set-cookie"].split("\n")
        return cookies

    def test_sign_out_expires_every_cookie_of_the_session(
        self, start_api: Callable[..., RunsApi]
    ) -> None:
        """The four cookies that a session can have are expired, under the stack's name."""
        api = start_api(SESSION_COOKIE_NAME="BylineSession")
        answer = api.call("GET", "/logout", by=NO_CREDENTIAL)
        assert (answer.status, answer.json) == (200, {"status": "signed_out"})
        assert HEADERS.items() <= answer.headers.items()
        cookies = self.cookies(answer)
        assert {cookie.partition("=")[0] for cookie in cookies} == {
            f"BylineSession-{number}" for number in range(4)
        }
        for cookie in cookies:
            assert cookie.partition("; ")[0].endswith("=")
            assert {"Max-Age=0", "Path=/", "Secure", "HttpOnly"} <= set(cookie.split("; "))

    def test_sign_out_leads_to_the_provider(self, start_api: Callable[..., RunsApi]) -> None:
        """The browser goes on to the provider's end-session endpoint, with the client's id."""
        api = start_api(
            OIDC_END_SESSION_ENDPOINT="https://id.example/logout?tenant=1",
            OIDC_POST_LOGOUT_URI="https://byline.example/bye?a=1&b=2",
        )
        answer = api.call("GET", "/logout", by=NO_CREDENTIAL)
        assert (answer.status, answer.body) == (303, "")
        assert answer.headers["location"] == (
            "https://id.example/logout?tenant=1&client_id=browser-client"
            "&post_logout_redirect_uri=https%3A%2F%2Fbyline.example%2Fbye%3Fa%3D1%26b%3D2"
        )
        assert len(self.cookies(answer)) == 4

    def test_sign_out_without_a_providers_endpoint_leads_to_the_landing_page(
        self, start_api: Callable[..., RunsApi]
    ) -> None:
        """Where the provider has no such endpoint, the browser goes to the operator's page."""
        api = start_api(OIDC_POST_LOGOUT_URI="https://byline.example/bye")
        answer = api.call("GET", "/logout", by=NO_CREDENTIAL)
        assert (answer.status, answer.headers["location"]) == (303, "https://byline.example/bye")

    @pytest.mark.parametrize("name", ["post_logout_redirect_uri", "redirect_uri", "next"])
    def test_request_cannot_choose_the_next_page(
        self, start_api: Callable[..., RunsApi], name: str
    ) -> None:
        """Query and `Host` do not change where the browser goes."""
        api = start_api(OIDC_END_SESSION_ENDPOINT="https://id.example/logout")
        event = request("GET", "/logout", by=NO_CREDENTIAL, query={name: "https://evil.example"})
        event["multiValueHeaders"]["host"] = ["evil.example"]
        location = api.send(event).headers["location"]
        assert location == "https://id.example/logout?client_id=browser-client"

    @pytest.mark.parametrize(
        "headers", [CROSS_SITE, (("sec-fetch-site", "same-site"),), (("origin", "null"),)]
    )
    def test_sign_out_by_another_site_is_refused(
        self, api: RunsApi, ada: Credential, headers: tuple[tuple[str, str], ...]
    ) -> None:
        """A page of another site cannot end its visitor's session."""
        answer = api.call("GET", "/logout", by=ada, headers=headers)
        assert (answer.status, answer.reason) == (403, "cross_site_request")
        assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize("site", ["same-origin", "none"])
    def test_sign_out_by_a_link_of_the_own_site_is_accepted(
        self, api: RunsApi, ada: Credential, site: str
    ) -> None:
        """A link of the service's own page, and a typed address, end the session."""
        answer = api.call("GET", "/logout", by=ada, headers=(("sec-fetch-site", site),))
        assert answer.status == 200
        assert len(self.cookies(answer)) == 4

    def test_event_with_single_values_expires_the_first_cookie(self, api: RunsApi) -> None:
        """An answer with one value for each header expires the cookie that every session has."""
        with pytest.warns(UserWarning, match="more than one header value"):
            answer = api.call("GET", "/logout", by=NO_CREDENTIAL, multi_value=False)
        [cookie] = self.cookies(answer)
        assert cookie.startswith("AWSELBAuthSessionCookie-0=;")

    @pytest.mark.parametrize("variable", ["OIDC_END_SESSION_ENDPOINT", "OIDC_POST_LOGOUT_URI"])
    @pytest.mark.parametrize("value", ["http://id.example/bye", "javascript:alert(1)", "/bye"])
    def test_next_page_that_is_not_https_fails_the_cold_start(
        self, variable: str, value: str
    ) -> None:
        """A browser is sent to https only, and the message names the variable."""
        with pytest.raises(Misconfigured) as raised:
            SignOut.from_environment({variable: value})
        assert raised.value.variable == variable
