"""Reading an OAuth client's secret: what is accepted, and errors that quote none of it."""

import json
import traceback
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from refresh_tokens.assertions import PrivateKeyJwt
from refresh_tokens.client_secrets import SharedSecret, read_client_secret
from refresh_tokens.errors import RefreshFailed
from tests.refresh.token_issuer import certificate_of, ec_key, ed25519_key, pem_of, rsa_key

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
        ({"auth_method": "private_key_jwt"}, "client_secret"),
        ({"client_secret": None}, "client_secret"),
        ({"client_secret": ""}, "client_secret"),
        ({"private_key_pem": SECRET}, "private_key_pem"),
        ({"key_id": "key-1"}, "key_id"),
        ({"certificate_pem": SECRET}, "certificate_pem"),
        ({"assertion_audience": SECRET}, "assertion_audience"),
        ({"assertion_algorithm": SECRET}, "assertion_algorithm"),
        ({"client_secret": 7}, "`client_secret`"),
        ({"client_secret": [SECRET]}, "`client_secret`"),
        ({SECRET: "x"}, "another member at place 5. Members: client_id, "),
        ({"clientId": "x"}, "must be spelled `client_id`"),
        ({"Private-Key-PEM": "x"}, "must be spelled `private_key_pem`"),
        ({"scope": "runs"}, "`scope`: register the runner with it"),
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


@pytest.mark.parametrize("key", [rsa_key(), rsa_key(3072), ec_key(), ed25519_key()])
def test_usual_keys_are_accepted(key: Any) -> None:
    """RSA keys from 2,048 bits on, keys on P-256, and Ed25519 keys."""
    read_client_secret(text_of(SIGNING, private_key_pem=pem_of(key)))


@pytest.mark.parametrize(
    "pem",
    [
        SECRET,
        pem_of(rsa_key()).replace("MII", "MIJ"),
        pem_of(rsa_key(1024)),
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(ed448.Ed448PrivateKey.generate()),
        ec_key()
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"phrase"))
        .decode(),
    ],
    ids=["none", "spoilt", "1024 bits", "P-384", "Ed448", "passphrase"],
)
def test_other_key_is_refused_and_not_quoted(pem: str) -> None:
    """Short RSA keys, other types, and keys with a passphrase."""
    assert "private_key_pem" in refusal_of(text_of(SIGNING, private_key_pem=pem))


SPACES = [" ", "\n", "\r\n", "\t", "\x00", "\x7f", "\u00a0", "\u200b", "\u2028", "\ufeff", "\u00ad"]
SPACES += ["\u3164", "\u2800", "\ufe0f", "\u034f", "\ud800", "\U000e0041"]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("member", ["client_id", "client_secret", "token_endpoint", "auth_method"])
def test_invisible_character_in_a_member_is_refused_by_name(member: str, space: str) -> None:
    """A line end or a zero-width character was pasted with the value; the issuer would refuse."""
    value = BASIC[member]
    for spoilt in (value + space, space + value, value[:3] + space + value[3:]):
        assert f"`{member}`" in refusal_of(text_of(BASIC, **{member: spoilt}))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("member", ["issuer", "key_id", "assertion_audience"])
def test_invisible_character_in_a_member_of_a_signer_is_refused(member: str, space: str) -> None:
    """As for clients with a shared secret."""
    document = {**SIGNING, "assertion_audience": "https://issuer.example.com"}
    assert f"`{member}`" in refusal_of(text_of(document, **{member: document[member] + space}))


@pytest.mark.parametrize(
    "issuer",
    [
        "https://login.example.com/{tenantid}/v2.0",
        "https://<your-domain>/",
        "https://issuer.example.com/?p=policy",
        "https://issuer.example.com/?",
        "https://issuer.example.com/#part",
        "https://issuer.example.com#",
        "https://issuer.exämple.com/",
        "https://issuer.example.com/ü",
        "https://issuer_1.example.com/",
    ],
)
def test_issuer_with_a_placeholder_query_or_fragment_is_refused(issuer: str) -> None:
    """No discovery document is there (OpenID Connect Discovery 1.0, section 3)."""
    assert "`issuer`" in refusal_of(text_of(SIGNING, issuer=issuer))


def test_token_endpoint_may_have_a_query() -> None:
    """RFC 6749, section 3.2, but no fragment and no placeholder."""
    url = "https://issuer.example.com/token?p=policy"
    assert read_client_secret(text_of(BASIC, token_endpoint=url)).token_endpoint == url
    for wrong in (f"{url}#part", "https://issuer.example.com/{tenant}/token"):
        assert "`token_endpoint`" in refusal_of(text_of(BASIC, token_endpoint=wrong))


@pytest.mark.parametrize(
    "text",
    [
        text_of(BASIC) + "\n",
        "\ufeff" + text_of(BASIC),
        "\u00a0" + text_of(BASIC) + "\r\n",
        json.dumps(BASIC, indent=2).replace("\n", "\r\n"),
        json.dumps({**BASIC, "private_key_pem": None, "issuer": ""}),
    ],
    ids=["line end", "byte order mark", "no-break space", "indented", "null and empty"],
)
def test_white_space_around_the_json_is_ignored(text: str) -> None:
    """So are members that are null or empty."""
    assert read_client_secret(text) == read_client_secret(text_of(BASIC))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty, or is stored as binary"),
        (json.dumps(text_of(BASIC)), "store the object itself"),
        (text_of(BASIC).replace('"', "'"), "is not a JSON object: check quotes"),
        (text_of(BASIC)[:-1] + ",}", "is not a JSON object: check quotes"),
        (text_of(BASIC).replace(SECRET, SECRET[:2] + "\n" + SECRET[2:]), "line ends within texts"),
        (f'["{SECRET}"]', "is not a JSON object"),
    ],
    ids=["binary", "twice encoded", "quotes", "comma", "raw line end", "list"],
)
def test_text_that_is_not_the_object_is_refused_with_a_reason(text: str, reason: str) -> None:
    """The reason says what to change."""
    assert reason in refusal_of(text)


@pytest.mark.parametrize("algorithm", ["HS256", "none", "ES256", "Ed25519", "rs256"])
def test_algorithm_of_another_key_is_refused(algorithm: str) -> None:
    """The error lists those of the key."""
    refused = refusal_of(text_of(SIGNING, assertion_algorithm=algorithm))
    assert "`assertion_algorithm`" in refused
    assert refused.endswith("RS256, PS256.")


def test_certificate_must_be_of_the_private_key() -> None:
    """With another one, the issuer would look for another key."""
    own, other = (
        certificate_of(key).public_bytes(Encoding.PEM).decode() for key in (rsa_key(), ec_key())
    )
    read_client_secret(text_of(SIGNING, certificate_pem=own))
    assert "another key" in refusal_of(text_of(SIGNING, certificate_pem=other))
    assert "`certificate_pem`" in refusal_of(text_of(SIGNING, certificate_pem=own[:-100]))
    assert "`certificate_pem`" in refusal_of(text_of(SIGNING, certificate_pem=SECRET))


def test_member_that_is_there_twice_is_refused() -> None:
    """Of two values it is not clear which one is meant; a JSON reader takes the last."""
    text = text_of(BASIC)[:-1] + f', "client_secret": "{SECRET}-2"}}'
    assert refusal_of(text) == "The client secret has `client_secret` twice."


def test_private_key_with_escaped_line_ends_is_refused_with_the_reason() -> None:
    """A tool escaped the line ends twice, so the PEM text is one line."""
    pem = SIGNING["private_key_pem"].replace("\n", "\\n")
    assert "`\\n` as two characters" in refusal_of(text_of(SIGNING, private_key_pem=pem))


def test_different_mistakes_have_different_details() -> None:
    """The operator reads which mistake it is, in a sentence, without asking anyone."""
    discovered = {**BASIC, "token_endpoint": None, "issuer": "https://issuer.example.com"}
    texts = [
        "",
        text_of(BASIC).replace('"', "'"),
        json.dumps(text_of(BASIC)),
        text_of(BASIC, scope="runs"),
        text_of(BASIC, clientSecret="x"),
        text_of(BASIC, whatever="x"),
        text_of(BASIC, client_id=None),
        text_of(BASIC, auth_method=None),
        text_of(BASIC, auth_method="basic"),
        text_of(BASIC, client_secret=None),
        text_of(BASIC, client_secret=f"{SECRET}\n"),
        text_of(BASIC, token_endpoint=f"{BASIC['token_endpoint']} "),
        text_of(BASIC, token_endpoint="http://issuer.example.com/token"),
        text_of(BASIC, token_endpoint=None),
        text_of(BASIC, issuer="https://issuer.example.com"),
        text_of(BASIC, private_key_pem="x"),
        text_of(discovered, issuer="https://issuer.example.com/{tenantid}"),
        text_of(discovered, issuer="https://issuer.example.com/?p=policy"),
        text_of(discovered, issuer="https://issuer.exämple.com"),
        text_of(SIGNING, private_key_pem=SECRET),
        text_of(SIGNING, assertion_algorithm="none"),
    ]
    details = [refusal_of(text) for text in texts]
    assert len(set(details)) == len(texts)
    for detail in details:
        assert detail.startswith("The client secret ")
        assert detail.endswith(".")
        assert len(detail) < 250


def test_client_secret_beside_a_key_is_refused() -> None:
    """With both, it is not clear which one is meant."""
    assert "client_secret" in refusal_of(text_of(SIGNING, client_secret=SECRET))
