"""The people and clients of the local OpenID provider, and the codes and tokens that it issued."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Literal
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oidc.core import AuthorizationCodeMixin, UserInfo
from joserfc.jwk import RSAKey

AuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]
GrantType = Literal[
    "authorization_code",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:token-exchange",
]

EXCHANGE: GrantType = "urn:ietf:params:oauth:grant-type:token-exchange"
"""The grant of RFC 8693, by which an agent gets a token to act for a person."""

SCOPES = ("openid", "profile", "email", "offline_access")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Person:
    """A person who can sign in."""

    subject: str
    given_name: str
    family_name: str
    email: str

    @property
    def name(self) -> str:
        """The full name."""
        return f"{self.given_name} {self.family_name}"

    def get_user_id(self) -> str:
        return self.subject

    def userinfo(self, scope: str) -> UserInfo:
        """The claims that `scope` gives (OpenID Connect Core 1.0, section 5.4)."""
        claims = UserInfo(
            sub=self.subject,
            name=self.name,
            given_name=self.given_name,
            family_name=self.family_name,
            preferred_username=self.email.partition("@")[0],
            email=self.email,
            email_verified=True,
        )
        return claims.filter(scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient(ClientMixin):
    """An OAuth client (RFC 6749, section 2). Authlib calls its `get_…` and `check_…` methods.

    `redirect_path`: the path of its redirect URI, on any port of loopback (RFC 8252, section 7.3).
    `public_key`: verifies the client's assertions, if it signs them (`private_key_jwt`).
    `lifetime_seconds`: the lifetime of its access tokens; None for the provider's default.
    """

    client_id: str
    grant: GrantType
    more_grants: tuple[str, ...] = ()
    auth_methods: tuple[AuthMethod, ...]
    audience: str
    secret: str = field(default="", repr=False)
    redirect_path: str = ""
    public_key: RSAKey | None = field(default=None, repr=False)
    lifetime_seconds: int | None = None

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: Collection[str] | str) -> str:
        asked = scope.split() if isinstance(scope, str) else scope or ()
        return " ".join(part for part in asked if part in SCOPES)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        parts = urlsplit(redirect_uri)
        return (
            bool(self.redirect_path)
            and (parts.scheme, parts.path) == ("http", self.redirect_path)
            and parts.hostname in LOOPBACK
            and not parts.query
            and not parts.fragment
        )

    def check_client_secret(self, client_secret: str) -> bool:
        return bool(self.secret) and compare_digest(
            self.secret.encode(), client_secret.encode("utf-8", "surrogatepass")
        )

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in self.auth_methods

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and self.grant == "authorization_code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in (self.grant, *self.more_grants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Code(AuthorizationCodeMixin):
    """An issued authorization code (RFC 6749, section 4.1.2)."""

    text: str = field(repr=False)
    client_id: str
    person: Person
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    signed_in_at: int

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.signed_in_at


@dataclass(slots=True, kw_only=True)
class IssuedToken(TokenMixin):
    """An issued access token, as userinfo and revocation need it."""

    client: OAuthClient
    person: Person | None
    scope: str
    expires_at: float
    revoked: bool = False

    def check_client(self, client: OAuthClient) -> bool:
        return self.client.client_id == client.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return max(0, int(self.expires_at - time.time()))

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at

    def is_revoked(self) -> bool:
        return self.revoked

    def get_user(self) -> Person | None:
        return self.person

    def get_client(self) -> OAuthClient:
        return self.client


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """All people and clients."""

    people: Sequence[Person]
    clients: Sequence[OAuthClient]

    def person(self, subject: str) -> Person | None:
        """The person with this subject; None if there is none."""
        return next((person for person in self.people if person.subject == subject), None)

    def client(self, client_id: str) -> OAuthClient | None:
        """The client with this id; None if there is none."""
        return next((client for client in self.clients if client.client_id == client_id), None)
