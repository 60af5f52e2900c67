"""The grants and tokens of the OpenID provider, on Authlib's OAuth 2.0 server.

Codes with PKCE (RFC 6749, RFC 7636), client credentials, client assertions (RFC 7523), access
tokens as JWTs (RFC 9068), refresh tokens, ID tokens and userinfo (OpenID Connect Core 1.0),
revocation (RFC 7009).
"""

import secrets
import time
from hashlib import sha256
from typing import Any

from authlib.oauth2.rfc6749.grants import (
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    RefreshTokenGrant,
)
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from joserfc.jwk import KeySet, RSAKey

from local.openid_directory import EXCHANGE, Code, Directory, IssuedToken, OAuthClient, Person

CODE_SECONDS = 60
REFRESH_SECONDS = 86_400
AUTH_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
AUTH_METHODS_AND_NONE = [*AUTH_METHODS, "none"]


class Ledger:
    """The issued codes and tokens, in memory. Access tokens are kept by their hash."""

    def __init__(self) -> None:
        self.codes: dict[str, Code] = {}
        self._tokens: dict[bytes, IssuedToken] = {}
        self._refresh_tokens: dict[bytes, IssuedToken] = {}
        self._assertions: set[tuple[str, str]] = set()

    def keep_token(self, token: dict[str, Any], request: Any) -> None:
        """Remember an issued token."""
        lifetimes = {"access_token": token["expires_in"], "refresh_token": REFRESH_SECONDS}
        for kind in lifetimes.keys() & token.keys():
            kept = self._tokens if kind == "access_token" else self._refresh_tokens
            kept[_digest(token[kind])] = IssuedToken(
                client=request.client,
                person=request.user,
                scope=token.get("scope", ""),
                expires_at=time.time() + lifetimes[kind],
            )

    def token(self, text: str) -> IssuedToken | None:
        """The issued access token with this text; None if there is none."""
        return self._tokens.get(_digest(text))

    def refresh_token(self, text: str) -> IssuedToken | None:
        """The issued refresh token with this text; None if there is none."""
        return self._refresh_tokens.get(_digest(text))

    def is_first_use(self, client_id: str, assertion_id: str) -> bool:
        """Whether an assertion is used for the first time (RFC 7523, section 3, item 7)."""
        use = (client_id, assertion_id)
        is_first = use not in self._assertions
        self._assertions.add(use)
        return is_first


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def code_grant(directory: Directory, ledger: Ledger) -> type[AuthorizationCodeGrant]:
    """The authorization code grant, by which people sign in."""

    class CodeGrant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS_AND_NONE

        def save_authorization_code(self, code: str, request: Any) -> None:
            asked = request.payload.data
            ledger.codes[code] = Code(
                text=code,
                client_id=request.client.client_id,
                person=request.user,
                redirect_uri=request.payload.redirect_uri,
                scope=request.scope or "",
                nonce=asked.get("nonce", ""),
                code_challenge=asked.get("code_challenge", ""),
                code_challenge_method=asked.get("code_challenge_method", ""),
                signed_in_at=int(time.time()),
            )

        def query_authorization_code(self, code: str, client: Any) -> Code | None:
            # Removed at the first attempt: a code is valid once, even if the attempt fails.
            given_out = ledger.codes.pop(code, None)
            if given_out is None or given_out.client_id != client.client_id:
                return None
            is_expired = time.time() >= given_out.signed_in_at + CODE_SECONDS
            return None if is_expired else given_out

        def delete_authorization_code(self, authorization_code: Code) -> None:
            ledger.codes.pop(authorization_code.text, None)

        def authenticate_user(self, authorization_code: Code) -> Person | None:
            return directory.person(authorization_code.person.subject)

    return CodeGrant


class MachineGrant(ClientCredentialsGrant):
    """The client credentials grant, by which programs get tokens."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS


def refresh_grant(ledger: Ledger) -> type[RefreshTokenGrant]:
    """The refresh grant, with a new refresh token each time (RFC 9700, section 4.14.2)."""

    class RefreshGrant(RefreshTokenGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS_AND_NONE
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token: str) -> Any:
            found = ledger.refresh_token(refresh_token)
            return None if found is None or found.revoked or found.is_expired() else found

        def authenticate_user(self, refresh_token: Any) -> Any:
            return refresh_token.person

        def revoke_old_credential(self, refresh_token: Any) -> None:
            refresh_token.revoked = True

    return RefreshGrant


class ProofKey(CodeChallenge):
    """PKCE with S256 only. Clients without a secret must use it (RFC 9700, section 2.1.1)."""

    def __init__(self) -> None:
        super().__init__(required=True)
        self.SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]
        self.DEFAULT_CODE_CHALLENGE_METHOD = "S256"


class IdToken(OpenIDCode):
    """Issues ID tokens with the access tokens of people."""

    def __init__(self, issuer: str, key: RSAKey) -> None:
        super().__init__()
        self._issuer = issuer
        self._keys = KeySet([key])

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return False  # the nonce protects the client, which compares it

    def resolve_client_private_key(self, client: OAuthClient) -> KeySet:
        return self._keys

    def get_client_claims(self, client: OAuthClient) -> dict[str, Any]:
        return {"iss": self._issuer, "aud": client.client_id}

    def generate_user_info(self, user: Person, scope: str) -> UserInfo:
        return user.userinfo(scope)


class AccessTokens(JWTBearerTokenGenerator):
    """Issues access tokens for the client's own audience."""

    def __init__(self, issuer: str, key: RSAKey, *, lifetime_seconds: int) -> None:
        super().__init__(
            issuer,
            alg="RS256",
            expires_generator=lambda client, _: client.lifetime_seconds or lifetime_seconds,
            refresh_token_generator=lambda **_: secrets.token_urlsafe(32),
        )
        self._keys = KeySet([key])

    def get_jwks(self) -> KeySet:
        return self._keys

    def get_audiences(self, client: OAuthClient, user: Person | None, scope: str) -> str:
        return client.audience

    def get_auth_time(self, user: Person | None) -> int | None:
        """A person has just signed in. A client's token has no such claim."""
        return None if user is None else int(time.time())

    def get_extra_claims(
        self, client: OAuthClient, grant_type: str, user: Person | None, scope: str
    ) -> dict[str, Any]:
        """The agent that got the token by an exchange (RFC 8693, section 4.1)."""
        return {"act": {"sub": client.client_id}} if grant_type == EXCHANGE else {}

    def get_jti(self, client: OAuthClient, grant_type: str, user: Person | None, scope: str) -> str:
        return secrets.token_hex(16)


class ClientAssertions(JWTBearerClientAssertion):
    """Authenticates clients that sign an assertion instead of sending a secret."""

    CLIENT_AUTH_METHOD = "private_key_jwt"  # type: ignore[misc] # final in the stubs alone

    def __init__(self, ledger: Ledger, audiences: list[str]) -> None:
        super().__init__()
        self._ledger = ledger
        self._audiences = audiences

    def get_audiences(self) -> list[str]:
        return self._audiences

    def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
        return self._ledger.is_first_use(claims["sub"], jti)

    def resolve_client_public_key(self, client: OAuthClient) -> KeySet:
        return KeySet([client.public_key] if client.public_key else [])


class IssuedTokens(BearerTokenValidator):
    """Checks the access tokens of userinfo requests."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def authenticate_token(self, token_string: str) -> IssuedToken | None:
        return self._ledger.token(token_string)


def revocation(ledger: Ledger) -> type[RevocationEndpoint]:
    """The endpoint at which a client revokes its own token."""

    class Revocation(RevocationEndpoint):
        CLIENT_AUTH_METHODS = AUTH_METHODS_AND_NONE

        def query_token(self, token_string: str, token_type_hint: str) -> IssuedToken | None:
            return ledger.token(token_string) or ledger.refresh_token(token_string)

        def revoke_token(self, token: IssuedToken, request: Any) -> None:
            token.revoked = True

    return Revocation
