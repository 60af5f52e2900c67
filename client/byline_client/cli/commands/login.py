"""`byline login`: the sign-in of a person."""

import os
import re
import sys
import webbrowser
from typing import Annotated

import typer

from byline_client.addresses import checked_url
from byline_client.cli.session import session_of
from byline_client.cli.terminal import put, say
from byline_client.conversation import ServiceCall
from byline_client.credentials.cached import CachedTokens
from byline_client.discovery import endpoints_of, http_client, sign_in_issuer
from byline_client.documents import text_of
from byline_client.errors import ClientError, Misused
from byline_client.service import Service
from byline_client.settings import DEFAULT_PROFILE, SignInProfile, SignInProfiles, config_folder
from byline_client.sign_in import sign_in_on_device, sign_in_with_browser
from byline_client.token_store import StoredTokens, keep_in_best_store

EXAMPLES = (
    "byline login https://byline.example.com",
    "byline login https://byline.example.com --device --name work",
)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def command(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="The service. Default: that of the profile.")] = "",
    name: Annotated[str, typer.Option(help="The name of the profile to make or replace.")] = "",
    device: Annotated[
        bool, typer.Option("--device", help="Approve a code in a browser on any device.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser", help="Sign in with a browser on this machine.")
    ] = False,
) -> None:
    """Sign in to a service, and keep the sign-in as a profile."""
    session = session_of(ctx)
    if device and browser:
        raise Misused("--device and --browser exclude each other.")
    profile_name = name or session.profile_name or DEFAULT_PROFILE
    if not _NAME.fullmatch(profile_name):
        raise Misused("The name of a profile has lower-case letters, digits and hyphens.")
    address = checked_url(url, name="URL") if url else session.settings.url
    with http_client() as http:
        issuer = sign_in_issuer(address, http)
        endpoints = endpoints_of(issuer.issuer, http)
        on_device = device or not (browser or _has_browser())
        if on_device and not endpoints.device:
            if device or not endpoints.authorization:
                raise ClientError(f"{issuer.issuer} offers no sign-in by a code.")
            on_device = False
        if on_device:
            granted = sign_in_on_device(issuer, endpoints, http, say=say)
        else:
            granted = sign_in_with_browser(issuer, endpoints, http, open_page=_open_page)
    tokens = CachedTokens(lambda: (granted.access_token, granted.expires_at))
    with Service(address, tokens) as service:
        caller = service.ask(ServiceCall("GET", "/v1/whoami"))
    folder = config_folder(session.environ)
    stored = StoredTokens(granted.access_token, granted.refresh_token, granted.expires_at)
    store = keep_in_best_store(profile_name, stored, folder, session.environ)
    profile = SignInProfile(
        name=profile_name,
        url=address,
        issuer=issuer.issuer,
        client_id=issuer.client_id,
        token_endpoint=endpoints.token,
        revocation_endpoint=endpoints.revocation,
        store=store,
    )
    SignInProfiles(folder).put(profile)
    who = caller.get("who") if isinstance(caller, dict) else None
    name_of_caller = text_of(who.get("executed_by") if isinstance(who, dict) else None, "name")
    say(f"Signed in to {address} as {name_of_caller}. The tokens are in the {store}.")
    if granted.refresh_token is None:
        say("The issuer gave no refresh token, so the sign-in ends with the access token.")
    put(profile_name)


def _has_browser() -> bool:
    """Whether a browser on this machine can show the person a page."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    has_display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return sys.platform in ("darwin", "win32") or has_display or bool(os.environ.get("BROWSER"))


def _open_page(address: str) -> None:
    say(f"Open {address}")
    webbrowser.open(address)
