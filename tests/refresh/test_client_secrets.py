"""Reading an OAuth client's secret: what is accepted, and errors that quote none of it."""

import json
import traceback
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from refresh_tokens.assertions import PrivateKeyJwt
from refresh_tokens.clients import SharedSecret, read_client_secret
from refresh_tokens.errors import RefreshFailed
from tests.refresh.token_issuer import ec_key, pem_of, rsa_key

SECRET = "S3CRET"

BASIC = {
    "token_endpoint": "https://issuer.example.com/token",
    "client_id": "nightly-train",
    "auth_method": "client_secret_basic",
    "client_secret": SECRET,
}

SIGNING = {
    "issuer": "https://issuer.example.com",
    "client_id": "weekly-report",
    "auth_method": "private_key_jwt",
    "private_key_pem": pem_of(rsa_key()),
    "key_id": "key-1",
}


def text_of(document: dict[str, Any], **changes: Any) -> str:
    """The document as JSON, with members changed, or left out where they are None."""
    changed = {**document, **changes}
    return json.dumps({name: value for name, value in changed.items() if value is not None})


def refusal_of(text: str) -> str:
    with pytest.raises(RefreshFailed) as refused:
        read_client_secret(text)
    assert refused.value.error_class == "client_secret_unusable"
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    shown = "".join(traceback.format_exception(refused.value)) + repr(refused.value)
    assert SECRET not in shown
    assert "BEGIN" not in shown
    return refused.value.detail


def test_secret_of_each_method_is_read() -> None:
    """The three `auth_method`s, with a token endpoint or with an issuer."""
    basic = read_client_secret(text_of(BASIC))
    assert (basic.token_endpoint, basic.issuer) == ("https://issuer.example.com/token", "")
    assert basic.authentication == SharedSecret("nightly-train", SECRET, "client_secret_basic")
    post = read_client_secret(text_of(BASIC, auth_method="client_secret_post"))
    assert post.authentication == SharedSecret("nightly-train", SECRET, "client_secret_post")
    signing = read_client_secret(text_of(SIGNING))
    assert (signing.token_endpoint, signing.issuer) == ("", "https://issuer.example.com")
    assert isinstance(signing.authentication, PrivateKeyJwt)


@pytest.mark.parametrize(
    "document", [BASIC, {**BASIC, "auth_method": "client_secret_post"}, SIGNING]
)
def test_secret_is_in_no_repr(document: dict[str, Any]) -> None:
    """The repr of a client and of its proof shows no secret, key or assertion."""
    client = read_client_secret(text_of(document))
    proof = client.authentication.prove(audience="https://issuer.example.com/token", now=1.8e9)
    for shown in (repr(client), repr(client.authentication), repr(proof), str(client)):
        assert SECRET not in shown
        assert "BEGIN" not in shown
        assert "assertion" not in shown


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8081/token", "http://localhost/token", "https://issuer.example.com/t"]
)
def test_endpoint_on_https_or_loopback_is_accepted(url: str) -> None:
    """Plain HTTP is accepted on this machine only."""
    assert read_client_secret(text_of(BASIC, token_endpoint=url)).token_endpoint == url


@pytest.mark.parametrize("member", ["token_endpoint", "issuer"])
@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com/token",
        "http://169.254.169.254/token",
        "ftp://127.0.0.1/",
        "https:///token",
        f"https://user:{SECRET}@issuer.example.com/",
        f"https://[{SECRET}",
        f"{SECRET}",
    ],
)
def test_other_endpoint_is_refused_and_not_quoted(member: str, url: str) -> None:
    """The error names the member and not its value, which may hold a password."""
    changes = {"token_endpoint": None, "issuer": None, member: url}
    assert member in refusal_of(text_of(BASIC, **changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"client_id": None}, "client_id"),
        ({"client_id": ""}, "client_id"),
        ({"token_endpoint": None}, "token_endpoint"),
        ({"issuer": "https://issuer.example.com"}, "token_endpoint"),
        ({"auth_method": None}, "auth_method"),
        ({"auth_method": SECRET}, "auth_method"),
        ({"auth_method": "none"}, "auth_method"),
        ({"auth_method": "client_secret_jwt"}, "auth_method"),
        ({"auth_method": "private_key_jwt"}, "private_key_pem"),
        ({"client_secret": None}, "client_secret"),
        ({"client_secret": ""}, "client_secret"),
        ({"private_key_pem": SECRET}, "client_secret"),
        ({"key_id": "key-1"}, "client_secret"),
        ({"client_secret": 7}, "JSON object"),
        ({SECRET: "x"}, "not known"),
    ],
)
def test_missing_or_contradictory_member_is_refused_by_name(
    changes: dict[str, Any], named: str
) -> None:
    """The error names the member that is missing or too much, and not its value."""
    assert named in refusal_of(text_of(BASIC, **changes))


@pytest.mark.parametrize(
    "text",
    ["", SECRET, f'"{SECRET}"', f"[{SECRET!r}]", f'{{"client_id": "{SECRET}', "\ud800" + SECRET],
)
def test_text_that_is_no_json_object_is_refused_and_not_quoted(text: str) -> None:
    """A secret that was pasted without JSON is not repeated in the error."""
    refusal_of(text)


@pytest.mark.parametrize("key", [rsa_key(), rsa_key(3072), ec_key()])
def test_rsa_and_p256_keys_are_accepted(key: Any) -> None:
    """RSA keys from 2,048 bits on, and keys on P-256."""
    read_client_secret(text_of(SIGNING, private_key_pem=pem_of(key)))


@pytest.mark.parametrize(
    "pem",
    [
        SECRET,
        pem_of(rsa_key()).replace("MII", "MIJ"),
        pem_of(rsa_key(1024)),
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(ed25519.Ed25519PrivateKey.generate()),
        ec_key()
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"phrase"))
        .decode(),
    ],
    ids=["none", "spoilt", "1024 bits", "P-384", "Ed25519", "passphrase"],
)
def test_other_key_is_refused_and_not_quoted(pem: str) -> None:
    """Short RSA keys, other types, and keys with a passphrase."""
    assert "private_key_pem" in refusal_of(text_of(SIGNING, private_key_pem=pem))


def test_client_secret_beside_a_key_is_refused() -> None:
    """With both, it is not clear which one is meant."""
    assert "client_secret" in refusal_of(text_of(SIGNING, client_secret=SECRET))
