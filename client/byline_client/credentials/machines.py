"""Tokens of machines: an OAuth client, a CI job, an AWS role."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import httpx

from byline_client.addresses import checked_url, origin_of
from byline_client.credentials.cached import CachedTokens
from byline_client.discovery import (
    AcceptedIssuer,
    accepted_issuers,
    endpoints_of,
    http_client,
)
from byline_client.documents import text_of
from byline_client.errors import ClientError, Misused, ServiceUnavailable, SignInRequired
from byline_client.oauth import request_tokens
from byline_client.private_files import read_private
from byline_client.secret_text import SecretText, checked_token
from byline_client.settings import Settings
from byline_client.tokens import unverified_expiry

MACHINES = frozenset({"github", "gitlab", "aws"})
JOB_SECONDS = 240.0
"""How long a token is used that does not say when it ends."""

AWS_SECONDS = 900


def client_credentials(settings: Settings) -> CachedTokens:
    """Tokens of an OAuth client, for BYLINE_CLIENT_ID and its secret. Raises `Misused`."""
    environ = settings.environ
    client = (_required(environ, "BYLINE_CLIENT_ID"), _client_secret(environ))

    def fetch() -> tuple[SecretText, float]:
        with http_client() as http:
            issuer = _issuer_of_clients(settings, http)
            form = {"grant_type": "client_credentials", "audience": _audience(settings, issuer)}
            if scope := environ.get("BYLINE_SCOPE"):
                form["scope"] = scope
            endpoint = endpoints_of(issuer.issuer, http).token
            granted = request_tokens(endpoint, form, http, client=client)
        return granted.access_token, granted.expires_at

    return CachedTokens(fetch)


def github_job(settings: Settings) -> CachedTokens:
    """Identity tokens of a GitHub Actions job with `id-token: write`.

    https://docs.github.com/en/actions/reference/security/oidc
    """
    url = _required(settings.environ, "ACTIONS_ID_TOKEN_REQUEST_URL")
    name = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
    bearer = checked_token(_required(settings.environ, name), source=name)
    checked_url(url.partition("?")[0], name="ACTIONS_ID_TOKEN_REQUEST_URL")

    def fetch() -> tuple[SecretText, float]:
        with http_client() as http:
            audience = _audience_of(settings, "github", http)
            joint = "&" if "?" in url else "?"
            address = f"{url}{joint}audience={quote(audience, safe='')}"
            headers = {"authorization": f"Bearer {bearer.reveal()}"}
            try:
                answer = http.get(address, headers=headers)
                document = answer.json() if answer.status_code == 200 else {}
            except (httpx.HTTPError, ValueError):
                document = {}
        if not (value := text_of(document, "value")):
            raise ServiceUnavailable(f"GitHub ({origin_of(url)}) gave the job no identity token.")
        return _with_expiry(checked_token(value, source="GitHub's answer"))

    return CachedTokens(fetch)


def gitlab_job(settings: Settings) -> CachedTokens:
    """The identity token of a GitLab job, which `id_tokens: BYLINE_ID_TOKEN` puts into a variable.

    https://docs.gitlab.com/ci/secrets/id_token_authentication
    """
    token = checked_token(settings.environ["BYLINE_ID_TOKEN"], source="BYLINE_ID_TOKEN")
    return CachedTokens(lambda: (token, float("inf")))


def aws_role(settings: Settings) -> CachedTokens:
    """Tokens that AWS signs for the role of this machine (`sts:GetWebIdentityToken`)."""
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore import exceptions  # noqa: PLC0415
    except ImportError:
        raise Misused("BYLINE_CREDENTIAL=aws needs boto3: install byline-client[aws].") from None

    def fetch() -> tuple[SecretText, float]:
        with http_client() as http:
            audience = _audience_of(settings, "aws", http)
        try:
            answer = boto3.client("sts").get_web_identity_token(
                Audience=[audience], SigningAlgorithm="RS256", DurationSeconds=AWS_SECONDS
            )
        except exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            raise SignInRequired(f"AWS gives this role no token ({code}).") from None
        except exceptions.BotoCoreError as error:
            raise SignInRequired(f"AWS gives no token ({type(error).__name__}).") from None
        return _with_expiry(checked_token(answer["WebIdentityToken"], source="the answer of AWS"))

    return CachedTokens(fetch)


def _client_secret(environ: Mapping[str, str]) -> SecretText:
    if path := environ.get("BYLINE_CLIENT_SECRET_FILE"):
        text = read_private(Path(os.fspath(path)))
        if not text or not text.strip():
            raise Misused("BYLINE_CLIENT_SECRET_FILE names a file that is missing or empty.")
        return SecretText(text.strip("\r\n"))
    return SecretText(_required(environ, "BYLINE_CLIENT_SECRET"))


def _required(environ: Mapping[str, str], name: str) -> str:
    if not (value := environ.get(name)):
        raise Misused(f"{name} is not set, but this credential needs it.")
    return value


def _issuer_of_clients(settings: Settings, http: httpx.Client) -> AcceptedIssuer:
    """The issuer that BYLINE_ISSUER names, or the service's only one for OAuth clients."""
    wanted = settings.environ.get("BYLINE_ISSUER", "")
    if wanted and settings.environ.get("BYLINE_AUDIENCE"):
        return AcceptedIssuer(wanted, "", "", "", "")
    accepted = accepted_issuers(settings.url, http)
    found = [each for each in accepted if each.profile not in MACHINES]
    if wanted:
        found = [each for each in accepted if each.issuer == wanted]
    if len(found) != 1:
        names = ", ".join(each.issuer for each in accepted) or "none"
        raise Misused(f"BYLINE_ISSUER must name the issuer of the client. Accepted: {names}.")
    return found[0]


def _audience(settings: Settings, issuer: AcceptedIssuer) -> str:
    return settings.environ.get("BYLINE_AUDIENCE") or issuer.audience


def _audience_of(settings: Settings, profile: str, http: httpx.Client) -> str:
    if audience := settings.environ.get("BYLINE_AUDIENCE"):
        return audience
    for each in accepted_issuers(settings.url, http):
        if each.profile == profile:
            return each.audience
    raise ClientError(
        f"{settings.url} does not accept tokens of {profile}. Ask its operator to add the issuer to"
        " TrustedIssuers, or set BYLINE_AUDIENCE."
    )


def _with_expiry(token: SecretText) -> tuple[SecretText, float]:
    return token, unverified_expiry(token) or time.time() + JOB_SECONDS
