"""The end of a browser's session at the load balancer, and of its session at the provider.

A session at the load balancer is a set of encrypted cookies. No server stores it, so it ends when
the browser drops the cookies. A copy of them stays valid until `SessionSeconds` have passed.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html#authentication-logout
"""

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec
from aws_lambda_powertools.event_handler import Response

from byline.urls import require_https
from serve_runs.calls import json_answer
from serve_runs.web.routing import Route

COOKIES = 4
"""A session has up to four cookies, of 4 KB each: 16 KB is the load balancer's limit."""

_EXPIRED = "=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly"


class SignOut(msgspec.Struct, frozen=True, kw_only=True):
    """Signs browsers out.

    `cookie_name`: the name of the session's cookies without their numbers. `next_page`: where the
    browser goes, by settings alone; empty for nowhere.
    """

    cookie_name: str
    next_page: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "SignOut":
        """The sign-out that `environ` asks for. Raises `Misconfigured`."""
        endpoint, landing_page = (
            environ.get(variable, "").strip()
            for variable in ("OIDC_END_SESSION_ENDPOINT", "OIDC_POST_LOGOUT_URI")
        )
        if endpoint:
            require_https("OIDC_END_SESSION_ENDPOINT", endpoint)
        if landing_page:
            require_https("OIDC_POST_LOGOUT_URI", landing_page)
        # The load balancer forwards no ID token, so `client_id` tells who asks.
        # https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout
        query = {"client_id": environ.get("OIDC_CLIENT_ID", "").strip()}
        if landing_page:
            query["post_logout_redirect_uri"] = landing_page
        at_provider = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
        return cls(
            # The default is AWS's own.
            cookie_name=environ.get("SESSION_COOKIE_NAME", "") or "AWSELBAuthSessionCookie",
            next_page=at_provider if endpoint else landing_page,
        )

    def routes(self) -> tuple[Route, ...]:
        """The route, which needs no caller: an expired session can be ended too."""
        return (Route("GET", "/logout", self.end_session, is_public=True, writes=True),)

    def end_session(self) -> Response[str]:
        """End the browser's session. A link on a page of this origin may lead here.

        The browser goes on to `OidcEndSessionEndpoint`, which ends the session at the provider.
        """
        if self.next_page:
            answer = Response[str](status_code=303, body="", headers={"Location": self.next_page})
        else:
            answer = json_answer(200, {"status": "signed_out"})
        # The first cookie last: answers with one value for each header keep the last one only.
        answer.headers["Set-Cookie"] = [
            f"{self.cookie_name}-{number}{_EXPIRED}" for number in reversed(range(COOKIES))
        ]
        return answer
