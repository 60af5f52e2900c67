"""Minting at the OpenID provider of the local stack, which runs a maintained OAuth library."""

from collections.abc import Iterator

import httpx
import pytest

from byline.identity.unverified import UnverifiedToken
from byline.refresh.work_units import MintKey
from local.listening import WebServer, listen, url_of
from local.openid_provider import LIFETIME_SECONDS, OpenIDProvider
from refresh_tokens.errors import RefreshFailed
from tests.refresh.minting import discovered, minting, secret_of
from tests.refresh.token_issuer import RegisteredClient, TokenIssuer

KEY = MintKey.of(project="payments", client="scheduler", scope="email profile")


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIDProvider]:
    listener = listen(0)
    provider = OpenIDProvider(url_of(listener))
    with WebServer(provider.application, listener):
        yield provider


@pytest.fixture
def issuer(provider: OpenIDProvider) -> TokenIssuer:
    """The provider as an issuer."""
    return TokenIssuer(provider.issuer)


def client_of(provider: OpenIDProvider, method: str) -> RegisteredClient:
    if method == "private_key_jwt":
        key = provider.assertion_key.private_key
        assert key is not None
        return RegisteredClient("weekly-report", method, key=key)
    return RegisteredClient("nightly-train", method, "nightly-train-secret")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
def test_each_auth_method_gets_and_revokes_a_token(
    provider: OpenIDProvider, issuer: TokenIssuer, method: str
) -> None:
    """Another server accepts the requests for minting and for revoking."""
    client = discovered(issuer, client_of(provider, method))
    minted = minting().mint(KEY, client)
    assert minted.lifetime == LIFETIME_SECONDS
    assert minting().mint(KEY, client).text != minted.text
    assert minting().revoke(UnverifiedToken(minted.text), client) == "revoked"
    answer = httpx.get(
        f"{provider.issuer}/userinfo", headers={"authorization": f"Bearer {minted.text}"}
    )
    assert answer.status_code == 401


def test_wrong_secret_is_refused(provider: OpenIDProvider, issuer: TokenIssuer) -> None:
    """The server answers `invalid_client`."""
    client = client_of(provider, "client_secret_basic")
    with pytest.raises(RefreshFailed, match="invalid_client"):
        minting().mint(KEY, secret_of(issuer, client, client_secret="wrong"))
