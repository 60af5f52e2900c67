"""The body of a registration: an invalid body or name gets a reason, and nothing is written."""

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
    """Whether a body with these members is valid."""
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
    def test_absolute_uri_is_accepted(self, resource: str) -> None:
        """A URI of any scheme is accepted, because issuers have schemes of their own."""
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
    def test_other_scope_is_refused(self, resource: str) -> None:
        """A relative URI, a fragment and a character outside of URIs are refused."""
        assert not accepts(resource=resource)


class TestScope:
    """RFC 6749, section 3.3: tokens separated by one space."""

    @pytest.mark.parametrize("scope", ["a", "a b", "https://a/.default", "!~[]", "a" * 512])
    def test_scope_tokens_are_accepted(self, scope: str) -> None:
        """A scope has visible ASCII without quotes and backslashes."""
        assert accepts(scope=scope)

    @pytest.mark.parametrize(
        "scope", ["", " ", " a", "a ", "a  b", "a\tb", 'a"', "a\\b", "é", "a\n", "a" * 513]
    )
    def test_other_scope_is_refused(self, scope: str) -> None:
        """Text that an issuer would refuse, or read in another way, is refused."""
        assert not accepts(scope=scope)


@pytest.mark.parametrize("member", ["audience", "subject"])
@pytest.mark.parametrize("text", ["", "a\u0000", "a\n", "\x7f", "a" * 513])
def test_empty_long_or_unprintable_text_is_refused(member: str, text: str) -> None:
    """The text is sent to an issuer, and written to log lines and rows."""
    assert not accepts(**{member: text})


@pytest.mark.parametrize("subject", ["gp\u200bu", "gpu\u202e", "\ufeffgpu", "gpu ", "gp\u00a0u"])
def test_subject_with_an_invisible_character_is_refused(subject: str) -> None:
    """No token has such a subject, so the runner could not read its own token."""
    assert accepts(subject="gpu")
    assert not accepts(subject=subject)


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
def test_invalid_body_is_refused(runners: RunnersApi, ada: Credential, body: str) -> None:
    """The answer is 400, and nothing is read or written."""
    answer = runners.api.call("PUT", runners.path(), by=ada, body=body, headers=JSON)
    assert (answer.status, answer.reason) == (400, "invalid_body")
    assert runners.calls() == []


def test_body_of_another_media_type_is_refused(runners: RunnersApi, ada: Credential) -> None:
    """The answer is 415, because a form of another site could send such a body."""
    for headers in ((), (("content-type", "text/plain"),)):
        answer = runners.api.call(
            "PUT", runners.path(), by=ada, body='{"client":"a"}', headers=headers
        )
        assert (answer.status, answer.reason) == (415, "unsupported_media_type")
    assert runners.calls() == []


def test_body_over_its_limit_is_refused(runners: RunnersApi, ada: Credential) -> None:
    """A body over 64 KiB is answered 413."""
    answer = runners.put(ada, audience="a" * 70_000)
    assert (answer.status, answer.reason) == (413, "body_too_large")
    assert runners.calls() == []


@pytest.mark.parametrize(
    ("client", "suggested"), [("My_Client", "`my-client`"), ("a/../b", "`a-b`"), ("_", "")]
)
def test_refused_client_name_is_answered_with_a_valid_one(
    runners: RunnersApi, ada: Credential, client: str, suggested: str
) -> None:
    """The detail has a valid name where lower case and hyphens make one."""
    answer = runners.put(ada, client=client)
    assert answer.reason == "invalid_body"
    assert answer.json["detail"].startswith("A client's name has 1 to 63 characters")
    assert suggested in answer.json["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("GPU_1", "`gpu-1`"),
        ("gpu%201", "`gpu-1`"),
        ("%67pu", "`gpu`"),
        ("-", ""),
        ("a" * 64, ""),
        ("..%2f..%2fclients%2fapollo%2fa", "`clients-apollo-a`"),
    ],
)
def test_invalid_runner_name_is_answered_with_a_valid_one(
    runners: RunnersApi, ada: Credential, method: str, name: str, suggested: str
) -> None:
    """The answer is 400 with a valid name, and nothing is read or written."""
    body = {"document": {"client": "a"}} if method == "PUT" else {}
    answer = runners.api.call(method, runners.path(name), by=ada, **body)
    assert (answer.status, answer.reason) == (400, "invalid_name")
    assert answer.json["detail"].startswith("A runner's name")
    assert suggested in answer.json["detail"]
    assert runners.calls() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_change_from_another_site_is_refused(runners: RunnersApi, web: Web, method: str) -> None:
    """A change with the cookie of a visitor of another site is answered 403."""
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
def test_declared_body_equals_the_checked_body(body: dict[str, Any]) -> None:
    """The document and the code accept the same bodies."""
    declared = contract.validator({"$ref": "#/components/schemas/RegisterRunner"})
    assert declared.is_valid(body) == accepts(**body)
