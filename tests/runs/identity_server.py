"""The services around the function on AWS, on loopback: the load balancer's keys and an issuer."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.identity import alb_tokens, bearer_issuer


@dataclass(frozen=True, slots=True)
class Credential:
    """The headers that carry a credential, and the target group that it comes through."""

    headers: tuple[tuple[str, str], ...]
    group: str


@dataclass
class Web:
    """The pages of the server by path; every other path is 404. `down`: every answer is 503."""

    url: str
    pages: dict[str, bytes] = field(default_factory=dict)
    down: bool = False
    tokens: list[str] = field(default_factory=list)
    """Every token that was issued here. None of them may occur in a log or an answer."""

    def publish(self, path: str, page: Any) -> None:
        """Serve a page: bytes as they are, anything else as JSON."""
        self.pages[path] = page if isinstance(page, bytes) else json.dumps(page).encode()

    def browser(self, subject: str = "ada", **claims: Any) -> Credential:
        """The credential of a person who signed in at the load balancer."""
        return self.browser_token({}, {"sub": subject, **claims})

    def browser_token(
        self, header: Mapping[str, Any], claims: Mapping[str, Any], **signature: Any
    ) -> Credential:
        """A load balancer's token, issued now, with `header` and `claims` changed."""
        now = int(time.time())
        token = alb_tokens.mint(
            {"iss": self.url, "exp": now + 120, **header},
            {"iss": alb_tokens.ABSENT, "exp": alb_tokens.ABSENT, **claims},
            **signature,
        )
        self.tokens.append(token)
        return Credential((("x-amzn-oidc-data", token),), alb_tokens.BROWSER_GROUP)

    def bearer(self, subject: str = "ada", client: str = "web", **claims: Any) -> Credential:
        """An access token's credential, a service account's where `subject` equals `client`."""
        now = int(time.time())
        sign_in = {} if subject == client else {"auth_time": now}
        token = bearer_issuer.sign(
            {
                "iss": self.url,
                "aud": "byline",
                "sub": subject,
                "client_id": client,
                "iat": now,
                "exp": now + 300,
                **sign_in,
                **claims,
            },
            header={"alg": "RS256", "typ": "at+jwt", "kid": bearer_issuer.KID},
            key=bearer_issuer.private_key("RS256"),
            algorithm="RS256",
        ).text
        self.tokens.append(token)
        return Credential((("authorization", f"Bearer {token}"),), alb_tokens.BEARER_GROUP)

    def environment(self) -> dict[str, str]:
        """The variables of a function that trusts this load balancer and this issuer."""
        issuer = {"issuer": self.url, "audiences": ["byline"], "profile": "generic"}
        return {
            **alb_tokens.ENVIRONMENT,
            "OIDC_ISSUER": self.url,
            "TRUSTED_ISSUERS": json.dumps([issuer]),
            "ALB_PUBLIC_KEYS_URL": self.url,
            # The callers of all tests that are not about roles.
            "PROJECT_ADMINS": "ada, grace, 248289761001, application:nightly, anonymous",
        }


def shown(web: Web, subject: str, **changes: Any) -> dict[str, Any]:
    """What `who` has of a person without a name of their own."""
    nothing = dict.fromkeys(("email", "through", "link", "started_for"))
    person = {"kind": "user", "issuer": web.url, "subject": subject, "name": subject}
    return {**person, **nothing, **changes}


NO_CREDENTIAL = Credential((), alb_tokens.BROWSER_GROUP)
"""A request without a credential: an anonymous caller."""


@contextmanager
def serve_identities() -> Iterator[Web]:
    """Run the server, on a port of its own, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = web.pages.get(self.path)
            self.send_response(503 if web.down else 404 if page is None else 200)
            self.end_headers()
            self.wfile.write(b"" if web.down else page or b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web = Web(f"http://127.0.0.1:{server.server_port}")
    web.publish(f"/{alb_tokens.KID}", alb_tokens.pem(alb_tokens.signing_key()))
    web.publish(
        "/.well-known/openid-configuration",
        {"issuer": web.url, "jwks_uri": f"{web.url}/keys"},
    )
    web.publish("/keys", {"keys": [bearer_issuer.public_jwk(bearer_issuer.private_key("RS256"))]})
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
