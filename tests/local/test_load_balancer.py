"""The local load balancer over HTTP, with a function that answers with its event."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from byline.identity.identity import Identity
from byline.identity.settings import IdentitySettings
from local.bearer_rule import BearerRule, ForwardRule
from local.browser_rule import NONCE_COOKIE, BrowserRule
from local.function_instance import FunctionFailed
from local.listening import WebServer, listen, url_of
from local.load_balancer import LoadBalancer, TargetGroups
from local.load_balancer_signing import ARN, Signer, public_keys
from local.openid_client import OpenIDClient
from local.openid_provider import ADA, BROWSER_CLIENT, GRACE, OpenIDProvider
from tests.template.listener_rules import rule_of

SESSION_COOKIE = "BylineSession-0"
GROUPS = TargetGroups(
    browser="arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/browser-group",
    bearer="arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/bearer-group",
)
MEGABYTE = 1_048_576


def show_event(event: Any) -> Any:
    """The function: answers with its event, and fails for two paths."""
    if event["path"] == "/v1/raise":
        raise FunctionFailed("KeyError", "'left'")
    if event["path"] == "/v1/nonsense":
        return {"body": "no status"}
    event["body"] = len(event["body"])
    return {
        "statusCode": 200,
        "multiValueHeaders": {"Content-Type": ["application/json"], "Set-Cookie": ["a=1", "b=2"]},
        "body": json.dumps(event),
    }


class World:
    """An OpenID provider, a load balancer, and the server of its public keys."""

    def __init__(self, exits: ExitStack) -> None:
        listener = listen(0)
        self.provider = OpenIDProvider(url_of(listener))
        exits.enter_context(WebServer(self.provider.application, listener))
        self.signer = Signer()
        listener = listen(0)
        self.keys_url = url_of(listener)
        keys = {self.signer.kid: self.signer.public_key}
        exits.enter_context(WebServer(public_keys(keys), listener))
        self.openid = openid = exits.enter_context(
            closing(
                OpenIDClient(self.provider.issuer, BROWSER_CLIENT, self.provider.browser_secret)
            )
        )
        self.log: list[str] = []
        self.load_balancer = exits.enter_context(
            LoadBalancer(
                listen(0),
                invoke=show_event,
                target_groups=GROUPS,
                browser_rule=BrowserRule(
                    openid, self.signer, now=time.time, cookie_name="BylineSession"
                ),
                bearer_rule=BearerRule(openid),
                log=self.log.append,
            )
        )
        self.url = self.load_balancer.url

    def token(self, client: str = "nightly-train") -> str:
        """An access token of an application."""
        answer = httpx.post(
            f"{self.provider.issuer}/token",
            data={"grant_type": "client_credentials"},
            auth=(client, f"{client}-secret"),
        )
        return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The servers, running."""
    with ExitStack() as exits:
        yield World(exits)


@pytest.fixture
def browser(world: World) -> Iterator[httpx.Client]:
    """A browser without a session."""
    with httpx.Client(base_url=world.url, headers={"accept": "text/html"}) as client:
        yield client


def sign_in(browser: httpx.Client, path: str = "/v1/whoami", person: str = ADA.subject) -> Any:
    """The answer to the browser's first request, after it signed in as `person`."""
    page = browser.get(path, follow_redirects=True, headers={"accept": "text/html"})
    assert "Ada Lovelace" in page.text
    return browser.post(page.url, data={"person": person}, follow_redirects=True)


def headers_of(answer: httpx.Response) -> dict[str, list[str]]:
    """The headers that the function received."""
    headers: dict[str, list[str]] = answer.json()["multiValueHeaders"]
    return headers


def test_browser_returns_to_its_first_address_after_signing_in(
    browser: httpx.Client, world: World
) -> None:
    """After the sign-in the function gets the first request, with its query and an identity."""
    answer = sign_in(browser, "/v1/whoami?a=1&a=%20")
    assert str(answer.url) == f"{world.url}/v1/whoami?a=1&a=%20"
    event = answer.json()
    assert event["requestContext"]["elb"]["targetGroupArn"] == TargetGroups.arn(GROUPS.browser)
    assert event["multiValueHeaders"]["x-amzn-oidc-identity"] == [ADA.subject]
    assert len(event["multiValueHeaders"]["x-amzn-oidc-accesstoken"]) == 1


def test_identity_token_passes_the_verification(browser: httpx.Client, world: World) -> None:
    """The product's verification accepts the identity token with the published key."""
    event = sign_in(browser).json()
    settings = IdentitySettings.from_environment(
        {
            "LOAD_BALANCER_ARNS": ARN,
            "OIDC_ISSUER": world.provider.issuer,
            "OIDC_CLIENT_ID": BROWSER_CLIENT,
            "BROWSER_TARGET_GROUP": GROUPS.browser,
            "ALB_PUBLIC_KEYS_URL": world.keys_url,
        }
    )
    caller = Identity(settings).identify(event)
    assert caller is not None
    assert (caller.subject, caller.given_name, caller.email) == (
        ADA.subject,
        "Ada",
        "ada@example.com",
    )


def test_identity_token_has_the_header_and_padding_of_aws(
    browser: httpx.Client, world: World
) -> None:
    """The token has the header that AWS documents, expires in two minutes, and ends with `=`."""
    token = headers_of(sign_in(browser))["x-amzn-oidc-data"][0]
    header = jwt.get_unverified_header(token)
    expiry = header.pop("exp")
    assert header == {
        "typ": "JWT",
        "kid": world.signer.kid,
        "alg": "ES256",
        "iss": world.provider.issuer,
        "client": BROWSER_CLIENT,
        "signer": ARN,
    }
    assert 110 < expiry - time.time() <= 120
    assert token.endswith("==")


def test_session_cookie_is_opaque_and_not_readable_by_scripts(browser: httpx.Client) -> None:
    """The session cookie is HttpOnly and SameSite, and does not contain the subject."""
    page = browser.get("/v1/whoami", follow_redirects=True)
    callback = browser.post(page.url, data={"person": ADA.subject}).headers["location"]
    cookies = browser.get(callback).headers.get_list("set-cookie")
    [session] = [cookie for cookie in cookies if cookie.startswith(SESSION_COOKIE)]
    assert "HttpOnly" in session
    assert "SameSite=Lax" in session
    assert ADA.subject not in session


def test_two_browsers_have_separate_sessions(world: World, browser: httpx.Client) -> None:
    """A second request needs no sign-in, and another browser can be another person."""
    sign_in(browser)
    assert headers_of(browser.get("/v1/whoami"))["x-amzn-oidc-identity"] == [ADA.subject]
    with httpx.Client(base_url=world.url) as other:
        sign_in(other, person=GRACE.subject)
        assert headers_of(other.get("/v1/whoami"))["x-amzn-oidc-identity"] == [GRACE.subject]
    assert headers_of(browser.get("/v1/whoami"))["x-amzn-oidc-identity"] == [ADA.subject]


def test_unknown_session_cookie_is_redirected_to_sign_in(world: World) -> None:
    """The load balancer ignores a session cookie that it did not issue."""
    answer = httpx.get(
        f"{world.url}/v1/whoami",
        cookies={SESSION_COOKIE: "invented"},
        headers={"accept": "text/html"},
    )
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{world.provider.issuer}/authorize?")


REQUESTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", "/v1/whoami", {"accept": "text/html,*/*;q=0.8"}),
    ("GET", "/v1/whoami", {"accept": "TEXT/HTML"}),
    ("GET", "/v1/whoami", {"accept": "application/json"}),
    ("GET", "/v1/whoami", {"accept": "application/json, text/html"}),
    ("GET", "/v1/whoami", {"accept": "*/*"}),
    ("HEAD", "/v1/whoami", {"accept": "text/html"}),
    ("POST", "/v1/projects/a/runs", {"accept": "text/html"}),
    ("PUT", "/v1/projects/a/runners/b", {"accept": "text/html"}),
    ("DELETE", "/v1/projects/a/runners/b", {"accept": "text/html"}),
    ("GET", "/logout", {"accept": "text/html"}),
    ("GET", "/logout", {"accept": "*/*"}),
    ("GET", "/logout/x", {"accept": "text/html"}),
    ("GET", "/v2/whoami", {"accept": "text/html"}),
)
STATUS_BY_RULE = {"BrowserRule": 302, "SessionRule": 401, "LogoutRule": 200, None: 404}


@pytest.mark.parametrize(("method", "path", "headers"), REQUESTS)
def test_request_without_a_session_is_answered_by_the_rule_of_the_template(
    world: World, method: str, path: str, headers: dict[str, str]
) -> None:
    """A page is led to the sign-in, another request gets 401, and `/logout` reaches the function,
    each as the conditions of the template say."""
    answer = httpx.request(method, f"{world.url}{path}", headers=headers)
    assert answer.status_code == STATUS_BY_RULE[rule_of(method, path, headers)]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_request_with_a_session_reaches_the_function_whatever_it_accepts(
    browser: httpx.Client, method: str
) -> None:
    """A script of a signed-in browser needs no other session than its page."""
    sign_in(browser)
    answer = browser.request(method, "/v1/whoami", headers={"accept": "application/json"})
    assert answer.json()["multiValueHeaders"]["x-amzn-oidc-identity"] == [ADA.subject]


def test_callback_of_another_browser_is_refused(world: World, browser: httpx.Client) -> None:
    """A callback link signs in only the browser that started it (RFC 6749, section 10.12)."""
    page = browser.get("/v1/whoami", follow_redirects=True)
    callback = browser.post(page.url, data={"person": ADA.subject}).headers["location"]
    assert httpx.get(callback).status_code == 401
    stale = httpx.get(callback, cookies={NONCE_COOKIE: "another"})
    assert stale.status_code == 401
    assert browser.get(callback).status_code == 302


def test_identity_headers_of_a_signed_in_client_are_replaced(browser: httpx.Client) -> None:
    """On the browser rule, the function gets the load balancer's identity headers only."""
    sign_in(browser)
    forged = [
        ("X-Amzn-Oidc-Data", "forged"),
        ("x-amzn-oidc-identity", "somebody"),
        ("x-other", "1"),
    ]
    headers = headers_of(browser.get("/v1/whoami", headers=forged))
    assert headers["x-amzn-oidc-identity"] == [ADA.subject]
    assert len(headers["x-amzn-oidc-data"]) == 1
    assert headers["x-amzn-oidc-data"] != ["forged"]
    assert headers["x-other"] == ["1"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_valid_bearer_token_is_forwarded_unchanged(world: World, scheme: str) -> None:
    """The function gets the same `Authorization` header, and no identity header."""
    value = f"{scheme} {world.token()}"
    answer = httpx.get(f"{world.url}/v1/whoami", headers={"authorization": value})
    event = answer.json()
    assert event["requestContext"]["elb"]["targetGroupArn"] == TargetGroups.arn(GROUPS.bearer)
    assert event["multiValueHeaders"]["authorization"] == [value]
    assert not any(name.startswith("x-amzn-oidc") for name in event["multiValueHeaders"])


def test_identity_header_passes_the_bearer_rule(world: World) -> None:
    """On the Bearer rule a forged identity header reaches the function: the worst case."""
    headers = {"authorization": f"Bearer {world.token()}", "x-amzn-oidc-data": "forged"}
    answer = httpx.get(f"{world.url}/v1/whoami", headers=headers)
    assert headers_of(answer)["x-amzn-oidc-data"] == ["forged"]


def test_token_for_another_audience_passes_the_bearer_rule(world: World) -> None:
    """The rule does not check the audience, as `jwt-validation` of AWS; the function does."""
    headers = {"authorization": f"Bearer {world.token('warehouse')}"}
    assert httpx.get(f"{world.url}/v1/whoami", headers=headers).status_code == 200


def spoilt_tokens(world: World) -> dict[str, str]:
    """Invalid tokens, each with one fault, by the fault."""
    claims = {"iss": world.provider.issuer, "sub": "x", "exp": int(time.time()) + 60}
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    genuine = world.provider.signing_key.as_pem(private=True)
    kid = {"kid": world.provider.signing_key.kid}

    def signed(changes: dict[str, Any], key: Any = genuine) -> str:
        return jwt.encode({**claims, **changes}, key, algorithm="RS256", headers=kid)

    return {
        "not a token": "x.y.z",
        "another key": signed({}, stranger),
        "another issuer": signed({"iss": "https://issuer.example.com"}),
        "expired": signed({"exp": int(time.time()) - 1}),
        "without expiry": jwt.encode(
            {"iss": claims["iss"]}, genuine, algorithm="RS256", headers=kid
        ),
        "not yet valid": signed({"nbf": int(time.time()) + 60}),
        "issued in the future": signed({"iat": int(time.time()) + 60}),
        "another algorithm": jwt.encode(claims, genuine, algorithm="PS256", headers=kid),
        "no algorithm": jwt.encode(claims, "", algorithm="none", headers=kid),
    }


@pytest.mark.parametrize(
    "fault",
    [
        "not a token",
        "another key",
        "another issuer",
        "expired",
        "without expiry",
        "not yet valid",
        "issued in the future",
        "another algorithm",
        "no algorithm",
    ],
)
def test_spoilt_bearer_token_is_refused(world: World, fault: str) -> None:
    """The Bearer rule refuses an invalid token, and its answer does not contain the token."""
    token = spoilt_tokens(world)[fault]
    answer = httpx.get(f"{world.url}/v1/whoami", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert token.split(".")[1] not in answer.text


@pytest.mark.parametrize("token", ["not-a-token", "e30.e30."])
def test_rule_without_validation_forwards_every_bearer_token(world: World, token: str) -> None:
    """Without `jwt-validation`, forged tokens reach the function's Bearer target group."""
    no_session = BrowserRule(world.openid, world.signer, now=time.time, cookie_name="BylineSession")
    listener = listen(0)
    load_balancer = LoadBalancer(
        listener,
        invoke=show_event,
        target_groups=GROUPS,
        browser_rule=no_session,
        bearer_rule=ForwardRule(),
    )
    with load_balancer:
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.get(f"{load_balancer.url}/v1/whoami", headers=headers)
    event = answer.json()
    assert event["requestContext"]["elb"]["targetGroupArn"] == TargetGroups.arn(GROUPS.bearer)
    assert headers_of(answer)["authorization"] == [headers["authorization"]]


def test_health_check_needs_no_identity(world: World) -> None:
    """A health check without a credential reaches the function."""
    assert httpx.get(f"{world.url}/healthz").status_code == 200


def test_path_without_a_rule_is_not_found(world: World) -> None:
    """A request for a path without a rule gets 404 and does not reach the function."""
    assert httpx.get(f"{world.url}/v2/whoami").status_code == 404


def test_repeated_header_reaches_the_function_with_all_values(world: World) -> None:
    """The function gets each value of a repeated header on its own, not joined by a comma."""
    bearer = f"Bearer {world.token()}"
    headers = [("authorization", bearer), ("Authorization", "Bearer other"), ("x-a", "1")]
    answer = httpx.get(f"{world.url}/v1/whoami", headers=headers)
    assert headers_of(answer)["authorization"] == [bearer, "Bearer other"]


def test_forwarding_headers_have_the_clients_address(world: World) -> None:
    """The load balancer appends the client's address to `X-Forwarded-For`."""
    headers = {"authorization": f"Bearer {world.token()}", "x-forwarded-for": "192.0.2.1"}
    given = headers_of(httpx.get(f"{world.url}/v1/whoami", headers=headers))
    assert given["x-forwarded-for"] == ["192.0.2.1, 127.0.0.1"]
    assert given["x-forwarded-proto"] == ["http"]
    assert given["x-amzn-trace-id"][0].startswith("Root=1-")


def test_every_value_of_an_answers_header_reaches_the_client(world: World) -> None:
    """The client gets both cookies that the function sets."""
    answer = httpx.get(f"{world.url}/healthz")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


def post(world: World, content: Any) -> httpx.Response:
    """The answer to a POST with this body."""
    headers = {"authorization": f"Bearer {world.token()}", "content-type": "text/plain"}
    return httpx.post(f"{world.url}/v1/whoami", content=content, headers=headers)


def test_body_of_one_megabyte_passes_and_the_next_byte_does_not(world: World) -> None:
    """A body of one megabyte reaches the function, and one byte more gets 413."""
    assert post(world, b"x" * MEGABYTE).json()["body"] == MEGABYTE
    assert post(world, b"x" * (MEGABYTE + 1)).status_code == 413


def test_chunked_body_is_joined_and_has_the_same_limit(world: World) -> None:
    """The function gets a chunked body in one piece, and the limit applies to all of it."""
    assert post(world, iter([b"ab", b"c"])).json()["body"] == 3
    assert post(world, iter([b"x" * MEGABYTE, b"x"])).status_code == 413


@pytest.mark.parametrize("path", ["/v1/raise", "/v1/nonsense"])
def test_failed_function_or_malformed_answer_is_a_bad_gateway(world: World, path: str) -> None:
    """The client gets 502, without the text of the error."""
    headers = {"authorization": f"Bearer {world.token()}"}
    answer = httpx.get(f"{world.url}{path}", headers=headers)
    assert answer.status_code == 502
    assert "left" not in answer.text


def test_trace_is_not_allowed(world: World) -> None:
    """TRACE gets 405, because its answer would show the session cookie to a script."""
    assert httpx.request("TRACE", f"{world.url}/healthz").status_code == 405


def test_client_that_disconnects_causes_no_error_output(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A closed connection prints no traceback, and the next request is answered."""
    host, _, port = world.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"POST /healthz HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 9\r\n\r\n"
        connection.sendall(head.encode())
        time.sleep(0.1)
        reset = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    time.sleep(0.2)
    assert httpx.get(f"{world.url}/healthz").status_code == 200
    assert capsys.readouterr().err == ""


def test_log_has_a_line_for_each_request_without_its_query(
    browser: httpx.Client, world: World
) -> None:
    """The log has no query, because a query can contain an authorization code."""
    sign_in(browser)
    assert any("GET /oauth2/idpresponse 302 sign-in" in line for line in world.log)
    assert not any("code=" in line for line in world.log)


def test_unknown_key_id_is_not_found(world: World) -> None:
    """A known key id gets a PEM, and an unknown one 404."""
    assert httpx.get(f"{world.keys_url}/{world.signer.kid}").text.startswith("-----BEGIN PUBLIC")
    assert httpx.get(f"{world.keys_url}/another").status_code == 404
