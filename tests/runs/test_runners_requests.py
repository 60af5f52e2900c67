"""What a registration may say: hostile bodies and names get a reason, and nothing is written."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_runs.runners.requests import MAX_CHARACTERS, RegisterRunner
from tests.runs import contract
from tests.runs.identity_server import Credential, Web
from tests.runs.runners_api import RunnersApi

JSON = (("content-type", "application/json"),)


def accepts(**members: Any) -> bool:
    try:
        msgspec.json.decode(json.dumps({"client": "a", **members}), type=RegisterRunner)
    except msgspec.ValidationError:
        return False
    return True


class TestResource:
    """RFC 8707, section 2: an absolute URI without a fragment."""

    @pytest.mark.parametrize(
        "resource",
        [
            "https://api.example.com",
            "https://api.example.com/v1/?a=b",
            "https://[::1]:8443/",
            "urn:example:api",
            "api://5c3f1a52-8d0e",
            "https://a/%C3%A9",
            "https://a/" + "b" * (MAX_CHARACTERS - 10),
        ],
    )
    def test_absolute_uri_is_taken(self, resource: str) -> None:
        """Of any scheme: issuers have their own."""
        assert accepts(resource=resource)

    @pytest.mark.parametrize(
        "resource",
        [
            "",
            "api.example.com",
            "/v1",
            "//api.example.com",
            "https:",
            "1https://a",
            "https://a#b",
            "https://a/#",
            "https://a b",
            "https://a/é",
            "https://a/%",
            "https://a/%zz",
            'https://a/"',
            "https://a\\b",
            "https://a\n",
            "https://a\u0000",
            "https://a/" + "b" * (MAX_CHARACTERS - 9),
        ],
    )
    def test_anything_else_is_refused(self, resource: str) -> None:
        """Relative, with a fragment, or with a character that no URI has."""
        assert not accepts(resource=resource)


class TestScope:
    """RFC 6749, section 3.3: tokens with one space between them."""

    @pytest.mark.parametrize("scope", ["a", "a b", "https://a/.default", "!~[]", "a" * 512])
    def test_scope_tokens_are_taken(self, scope: str) -> None:
        """Any visible ASCII but quotes and backslashes."""
        assert accepts(scope=scope)

    @pytest.mark.parametrize(
        "scope", ["", " ", " a", "a ", "a  b", "a\tb", 'a"', "a\\b", "é", "a\n", "a" * 513]
    )
    def test_anything_else_is_refused(self, scope: str) -> None:
        """What an issuer would refuse, or read otherwise than we."""
        assert not accepts(scope=scope)


@pytest.mark.parametrize("member", ["audience", "subject"])
@pytest.mark.parametrize("text", ["", "a\u0000", "a\n", "\x7f", "a" * 513])
def test_text_that_is_empty_long_or_unprintable_is_refused(member: str, text: str) -> None:
    """It ends up in a request to an issuer, in log lines and rows."""
    assert not accepts(**{member: text})


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"client":null}',
        '{"client":1}',
        '{"client":""}',
        '{"client":"A"}',
        '{"client":"a/b"}',
        '{"client":"../other/a"}',
        '{"client":"a","audience":["b"]}',
        '{"client":"a","scope":["b"]}',
        '{"client":"a","unknown":1}',
        '{"client":"a","revision":"1"}',
        '{"client":"a","subject_issuer":"https://other.example"}',
        '{"client":"a","resource":"https://a#b"}',
        '{"client":"\ud800"}',
        '{"client":' + "[" * 10_000,
    ],
)
def test_body_of_another_shape_is_refused(runners: RunnersApi, ada: Credential, body: str) -> None:
    """400, and nothing was read or written."""
    answer = runners.api.call("PUT", runners.path(), by=ada, body=body, headers=JSON)
    assert (answer.status, answer.reason) == (400, "invalid_body")
    assert runners.calls() == []


def test_body_of_another_media_type_is_refused(runners: RunnersApi, ada: Credential) -> None:
    """415: a form of another site could send it."""
    for headers in ((), (("content-type", "text/plain"),)):
        answer = runners.api.call(
            "PUT", runners.path(), by=ada, body='{"client":"a"}', headers=headers
        )
        assert (answer.status, answer.reason) == (415, "unsupported_media_type")
    assert runners.calls() == []


def test_body_that_is_too_large_is_refused(runners: RunnersApi, ada: Credential) -> None:
    """413."""
    answer = runners.put(ada, audience="a" * 70_000)
    assert (answer.status, answer.reason) == (413, "body_too_large")
    assert runners.calls() == []


@pytest.mark.parametrize(
    ("client", "named"), [("My_Client", "`my-client`"), ("a/../b", "`a-b`"), ("_", "")]
)
def test_refusal_of_a_client_s_name_names_a_legal_one(
    runners: RunnersApi, ada: Credential, client: str, named: str
) -> None:
    """Where lower case and hyphens make it one."""
    answer = runners.put(ada, client=client)
    assert answer.reason == "invalid_body"
    assert answer.json["detail"].startswith("A client's name has 1 to 63 characters")
    assert named in answer.json["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("GPU_1", "`gpu-1`"),
        ("gpu%201", "`gpu-1`"),
        ("%67pu", "`gpu`"),
        ("-", ""),
        ("a" * 64, ""),
        ("..%2f..%2fclients%2fapollo%2fa", "`clients-apollo-a`"),
    ],
)
def test_name_that_is_none_is_refused(
    runners: RunnersApi, ada: Credential, method: str, name: str, named: str
) -> None:
    """400 with the legal name next to it; nothing was read or written."""
    answer = runners.api.call(method, runners.path(name), by=ada, document={"client": "a"})
    assert (answer.status, answer.reason) == (400, "invalid_name")
    assert answer.json["detail"].startswith("A runner's name")
    assert named in answer.json["detail"]
    assert runners.calls() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_page_of_another_site_changes_nothing(runners: RunnersApi, web: Web, method: str) -> None:
    """403: the session's cookie travels with its requests."""
    answer = runners.api.call(
        method,
        runners.path(),
        by=web.browser("ada"),
        document={"client": "a"},
        headers=(("sec-fetch-site", "cross-site"),),
    )
    assert (answer.status, answer.reason) == (403, "cross_site_request")
    assert runners.calls() == []


TEXTS = st.none() | st.sampled_from(["", "a", "A", "a b", "https://a", "https://a#", "é", "\n"])


@given(
    st.fixed_dictionaries(
        {"client": TEXTS},
        optional=dict.fromkeys(("audience", "resource", "scope", "subject", "x"), TEXTS),
    )
)
def test_declared_body_is_the_checked_body(body: dict[str, Any]) -> None:
    """The document and the code agree on what a registration is."""
    declared = contract.validator({"$ref": "#/components/schemas/RegisterRunner"})
    assert declared.is_valid(body) == accepts(**body)
