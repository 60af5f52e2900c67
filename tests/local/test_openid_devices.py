"""Sign-in from a terminal at the local OpenID provider: devices, refresh tokens, revocation."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.listening import WebServer, listen, url_of
from local.openid_devices import DEVICE_CODE_GRANT_TYPE, POLL_SECONDS
from local.openid_provider import ADA, CLI_CLIENT, OpenIDProvider


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """An HTTP client of a running provider."""
    listener = listen(0)
    provider = OpenIDProvider(url_of(listener))
    with (
        WebServer(provider.application, listener),
        httpx.Client(base_url=provider.issuer) as client,
    ):
        yield client


def ask(http: httpx.Client) -> dict[str, Any]:
    """The codes of a device."""
    form = {"client_id": CLI_CLIENT, "scope": "openid offline_access"}
    codes: dict[str, Any] = http.post("/device_authorization", data=form).json()
    return codes


def poll(http: httpx.Client, codes: dict[str, Any], client: str = CLI_CLIENT) -> Any:
    """The answer of the token endpoint to a device."""
    form = {"grant_type": DEVICE_CODE_GRANT_TYPE, "device_code": codes["device_code"]}
    return http.post("/token", data={**form, "client_id": client}).json()


def signed_in(http: httpx.Client) -> dict[str, Any]:
    """The tokens of a device that Ada approved."""
    codes = ask(http)
    http.post("/device", data={"user_code": codes["user_code"], "person": ADA.subject})
    tokens: dict[str, Any] = poll(http, codes)
    return tokens


def refresh(http: httpx.Client, token: str) -> Any:
    """The answer to a refresh."""
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": CLI_CLIENT}
    return http.post("/token", data=form).json()


def test_device_waits_until_a_person_approves_it(http: httpx.Client) -> None:
    """The device gets tokens after the person chose who they are, and once only."""
    codes = ask(http)
    assert poll(http, codes)["error"] == "authorization_pending"
    page = http.get(codes["verification_uri_complete"])
    assert codes["user_code"] in page.text
    assert CLI_CLIENT in page.text
    approved = http.post("/device", data={"user_code": codes["user_code"], "person": ADA.subject})
    assert "Done" in approved.text
    tokens = poll(http, codes)
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    assert http.get("/userinfo", headers=headers).json()["sub"] == ADA.subject
    assert poll(http, codes)["error"] == "invalid_request"


def test_device_that_asks_too_often_is_slowed_down(http: httpx.Client) -> None:
    """Two polls within the interval are refused, a later one is not (RFC 8628, section 3.5)."""
    codes = ask(http)
    assert poll(http, codes)["error"] == "authorization_pending"
    assert poll(http, codes)["error"] == "slow_down"
    time.sleep(POLL_SECONDS)
    assert poll(http, codes)["error"] == "authorization_pending"


def test_refused_device_gets_nothing(http: httpx.Client) -> None:
    """A person who does not know the code refuses it."""
    codes = ask(http)
    http.post("/device", data={"user_code": codes["user_code"], "person": ""})
    assert poll(http, codes)["error"] == "access_denied"


def test_unknown_code_cannot_be_approved(http: httpx.Client) -> None:
    """A mistyped code is an error, and so is one that was answered already."""
    assert http.get("/device", params={"user_code": "AAAA-AAAA"}).status_code == 400
    codes = ask(http)
    form = {"user_code": codes["user_code"], "person": ""}
    assert http.post("/device", data=form).status_code == 200
    assert http.post("/device", data={**form, "person": ADA.subject}).status_code == 400


def test_refresh_token_works_once(http: httpx.Client) -> None:
    """Each refresh gives another refresh token, and the old one is refused."""
    first = signed_in(http)["refresh_token"]
    second = refresh(http, first)
    assert second["refresh_token"] != first
    assert refresh(http, first)["error"] == "invalid_grant"
    assert "access_token" in refresh(http, second["refresh_token"])


def test_revoked_refresh_token_is_refused(http: httpx.Client) -> None:
    """A public client revokes its refresh token without a secret (RFC 7009)."""
    token = signed_in(http)["refresh_token"]
    form = {"token": token, "token_type_hint": "refresh_token", "client_id": CLI_CLIENT}
    assert http.post("/revoke", data=form).status_code == 200
    assert refresh(http, token)["error"] == "invalid_grant"
