"""A load balancer's calls of an OpenID provider, whose endpoints it finds by discovery."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import httpx

SCOPE = "openid profile email"
TIMEOUT_SECONDS = 5.0


class ProviderFailed(Exception):
    """The provider is unreachable, or its answer unusable. The message names the endpoint."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The signed-in person. The `repr` has no token."""

    userinfo: Mapping[str, Any]
    access_token: str = field(repr=False)


class OpenIDClient:
    """The client `client_id` at `issuer`."""

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self._secret = client_secret
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @cached_property
    def discovery(self) -> Mapping[str, Any]:
        """The discovery document (OpenID Connect Discovery 1.0). Raises `ProviderFailed`."""
        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self._ask("GET", url)
        if document.get("issuer") != self.issuer:
            raise ProviderFailed("the discovery document names another issuer")
        return document

    def sign_in_url(self, *, redirect_uri: str, state: str) -> str:
        """The URL at which a browser signs in. Raises `ProviderFailed`."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": SCOPE,
            "state": state,
        }
        endpoint = str(self.discovery["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def sign_in(self, code: str, *, redirect_uri: str) -> SignedIn:
        """Exchange `code` for a token, and the token for claims. Raises `ProviderFailed`."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        methods = self.discovery.get("token_endpoint_auth_methods_supported")
        auth: httpx.Auth | None = httpx.BasicAuth(self.client_id, self._secret)
        if methods and "client_secret_basic" not in methods:
            form |= {"client_id": self.client_id, "client_secret": self._secret}
            auth = None
        tokens = self._ask("POST", self.discovery["token_endpoint"], data=form, auth=auth)
        access_token = str(tokens.get("access_token", ""))
        userinfo = self._ask(
            "GET",
            self.discovery["userinfo_endpoint"],
            headers={"authorization": f"Bearer {access_token}"},
        )
        if not isinstance(userinfo.get("sub"), str):
            raise ProviderFailed("userinfo has no subject")
        return SignedIn(userinfo, access_token)

    def _ask(self, method: str, url: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, url, **arguments)
            document = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            # `from None`: the message may quote the code that was sent.
            raise ProviderFailed(f"{url}: {type(error).__name__}") from None
        if not isinstance(document, dict):
            raise ProviderFailed(f"{url}: not a JSON object")
        return document
