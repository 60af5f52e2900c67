"""Where to sign in to a service: its metadata (RFC 9728), then those of the issuer (RFC 8414)."""

from dataclasses import dataclass
from typing import Any

import httpx

from byline_client.addresses import checked_url
from byline_client.documents import text_of
from byline_client.errors import ClientError, Misused, ServiceUnavailable
from byline_client.version import VERSION

TIMEOUT_SECONDS = 10.0
METADATA = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True)
class AcceptedIssuer:
    """An issuer whose tokens the service accepts. Without a sign-in it has no `client_id`."""

    issuer: str
    profile: str
    audience: str
    client_id: str
    scope: str


@dataclass(frozen=True)
class Endpoints:
    """The endpoints of an issuer. An empty one is not offered."""

    issuer: str
    token: str
    authorization: str
    device: str
    revocation: str


def http_client() -> httpx.Client:
    """A client for metadata and OAuth endpoints. It follows no redirect."""
    headers = {"user-agent": f"byline-client/{VERSION}", "accept": "application/json"}
    return httpx.Client(timeout=TIMEOUT_SECONDS, headers=headers, follow_redirects=False)


def accepted_issuers(url: str, http: httpx.Client) -> list[AcceptedIssuer]:
    """The issuers of the service at `url`. Raises `ClientError`."""
    document = read_document(url + METADATA, http)
    # RFC 9728, section 3.3: another service's metadata could lead to another issuer.
    if str(document.get("resource", "")).rstrip("/") != url:
        raise ServiceUnavailable(
            f"The metadata at {url} are for another address. Use the service's own URL (PublicUrl)."
        )
    entries = document.get("byline_issuers")
    if not isinstance(entries, list):
        raise ServiceUnavailable(f"The metadata at {url} name no issuers. Is this Byline?")
    return [
        AcceptedIssuer(
            issuer=text_of(entry, "issuer"),
            profile=text_of(entry, "profile"),
            audience=text_of(entry, "audience"),
            client_id=text_of(entry, "cli_client_id"),
            scope=text_of(entry, "cli_scope"),
        )
        for entry in entries
        if isinstance(entry, dict)
    ]


def sign_in_issuer(url: str, http: httpx.Client) -> AcceptedIssuer:
    """The issuer at which people sign in from a terminal. Raises `ClientError`."""
    for issuer in accepted_issuers(url, http):
        if issuer.client_id:
            return issuer
    raise ClientError(
        f"{url} names no client for a sign-in from a terminal. Ask its operator to set `cli` in"
        " TrustedIssuers, or set BYLINE_TOKEN."
    )


def endpoints_of(issuer: str, http: httpx.Client) -> Endpoints:
    """The endpoints of an issuer, by OpenID Connect Discovery or RFC 8414. Raises `ClientError`."""
    base = checked_url(issuer, name="The issuer")
    try:
        document = read_document(f"{base}/.well-known/openid-configuration", http)
    except ServiceUnavailable:
        host, _, path = base.partition("://")[2].partition("/")
        scheme = base.partition("://")[0]
        well_known = f"{scheme}://{host}/.well-known/oauth-authorization-server"
        document = read_document(f"{well_known}/{path}".rstrip("/"), http)
    # RFC 8414, section 3.3: a document of another issuer must not be used.
    if str(document.get("issuer", "")).rstrip("/") != base:
        raise ServiceUnavailable(f"The metadata of {issuer} are those of another issuer.")
    return Endpoints(
        issuer=issuer,
        token=_endpoint(document, "token_endpoint"),
        authorization=_endpoint(document, "authorization_endpoint"),
        device=_endpoint(document, "device_authorization_endpoint"),
        revocation=_endpoint(document, "revocation_endpoint"),
    )


def read_document(url: str, http: httpx.Client) -> dict[str, Any]:
    """The JSON object at a URL. Raises `ServiceUnavailable`."""
    try:
        answer = http.get(url)
        document = answer.json() if answer.status_code == 200 else None
    except httpx.HTTPError as error:
        raise ServiceUnavailable(f"{url} cannot be read ({type(error).__name__}).") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ServiceUnavailable(f"{url} is no JSON document (HTTP {answer.status_code}).")
    return document


def _endpoint(document: dict[str, Any], name: str) -> str:
    url = text_of(document, name)
    if url:
        try:
            checked_url(url.partition("?")[0], name=name)
        except Misused as error:
            raise ServiceUnavailable(f"The issuer's {error}") from None
    return url
