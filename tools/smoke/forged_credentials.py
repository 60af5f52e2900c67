"""The stack's address answers no request without a credential, or with a forged one."""

import json
import secrets
import time
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from local.load_balancer_signing import Signer
from tools.smoke.endpoint import expect, seen
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed, NotChecked

WHOAMI = "/v1/whoami"


def check(surroundings: Surroundings, _: Cleanup) -> str:
    """Send each forged credential. Where BYLINE_TOKEN is set, also that token with a change."""
    if surroundings.stack.parameters["IdentityTrust"] == "ignore":
        raise NotChecked("IdentityTrust=ignore identifies nobody")
    _without_credential(surroundings)
    _self_made_token(surroundings)
    _self_made_load_balancer_token(surroundings)
    try:
        _changed_token(surroundings)
    except NotChecked as missing:
        return f"without a changed real token: {missing}"
    return ""


def _without_credential(surroundings: Surroundings) -> None:
    endpoint, parameters = surroundings.endpoint, surroundings.stack.parameters
    answer = endpoint.send("GET", WHOAMI)
    if not parameters["OidcIssuer"]:
        # No rule matches; a shared listener has a default of its own.
        if answer.is_success:
            raise Failed("no access without a credential", seen(answer))
        return
    expect(answer, 401, "a request without a credential")
    page = endpoint.send("GET", WHOAMI, headers={"accept": "text/html"})
    expect(page, 302, "a page without a session")
    location = page.headers.get("location", "")
    if not location.startswith(parameters["OidcAuthorizationEndpoint"]):
        where = urlsplit(location)
        raise Failed("a redirect to OidcAuthorizationEndpoint", f"{where.netloc}{where.path}")


def _self_made_token(surroundings: Surroundings) -> None:
    """A token that names a trusted issuer, signed with a key of our own."""
    issuers = surroundings.stack.parameters["TrustedIssuers"]
    trusted = json.loads(issuers)[0] if issuers else {"issuer": "https://smoke.invalid"}
    now = int(time.time())
    claims = {
        "iss": trusted["issuer"],
        "aud": next(iter(trusted.get("audiences", [])), "smoke"),
        "sub": "smoke",
        "client_id": "smoke",
        "iat": now,
        "exp": now + 300,
    }
    token = jwt.encode(
        claims,
        generate_private_key(public_exponent=65537, key_size=2048),
        algorithm="RS256",
        headers={"kid": "smoke", "typ": "at+jwt"},
    )
    answer = surroundings.endpoint.send("GET", WHOAMI, token=token)
    expect(answer, 401, "a token that somebody else signed")


def _self_made_load_balancer_token(surroundings: Surroundings) -> None:
    """The header in which a load balancer names a person, sent by the client itself."""
    parameters = surroundings.stack.parameters
    if not parameters["OidcIssuer"]:
        return
    claimed = f"smoke-{secrets.token_hex(8)}"
    arns = surroundings.stack.live["Environment"]["Variables"]["LOAD_BALANCER_ARNS"]
    token = Signer(arns.partition(",")[0]).sign(
        {"sub": claimed},
        issuer=parameters["OidcIssuer"],
        client=parameters["OidcClientId"],
        now=time.time(),
    )
    headers = {"x-amzn-oidc-data": token, "x-amzn-oidc-identity": claimed}
    expect(
        surroundings.endpoint.send("GET", WHOAMI, headers=headers),
        401,
        "a forged x-amzn-oidc-data without a session",
    )
    try:
        own = surroundings.endpoint.token()
    except NotChecked:
        return
    answer = surroundings.endpoint.send("GET", WHOAMI, headers=headers, token=own)
    if claimed in answer.text:
        raise Failed("the caller of BYLINE_TOKEN", "the identity of a forged x-amzn-oidc-data")


def _changed_token(surroundings: Surroundings) -> None:
    """BYLINE_TOKEN, which must be accepted, with another signature, which must not."""
    token = surroundings.endpoint.token()
    surroundings.endpoint.whoami()
    signed, dot, signature = token.rpartition(".")
    if signed.count(".") != 1:
        raise NotChecked("BYLINE_TOKEN is no signed JWT")
    changed = f"{signed}{dot}{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    answer = surroundings.endpoint.send("GET", WHOAMI, token=changed)
    expect(answer, 401, "BYLINE_TOKEN with one character of its signature changed")
