"""Access tokens of people and clients of the local OpenID provider."""

import httpx

from local.openid_directory import Person
from local.openid_provider import BROWSER_CLIENT
from local.stack import Stack

CALLBACK = "http://127.0.0.1/oauth2/idpresponse"


def token_of(person: Person, stack: Stack) -> str:
    """A person's access token, by the code flow."""
    assert stack.provider is not None
    query = {
        "response_type": "code",
        "client_id": BROWSER_CLIENT,
        "redirect_uri": CALLBACK,
        "scope": "openid profile email",
    }
    answer = httpx.post(f"{stack.issuer}/authorize", params=query, data={"person": person.subject})
    code = httpx.URL(answer.headers["location"]).params["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    credentials = (BROWSER_CLIENT, stack.provider.browser_secret)
    return str(
        httpx.post(f"{stack.issuer}/token", data=form, auth=credentials).json()["access_token"]
    )


def token_of_client(client: str, stack: Stack) -> str:
    """An access token of a machine client."""
    answer = httpx.post(
        f"{stack.issuer}/token",
        data={"grant_type": "client_credentials"},
        auth=(client, f"{client}-secret"),
    )
    return str(answer.json()["access_token"])
