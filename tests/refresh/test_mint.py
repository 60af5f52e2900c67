"""Minting at a real issuer on loopback: how clients prove themselves, and what is requested."""

import gzip
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from byline.fetch import Answer
from byline.identity.unverified import UnverifiedToken
from byline.refresh.work_units import MintKey
from refresh_tokens.client_secrets import ClientSecret
from refresh_tokens.errors import RefreshFailed
from refresh_tokens.minting import Mint
from tests.identity.loopback import Respond, answer, silence
from tests.refresh.issuer_troubles import hang_up
from tests.refresh.minting import (
    BASIC,
    KEY,
    LIMIT,
    POST,
    SECRET,
    SIGNING,
    SIGNING_EC,
    SIGNING_ED25519,
    discovered,
    failure_of,
    mint,
    minting,
    secret_of,
)
from tests.refresh.token_issuer import (
    RegisteredClient,
    TokenIssuer,
    certificate_of,
    pem_of,
    rsa_key,
    serve_issuer,
)


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with serve_issuer(BASIC) as running:
        yield running


# How a client proves itself


@pytest.mark.parametrize("client", [BASIC, POST, SIGNING, SIGNING_EC, SIGNING_ED25519])
@pytest.mark.parametrize("find", [secret_of, discovered])
def test_each_auth_method_gets_a_token(
    client: RegisteredClient, find: Callable[..., ClientSecret]
) -> None:
    """The issuer checks each proof, with a named endpoint and with discovery."""
    with serve_issuer(client) as issuer:
        minted = minting().mint(KEY, find(issuer, client))
    claims = jwt.decode(minted.text, options={"verify_signature": False})
    assert claims["sub"] == client.client_id
    assert minted.token_type == "Bearer"


@pytest.mark.parametrize("pinned", [BASIC, POST, SIGNING])
@pytest.mark.parametrize("registered", [BASIC, POST, SIGNING])
def test_client_uses_no_other_auth_method_than_its_own(
    pinned: RegisteredClient, registered: RegisteredClient
) -> None:
    """An issuer that wants another method refuses; nothing is negotiated."""
    with serve_issuer(registered) as issuer:
        if pinned == registered:
            minting().mint(KEY, secret_of(issuer, pinned))
            return
        assert failure_of(issuer, secret_of(issuer, pinned)).error_class == "invalid_client"
        assert len(issuer.received) == 1


@pytest.mark.parametrize("client_id", ["a:b", "a+c%20", "ümlaut/?&="])
@pytest.mark.parametrize("secret", ["p:q", "p+/q==", "$a!c*(d)%20", "geheimß&=#"])
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_id_and_secret_may_hold_any_visible_character(
    client_id: str, secret: str, method: str
) -> None:
    """RFC 6749, section 2.3.1: both are form-encoded, also before Basic."""
    client = RegisteredClient(client_id, method, secret)
    with serve_issuer(client) as issuer:
        minting().mint(KEY, secret_of(issuer, client))


def test_wrong_secret_is_an_invalid_client(issuer: TokenIssuer) -> None:
    """The error does not repeat the issuer's echo of the request."""
    failure = failure_of(issuer, secret_of(issuer, client_secret=SECRET + "x"))
    assert failure.error_class == "invalid_client"


def test_each_request_has_a_new_assertion() -> None:
    """The issuer accepts each `jti` once (RFC 7523, section 3)."""
    with serve_issuer(SIGNING) as issuer:
        client = secret_of(issuer, SIGNING)
        for _ in range(3):
            minting().mint(KEY, client)
        assert len(issuer.assertion_ids) == 3


def test_assertion_of_another_key_is_an_invalid_client() -> None:
    """The test's issuer checks signatures."""
    other = pem_of(rsa.generate_private_key(65537, 2048))
    with serve_issuer(SIGNING) as issuer:
        client = secret_of(issuer, SIGNING, private_key_pem=other)
        assert failure_of(issuer, client).error_class == "invalid_client"


def test_assertion_lives_for_a_minute_and_allows_for_a_slow_clock() -> None:
    """`exp` is 60 seconds ahead, `iat` 60 seconds back, for this endpoint and client."""
    client = secret_of(TokenIssuer("https://issuer.example.com"), SIGNING)
    proof = client.authentication.prove(audience="https://issuer.example.com/token", now=1.8e9)
    assertion = proof.form["client_assertion"]
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert len(claims.pop("jti")) >= 32
    assert claims == {
        "iss": "weekly-report",
        "sub": "weekly-report",
        "aud": "https://issuer.example.com/token",
        "iat": 1_800_000_000 - 60,
        "exp": 1_800_000_000 + 60,
    }
    assert jwt.get_unverified_header(assertion) == {"typ": "JWT", "alg": "RS256", "kid": "key-1"}


def assertion_of(issuer: TokenIssuer) -> str:
    return issuer.received[-1].form["client_assertion"]


@pytest.mark.parametrize("find", [secret_of, discovered])
def test_assertion_is_for_what_the_client_names(find: Callable[..., ClientSecret]) -> None:
    """The issuer where the secret names it, else the token endpoint; the same for a revocation."""
    with serve_issuer(SIGNING) as issuer:
        expected = issuer.url if find is discovered else f"{issuer.url}/token"
        client = find(issuer, SIGNING)
        minting().mint(KEY, client)
        audiences = [claims_of(assertion_of(issuer))["aud"]]
        if find is discovered:
            minting().revoke(UnverifiedToken("a.b.c"), client)
            audiences.append(claims_of(assertion_of(issuer))["aud"])
        assert set(audiences) == {expected}


@pytest.mark.parametrize("find", [secret_of, discovered])
def test_audience_in_the_client_secret_decides(find: Callable[..., ClientSecret]) -> None:
    """Some issuers accept one audience only, and not the one that follows from the secret."""
    with serve_issuer(SIGNING) as issuer:
        issuer.assertion_audience = "urn:the-issuer"
        assert failure_of(issuer, find(issuer, SIGNING)).error_class == "invalid_client"
        minting().mint(KEY, find(issuer, SIGNING, assertion_audience="urn:the-issuer"))


def claims_of(assertion: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    return claims


@pytest.mark.parametrize(
    ("client", "asked", "algorithm"),
    [
        (SIGNING, None, "RS256"),
        (SIGNING, "PS256", "PS256"),
        (SIGNING_EC, "ES256", "ES256"),
        (SIGNING_ED25519, None, "Ed25519"),
        (SIGNING_ED25519, "EdDSA", "EdDSA"),
    ],
)
def test_assertion_has_the_algorithm_of_the_client_secret(
    client: RegisteredClient, asked: str | None, algorithm: str
) -> None:
    """Ed25519 keys have the name of RFC 9864, and the older one where it is asked for."""
    with serve_issuer(client) as issuer:
        minting().mint(KEY, secret_of(issuer, client, assertion_algorithm=asked))
        assert jwt.get_unverified_header(assertion_of(issuer))["alg"] == algorithm


def test_assertion_names_the_certificate() -> None:
    """`x5t#S256` beside `kid`, and the issuer gives a token (RFC 7515, section 4.1.8)."""
    certificate = certificate_of(rsa_key())
    expected = urlsafe_b64encode(certificate.fingerprint(SHA256())).decode().rstrip("=")
    with serve_issuer(SIGNING) as issuer:
        pem = certificate.public_bytes(Encoding.PEM).decode()
        minting().mint(KEY, secret_of(issuer, SIGNING, certificate_pem=pem))
        header = jwt.get_unverified_header(assertion_of(issuer))
    assert header["x5t#S256"] == expected
    assert header["kid"] == "key-1"


# What is requested


def test_request_carries_the_members_of_the_mint_key(issuer: TokenIssuer) -> None:
    """RFC 6749, section 4.4.2; RFC 8707; and `audience`."""
    key = MintKey.of(
        project="payments",
        client="scheduler",
        audience="https://api.example.com/?a=b&c",
        resource="https://files.example.com/",
        scope="write read",
    )
    minting().mint(key, secret_of(issuer))
    request = issuer.received[0]
    assert request.form == {
        "grant_type": "client_credentials",
        "audience": "https://api.example.com/?a=b&c",
        "resource": "https://files.example.com/",
        "scope": "read write",
    }
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.headers["Accept"] == "application/json"


def test_request_leaves_out_members_that_are_not_set(issuer: TokenIssuer) -> None:
    """An empty audience or scope would mean something else."""
    mint(issuer)
    assert issuer.received[0].form == {"grant_type": "client_credentials"}


# Discovery


def test_discovery_is_fetched_once_for_all_mints(issuer: TokenIssuer) -> None:
    """The token endpoint is the one that the issuer publishes."""
    minted = minting()
    for _ in range(3):
        minted.mint(KEY, discovered(issuer))
    assert [request.path for request in issuer.received].count("/token") == 3
    assert len(issuer.received) == 4


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example.com"},
        {"issuer": None},
        {"token_endpoint": None},
        {"token_endpoint": "http://other.example.com/token"},
        {"token_endpoint": 7},
    ],
)
def test_invalid_discovery_document_gets_no_secret(
    issuer: TokenIssuer, metadata: dict[str, Any]
) -> None:
    """A document of another issuer, or one with an endpoint on plain HTTP."""
    issuer.metadata = metadata
    failure = failure_of(issuer, discovered(issuer))
    assert failure.error_class in ("issuer_mismatch", "answer_unusable")
    assert [request.path for request in issuer.received] == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("member", ["token_endpoint", "revocation_endpoint"])
def test_issuer_on_https_names_no_endpoint_on_loopback(member: str) -> None:
    """Plain HTTP on loopback is only for an issuer on loopback."""
    url = "https://issuer.example.com"
    metadata = {
        "issuer": url,
        "jwks_uri": f"{url}/keys",
        "token_endpoint": f"{url}/token",
        "revocation_endpoint": f"{url}/revoke",
        member: "http://127.0.0.1:8080/",
    }
    asked: list[str] = []

    def fetch(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        return Answer(200, json.dumps(metadata).encode())

    def post(
        url: str, *, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer:
        asked.append(url)
        return Answer(200, b"{}")

    client = discovered(TokenIssuer(url))
    minted = Mint(post=post, fetch=fetch, now=time.time, default_lifetime=300, warn=print)
    with pytest.raises(RefreshFailed):
        minted.mint(KEY, client)
    assert minted.revoke(UnverifiedToken("a.b.c"), client) == "failed"
    assert asked == ([f"{url}/token"] if member == "revocation_endpoint" else [])


def test_mismatch_of_issuers_names_both(issuer: TokenIssuer) -> None:
    """One character more is another issuer (OpenID Connect Discovery 1.0, section 4.3)."""
    issuer.metadata = {"issuer": f"{issuer.url}/"}
    failure = failure_of(issuer, discovered(issuer))
    assert failure.error_class == "issuer_mismatch"
    assert f"'{issuer.url}/'" in failure.detail
    assert f"'{issuer.url}'" in failure.detail
    minting().mint(KEY, secret_of(issuer, token_endpoint=None, issuer=f"{issuer.url}/"))


@pytest.mark.parametrize("pack", [lambda body: b"\xef\xbb\xbf" + body, gzip.compress])
def test_discovery_with_a_byte_order_mark_or_gzip_is_read(
    issuer: TokenIssuer, pack: Callable[[bytes], bytes]
) -> None:
    """Answers of the token endpoint too."""
    _, document = issuer.get("/.well-known/openid-configuration")
    token = {"access_token": "opaque", "expires_in": 900}
    issuer.respond = {
        "/.well-known/openid-configuration": answer(pack(json.dumps(document).encode())),
        "/token": answer(pack(json.dumps(token).encode())),
    }
    assert minting().mint(KEY, discovered(issuer)).text == "opaque"


@pytest.mark.parametrize(
    "published",
    [
        "https://evil.example/\n\x1b[31m\u202e",
        "https://" + "x" * 5_000,
        "\U0001f600" * 500,
        "'\"" * 200,
    ],
)
def test_name_that_an_issuer_publishes_is_shown_cleaned_and_cut(
    issuer: TokenIssuer, published: str
) -> None:
    """It is unverified text that an operator's terminal shows."""
    issuer.metadata = {"issuer": published}
    detail = failure_of(issuer, discovered(issuer)).detail
    assert detail.isascii()
    assert detail.isprintable()
    assert len(detail) < 450
    assert f"'{issuer.url}'" in detail
    assert detail.endswith("they must be the same text.")


@pytest.mark.parametrize(
    ("respond", "error_class"),
    [
        (answer(status="500 Oh"), "issuer_unavailable"),
        (answer(status="429 Slow"), "issuer_unavailable"),
        (hang_up, "issuer_unavailable"),
        (silence, "issuer_timeout"),
        (answer(status="404 Gone"), "unexpected_status"),
        (answer(b"<html>", status="403 No"), "unexpected_status"),
        (answer(b"<html>"), "answer_unusable"),
        (answer(status="302 Go", headers="Location: /x\r\n"), "answer_unusable"),
        (answer(b"{}"), "answer_unusable"),
    ],
)
def test_wrong_address_of_an_issuer_is_not_an_outage(
    issuer: TokenIssuer, respond: Respond, error_class: str
) -> None:
    """The class tells an issuer that is down from an address that is not an issuer's.

    It stays the same while the failed fetch is not repeated.
    """
    issuer.respond["/.well-known/openid-configuration"] = respond
    # Only silence takes the whole limit: another answer may be late on a busy machine.
    mint = minting(timeout_seconds=LIMIT if respond is silence else 10)
    for _ in range(2):
        with pytest.raises(RefreshFailed) as failed:
            mint.mint(KEY, discovered(issuer))
        assert failed.value.error_class == error_class
        assert failed.value.detail.startswith("Discovery of the issuer's endpoints failed: ")
    assert len(issuer.received) == 1


# Revocation


@pytest.mark.parametrize("client", [BASIC, POST, SIGNING])
def test_token_is_revoked_at_the_published_endpoint(client: RegisteredClient) -> None:
    """RFC 7009, by the client that it was minted for, with the same proof as a mint."""
    with serve_issuer(client) as issuer:
        revoking = minting().revoke(UnverifiedToken("a.b.c"), discovered(issuer, client))
        assert revoking == "revoked"
        assert issuer.revoked == ["a.b.c"]
        assert issuer.received[-1].form["token_type_hint"] == "access_token"


def test_issuer_without_a_revocation_endpoint_is_not_asked(issuer: TokenIssuer) -> None:
    """The issuer publishes none, or the client names only its token endpoint."""
    issuer.metadata = {"revocation_endpoint": None}
    assert minting().revoke(UnverifiedToken("a.b.c"), discovered(issuer)) == "not_offered"
    assert minting().revoke(UnverifiedToken("a.b.c"), secret_of(issuer)) == "not_offered"
    assert [request.path for request in issuer.received] == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    "spoil",
    [
        {"/revoke": answer(status="503 Busy")},
        {"/revoke": silence},
        {"/revoke": answer(status="302 Found", headers="Location: /token\r\n")},
        {"/.well-known/openid-configuration": answer(status="500 Oh")},
        {"/.well-known/openid-configuration": answer(b"garbage")},
    ],
)
def test_failed_revocation_raises_nothing(issuer: TokenIssuer, spoil: dict[str, Respond]) -> None:
    """Revocation is best effort; the token expires by itself."""
    issuer.respond = spoil
    revoking = minting(timeout_seconds=LIMIT)
    assert revoking.revoke(UnverifiedToken("a.b.c"), discovered(issuer)) == "failed"


def test_token_is_not_revoked_over_plain_http(issuer: TokenIssuer) -> None:
    """A token is not sent without TLS."""
    issuer.metadata = {"revocation_endpoint": "http://other.example.com/revoke"}
    assert minting().revoke(UnverifiedToken("a.b.c"), discovered(issuer)) == "failed"
