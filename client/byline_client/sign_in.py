"""Sign-in of a person: a code that is approved on any device, or a browser on this machine."""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from byline_client.discovery import AcceptedIssuer, Endpoints
from byline_client.documents import text_of
from byline_client.errors import ClientError, ServiceUnavailable
from byline_client.oauth import GrantedTokens, GrantRefused, request_tokens

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER_SECONDS = 5
"""The seconds that `slow_down` adds to the interval (RFC 8628, section 3.5)."""

BROWSER_SECONDS = 300
_PAGE = b"<!doctype html><title>byline</title><p>You can close this page and go back."


def sign_in_on_device(
    issuer: AcceptedIssuer,
    endpoints: Endpoints,
    http: httpx.Client,
    *,
    say: Callable[[str], None],
) -> GrantedTokens:
    """Tokens of the person who approves the code that `say` shows (RFC 8628).

    Raises `GrantRefused`, also when nobody approved it in time, and `ServiceUnavailable`.
    """
    asked = {"client_id": issuer.client_id, "scope": issuer.scope, "audience": issuer.audience}
    try:
        answer = http.post(endpoints.device, data=asked)
        codes = answer.json() if answer.status_code == 200 else {}
    except (httpx.HTTPError, ValueError):
        codes = {}
    device_code, user_code = text_of(codes, "device_code"), text_of(codes, "user_code")
    page = text_of(codes, "verification_uri")
    if not (device_code and user_code and page):
        raise ServiceUnavailable(f"{endpoints.issuer} gave no code for this device.")
    complete = text_of(codes, "verification_uri_complete") or page
    say(f"Open {complete}\nand compare the code {user_code}. Waiting for your approval …")
    interval = max(1.0, _seconds(codes.get("interval"), default=5.0))
    deadline = time.monotonic() + _seconds(codes.get("expires_in"), default=300.0)
    form = {
        "grant_type": DEVICE_GRANT,
        "device_code": device_code,
        "client_id": issuer.client_id,
    }
    while time.monotonic() < deadline:
        time.sleep(interval)
        try:
            return request_tokens(endpoints.token, form, http)
        except GrantRefused as refused:
            if refused.code == "slow_down":
                interval += SLOWER_SECONDS
            elif refused.code != "authorization_pending":
                raise
        except ServiceUnavailable:
            interval *= 2  # a timeout asks for less load (RFC 8628, section 3.5)
    raise GrantRefused(endpoints.issuer, "expired_token")


def sign_in_with_browser(
    issuer: AcceptedIssuer,
    endpoints: Endpoints,
    http: httpx.Client,
    *,
    open_page: Callable[[str], None],
) -> GrantedTokens:
    """Tokens of the person who signs in with a browser of this machine (RFC 8252, RFC 7636).

    `open_page` is called with the address of the sign-in page. Raises `ClientError`.
    """
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    digest = hashlib.sha256(verifier.encode()).digest()
    answers: list[dict[str, list[str]]] = []

    class Callback(BaseHTTPRequestHandler):
        timeout = 5  # for a connection that sends nothing

        def do_GET(self) -> None:
            """Take the answer of the issuer."""
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            # Only the browser that we sent away knows `state`.
            if parts.path != "/callback" or query.get("state") != [state]:
                self.send_error(404)
                return
            answers.append(query)
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(_PAGE)))
            self.end_headers()
            self.wfile.write(_PAGE)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
            """Log nothing: the path has the code."""

    with HTTPServer(("127.0.0.1", 0), Callback) as server:
        redirect = f"http://127.0.0.1:{server.server_port}/callback"
        query = {
            "response_type": "code",
            "client_id": issuer.client_id,
            "redirect_uri": redirect,
            "scope": issuer.scope,
            "audience": issuer.audience,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in endpoints.authorization else "?"
        open_page(f"{endpoints.authorization}{joint}{urlencode(query)}")
        deadline = time.monotonic() + BROWSER_SECONDS
        while not answers and time.monotonic() < deadline:
            server.timeout = max(0.1, deadline - time.monotonic())
            server.handle_request()
    if not answers:
        raise ClientError("Nobody signed in within five minutes.")
    [answer] = answers
    if "code" not in answer:
        raise GrantRefused(endpoints.issuer, answer.get("error", ["no_code"])[0])
    # RFC 9207: a code of another issuer must not be sent to this one.
    if answer.get("iss", [endpoints.issuer]) != [endpoints.issuer]:
        raise GrantRefused(endpoints.issuer, "wrong_issuer")
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"][0],
        "redirect_uri": redirect,
        "client_id": issuer.client_id,
        "code_verifier": verifier,
    }
    return request_tokens(endpoints.token, form, http)


def _seconds(value: object, *, default: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and value > 0 else default  # type: ignore[arg-type, operator]
