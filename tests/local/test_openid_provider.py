"""The local OpenID provider, over HTTP."""

import base64
import hashlib
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from local.listening import WebServer, listen, url_of
from local.openid_directory import EXCHANGE
from local.openid_provider import ADA, AUDIENCE, BROWSER_CLIENT, OpenIDProvider
from local.token_exchange import ACCESS_TOKEN

CALLBACK = "http://127.0.0.1:8080/oauth2/idpresponse"
VERIFIER = "a-verifier-of-at-least-forty-three-characters-"


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIDProvider]:
    """A running provider that also publishes the key `another`."""
    listener = listen(0)
    provider = OpenIDProvider(url_of(listener), extra_keys=[{"kty": "oct", "kid": "another"}])
    with WebServer(provider.application, listener):
        yield provider


@pytest.fixture
def http(provider: OpenIDProvider) -> Iterator[httpx.Client]:
    """An HTTP client for the provider's addresses."""
    with httpx.Client(base_url=provider.issuer) as client:
        yield client


def authorization_request(**changes: str) -> dict[str, str]:
    """The parameters of an authorization request, with `changes`."""
    return {
        "response_type": "code",
        "client_id": BROWSER_CLIENT,
        "redirect_uri": CALLBACK,
        "scope": "openid profile email",
        "state": "as sent",
        **changes,
    }


def sign_in(http: httpx.Client, **changes: str) -> str:
    """The authorization code of a person, by default Ada."""
    answer = http.post(
        "/authorize",
        params=authorization_request(**changes),
        data={"person": changes.pop("person", ADA.subject)},
    )
    assert answer.status_code == 302, answer.text
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["state"] == ["as sent"]
    return query["code"][0]


def exchange(http: httpx.Client, provider: OpenIDProvider, code: str, **changes: str) -> Any:
    """The answer to the exchange of a code for tokens."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, **changes}
    return http.post("/token", data=form, auth=(BROWSER_CLIENT, provider.browser_secret))


def verified(http: httpx.Client, token: str, *, audience: str) -> dict[str, Any]:
    """The claims of a token, verified with the published keys."""
    key_id = jwt.get_unverified_header(token)["kid"]
    keys = {key["kid"]: key for key in http.get("/jwks.json").json()["keys"]}
    claims: dict[str, Any] = jwt.decode(
        token, jwt.PyJWK(keys[key_id]).key, algorithms=["RS256"], audience=audience
    )
    return claims


def assertion(provider: OpenIDProvider, **changes: Any) -> dict[str, str]:
    """A token request with a client assertion (RFC 7523), whose claims have `changes`."""
    claims = {
        "iss": "weekly-report",
        "sub": "weekly-report",
        "aud": f"{provider.issuer}/token",
        "exp": int(time.time()) + 60,
        "jti": "one",
        **changes,
    }
    key = provider.assertion_key.as_pem(private=True)
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(claims, key, algorithm="RS256"),
    }


def test_discovery_names_this_issuer_and_its_endpoints(http: httpx.Client) -> None:
    """The discovery document has the issuer and the address of its keys."""
    document = http.get("/.well-known/openid-configuration").json()
    assert document["issuer"] == str(http.base_url).rstrip("/")
    assert http.get(document["jwks_uri"]).status_code == 200


def test_short_lived_client_gets_tokens_of_thirty_seconds(http: httpx.Client) -> None:
    """One client gets tokens of 30 seconds, and the others tokens of 15 minutes."""

    def lifetimes(client: str) -> tuple[int, int]:
        answer = http.post(
            "/token",
            data={"grant_type": "client_credentials"},
            auth=(client, f"{client}-secret"),
        ).json()
        claims = verified(http, answer["access_token"], audience=AUDIENCE)
        return answer["expires_in"], claims["exp"] - claims["iat"]

    assert lifetimes("short-lived") == (30, 30)
    assert lifetimes("nightly-train") == (900, 900)


def test_extra_keys_are_published(http: httpx.Client) -> None:
    """The key set has the extra keys, so tokens of the sample events verify."""
    assert "another" in {key["kid"] for key in http.get("/jwks.json").json()["keys"]}


def test_sign_in_page_shows_every_person(http: httpx.Client) -> None:
    """The sign-in page shows the names of all people."""
    page = http.get("/authorize", params=authorization_request())
    assert page.status_code == 200
    assert "Ada Lovelace" in page.text
    assert "Grace Hopper" in page.text


def test_code_gives_tokens_and_userinfo(http: httpx.Client, provider: OpenIDProvider) -> None:
    """A code gives an access token (RFC 9068), an ID token for the client, and userinfo."""
    tokens = exchange(http, provider, sign_in(http)).json()
    assert jwt.get_unverified_header(tokens["access_token"])["typ"] == "at+jwt"
    access = verified(http, tokens["access_token"], audience="byline")
    assert (access["sub"], access["client_id"]) == (ADA.subject, BROWSER_CLIENT)
    assert access["iss"] == provider.issuer
    assert access["exp"] - access["iat"] == tokens["expires_in"]
    assert verified(http, tokens["id_token"], audience=BROWSER_CLIENT)["sub"] == ADA.subject
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    assert http.get("/userinfo", headers=headers).json() == {
        "sub": ADA.subject,
        "name": "Ada Lovelace",
        "given_name": "Ada",
        "family_name": "Lovelace",
        "preferred_username": "ada",
        "email": "ada@example.com",
        "email_verified": True,
    }


def test_code_that_was_exchanged_is_refused(http: httpx.Client, provider: OpenIDProvider) -> None:
    """A second exchange of a code is refused."""
    code = sign_in(http)
    assert exchange(http, provider, code).status_code == 200
    assert exchange(http, provider, code).json()["error"] == "invalid_grant"


def test_code_after_a_failed_exchange_is_refused(
    http: httpx.Client, provider: OpenIDProvider
) -> None:
    """A failed exchange revokes the code, so a thief has one attempt."""
    code = sign_in(http)
    elsewhere = "http://127.0.0.1:9090/oauth2/idpresponse"
    assert exchange(http, provider, code, redirect_uri=elsewhere).status_code == 400
    assert exchange(http, provider, code).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://127.0.0.1:8080/elsewhere",
        "http://example.com/oauth2/idpresponse",
        "http://127.0.0.1:8080/oauth2/idpresponse?more=1",
        "https://127.0.0.1:8080/oauth2/idpresponse",
    ],
)
def test_foreign_redirect_uri_is_refused(http: httpx.Client, redirect_uri: str) -> None:
    """The provider sends a code to a registered address only."""
    answer = http.post(
        "/authorize",
        params=authorization_request(redirect_uri=redirect_uri),
        data={"person": ADA.subject},
    )
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_public_client_without_its_code_verifier_is_refused(http: httpx.Client) -> None:
    """A client without a secret needs the code verifier (RFC 7636) for its exchange."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
    public = {
        "client_id": "byline-cli",
        "redirect_uri": "http://127.0.0.1:5000/callback",
        "code_challenge": challenge.decode(),
        "code_challenge_method": "S256",
    }
    form = {
        "grant_type": "authorization_code",
        "client_id": "byline-cli",
        "redirect_uri": public["redirect_uri"],
    }
    unproven = {**form, "code": sign_in(http, **public)}
    assert http.post("/token", data=unproven).status_code == 400
    public_without = {name: public[name] for name in ("client_id", "redirect_uri")}
    never_asked = {**form, "code": sign_in(http, **public_without)}
    assert http.post("/token", data=never_asked).status_code == 400
    proven = {**form, "code": sign_in(http, **public), "code_verifier": VERIFIER}
    token = http.post("/token", data=proven).json()["access_token"]
    assert verified(http, token, audience="byline")["sub"] == ADA.subject


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_application_with_its_secret_gets_its_own_token(http: httpx.Client, method: str) -> None:
    """The token of an application names the client as its subject."""
    client = ("nightly-train", "nightly-train-secret")
    form = {"grant_type": "client_credentials"}
    if method == "client_secret_post":
        form |= {"client_id": client[0], "client_secret": client[1]}
        answer = http.post("/token", data=form)
    else:
        answer = http.post("/token", data=form, auth=client)
    claims = verified(http, answer.json()["access_token"], audience="byline")
    assert claims["sub"] == claims["client_id"] == "nightly-train"


def test_application_with_a_wrong_secret_is_refused(http: httpx.Client) -> None:
    """A secret with one wrong character is refused."""
    form = {"grant_type": "client_credentials"}
    answer = http.post("/token", data=form, auth=("nightly-train", "nightly-train-secreT"))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_application_with_a_key_gets_one_token_per_assertion(
    http: httpx.Client, provider: OpenIDProvider
) -> None:
    """A signed assertion gives a token once, and its repetition is refused."""
    form = assertion(provider)
    token = http.post("/token", data=form).json()["access_token"]
    assert verified(http, token, audience="byline")["sub"] == "weekly-report"
    assert http.post("/token", data=form).json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    "spoilt", [{"aud": "http://127.0.0.1:1/token"}, {"exp": 1}, {"iss": "nightly-train"}]
)
def test_spoilt_assertion_is_refused(
    http: httpx.Client, provider: OpenIDProvider, spoilt: dict[str, Any]
) -> None:
    """An assertion for another server, an expired one, or one of another client is refused."""
    answer = http.post("/token", data=assertion(provider, jti=str(spoilt), **spoilt))
    assert answer.json()["error"] == "invalid_client"


def test_revoked_token_is_refused_by_userinfo(http: httpx.Client, provider: OpenIDProvider) -> None:
    """After a client revoked its token, userinfo answers 401."""
    token = exchange(http, provider, sign_in(http)).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    assert http.get("/userinfo", headers=headers).status_code == 200
    owner = (BROWSER_CLIENT, provider.browser_secret)
    assert http.post("/revoke", data={"token": token}, auth=owner).status_code == 200
    assert http.get("/userinfo", headers=headers).status_code == 401


def test_token_of_another_client_cannot_be_revoked(
    http: httpx.Client, provider: OpenIDProvider
) -> None:
    """A client cannot revoke a token that was issued to another client."""
    token = exchange(http, provider, sign_in(http)).json()["access_token"]
    stranger = ("nightly-train", "nightly-train-secret")
    assert http.post("/revoke", data={"token": token}, auth=stranger).status_code == 400
    headers = {"authorization": f"Bearer {token}"}
    assert http.get("/userinfo", headers=headers).status_code == 200


def test_exchanged_token_names_the_person_and_the_agent(
    http: httpx.Client, provider: OpenIDProvider
) -> None:
    """`sub` stays the person, and `act` is the client that exchanged the token (RFC 8693, 4.1)."""
    token = exchange(http, provider, sign_in(http)).json()["access_token"]
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS_TOKEN}
    answer = http.post("/token", data=form, auth=("planner", "planner-secret"))
    claims = verified(http, answer.json()["access_token"], audience=AUDIENCE)
    assert (claims["sub"], claims["act"]) == (ADA.subject, {"sub": "planner"})
    assert answer.json()["issued_token_type"] == ACCESS_TOKEN
    other = http.post("/token", data=form, auth=("assistant", "assistant-secret"))
    assert (other.status_code, other.json()["error"]) == (400, "unauthorized_client")


def test_token_of_no_person_is_not_exchanged(http: httpx.Client) -> None:
    """A client's own token, an unknown text and another type are refused."""
    form = {"grant_type": "client_credentials"}
    own = http.post("/token", data=form, auth=("assistant", "assistant-secret"))
    for token, kind, error in (
        (own.json()["access_token"], ACCESS_TOKEN, "invalid_grant"),
        ("unknown", ACCESS_TOKEN, "invalid_grant"),
        ("unknown", "urn:ietf:params:oauth:token-type:saml2", "invalid_request"),
    ):
        form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": kind}
        answer = http.post("/token", data=form, auth=("planner", "planner-secret"))
        assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_ci_job_gets_a_token_of_its_workflow(http: httpx.Client, provider: OpenIDProvider) -> None:
    """The token has the claims of GitHub Actions and the audience that the job asked for."""
    job = provider.ci.start_job("acme/train", workflow="nightly", actor="ada-l")
    headers = {"authorization": f"Bearer {job.request_token}"}
    answer = http.get(job.request_url, params={"audience": AUDIENCE}, headers=headers)
    discovery = http.get("/ci/.well-known/openid-configuration").json()
    assert discovery["issuer"] == provider.ci.issuer
    [key] = http.get(discovery["jwks_uri"]).json()["keys"]
    claims = jwt.decode(
        answer.json()["value"], jwt.PyJWK(key).key, algorithms=["RS256"], audience=AUDIENCE
    )
    assert claims["iss"] == provider.ci.issuer
    assert claims["sub"] == "repo:acme/train:ref:refs/heads/main"
    assert (claims["repository"], claims["workflow"]) == ("acme/train", "nightly")
    assert http.get(job.request_url).status_code == 401
