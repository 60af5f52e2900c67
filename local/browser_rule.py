"""The listener rules for browsers: `authenticate-oidc`, then forward.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
Without a session, a page is redirected to the sign-in (`BrowserRule` of the template, `ConsoleRule`
of console.yaml), and any other request gets 401 (`SessionRule`).
"""

import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from threading import Lock
from urllib.parse import parse_qs

from local.load_balancer_events import Reply, Request, plain
from local.load_balancer_signing import Signer
from local.openid_client import OpenIDClient, ProviderFailed, SignedIn

CALLBACK = "/oauth2/idpresponse"
NONCE_COOKIE = "AWSALBAuthNonce"
COOKIE_ATTRIBUTES = "Path=/; HttpOnly; SameSite=Lax"
"""Without `Secure`, which the real cookie has, because loopback uses http."""


class BrowserRule:
    """Signs people in at `openid`, and names them to the function in tokens of `signer`.

    `cookie_name`: the template's `SessionCookieName`. Unlike AWS's, a session is one cookie, which
    names a session that this object keeps.
    """

    def __init__(
        self,
        openid: OpenIDClient,
        signer: Signer,
        *,
        now: Callable[[], float],
        cookie_name: str,
    ) -> None:
        self._openid = openid
        self._signer = signer
        self._now = now
        self._cookie = f"{cookie_name}-0"
        self._lock = Lock()
        self._sessions: dict[str, SignedIn] = {}
        self._under_way: dict[str, str] = {}
        """The URL that the browser asked for, by `state`."""

    def apply(self, request: Request) -> Request | Reply:
        """The request to forward, or the reply to send instead."""
        return self._apply(request, may_sign_in=is_page(request))

    def apply_to_console(self, request: Request) -> Request | Reply:
        """The same by the rule of the console, which signs in whatever the request accepts."""
        return self._apply(request, may_sign_in=True)

    def _apply(self, request: Request, *, may_sign_in: bool) -> Request | Reply:
        try:
            if request.path == CALLBACK:
                return self._finish_sign_in(request)
            session = self._sessions.get(_cookies(request).get(self._cookie, ""))
            if session:
                return self._identified(request, session)
            if may_sign_in:
                return self._start_sign_in(request)
            return plain(HTTPStatus.UNAUTHORIZED)
        except ProviderFailed as failure:
            return plain(HTTPStatus.INTERNAL_SERVER_ERROR, str(failure))

    def _identified(self, request: Request, session: SignedIn) -> Request:
        token = self._signer.sign(
            session.userinfo,
            issuer=self._openid.issuer,
            client=self._openid.client_id,
            now=self._now(),
        )
        # Headers of these names that the client sent are replaced.
        return request.with_headers(
            x_amzn_oidc_data=token,
            x_amzn_oidc_identity=session.userinfo["sub"],
            x_amzn_oidc_accesstoken=session.access_token,
        )

    def _start_sign_in(self, request: Request) -> Reply:
        state = secrets.token_urlsafe(24)
        target = f"{_origin(request)}{request.path}{'?' if request.query else ''}{request.query}"
        location = self._openid.sign_in_url(
            redirect_uri=f"{_origin(request)}{CALLBACK}", state=state
        )
        with self._lock:
            self._under_way[state] = target
        # The browser that returns must be the browser that left (RFC 6749, section 10.12).
        return _redirect(location, f"{NONCE_COOKIE}={state}; {COOKIE_ATTRIBUTES}")

    def _finish_sign_in(self, request: Request) -> Reply:
        query = parse_qs(request.query)
        state = query.get("state", [""])[0]
        if not state or _cookies(request).get(NONCE_COOKIE) != state:
            return plain(HTTPStatus.UNAUTHORIZED, "the sign-in was not started by this browser")
        with self._lock:
            target = self._under_way.pop(state, None)
        if target is None or "code" not in query:
            return plain(HTTPStatus.UNAUTHORIZED, "the sign-in has expired")
        signed_in = self._openid.sign_in(
            query["code"][0], redirect_uri=f"{_origin(request)}{CALLBACK}"
        )
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[session] = signed_in
        return _redirect(
            target,
            f"{self._cookie}={session}; {COOKIE_ATTRIBUTES}",
            f"{NONCE_COOKIE}=; Max-Age=0; {COOKIE_ATTRIBUTES}",
        )


def is_page(request: Request) -> bool:
    """Whether the request meets the conditions of `BrowserRule`: GET, and HTML is preferred."""
    accepted = [value.lower() for value in request.values("accept")]
    return request.method == "GET" and any(value.startswith("text/html") for value in accepted)


def _redirect(location: str, *cookies: str) -> Reply:
    headers = [("location", location), ("cache-control", "no-store")]
    headers += [("set-cookie", cookie) for cookie in cookies]
    return Reply(HTTPStatus.FOUND, tuple(headers))


def _origin(request: Request) -> str:
    return f"http://{request.values('host')[0]}"


def _cookies(request: Request) -> dict[str, str]:
    try:
        jar = SimpleCookie("; ".join(request.values("cookie")))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}
