"""`byline logout`: the end of a sign-in."""

import typer

from byline_client.cli.session import session_of
from byline_client.cli.terminal import say
from byline_client.discovery import http_client
from byline_client.errors import ClientError, Misused, ServiceUnavailable
from byline_client.oauth import revoke
from byline_client.settings import SignInProfile, SignInProfiles, config_folder
from byline_client.token_store import StoredTokens, open_store

EXAMPLES = ("byline logout", "byline --profile work logout")


def command(ctx: typer.Context) -> None:
    """Revoke the refresh token of a profile at its issuer, and forget the profile."""
    session = session_of(ctx)
    folder = config_folder(session.environ)
    profiles = SignInProfiles(folder)
    profile = profiles.get(session.profile_name)
    if profile is None:
        raise Misused("You are not signed in, so there is nothing to forget.")
    store = open_store(profile.store, folder)
    try:
        tokens = store.read(profile.name)
    except ClientError:
        tokens = None  # damaged tokens are deleted too
    is_revoked = _revoked(profile, tokens)
    store.forget(profile.name)
    profiles.remove(profile.name)
    say(f"Signed out of {profile.url}.")
    if not is_revoked:
        raise ServiceUnavailable(
            f"{profile.issuer} did not confirm that the refresh token is revoked. It is deleted"
            " on this machine."
        )


def _revoked(profile: SignInProfile, tokens: StoredTokens | None) -> bool:
    """Whether the issuer revoked the refresh token, or there is none that it could revoke."""
    if tokens is None or tokens.refresh_token is None or not profile.revocation_endpoint:
        return True
    with http_client() as http:
        return revoke(profile.revocation_endpoint, tokens.refresh_token, profile.client_id, http)
