"""The body of a credential: an invalid one is refused with a reason that quotes no part of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_runs.credentials.requests import (
    JIRA_SITE,
    KEY_FILE,
    MAX_TOKEN_CHARACTERS,
    NO_CONTROLS,
    ONE_WORD,
    TOO_LONG,
    put_credential,
)
from serve_runs.errors import RequestFailed
from tests.runs.credentials_api import TOKEN, CredentialsApi
from tests.runs.identity_server import Credential

VALID: dict[str, Any] = {
    "provider": "jira",
    "token": TOKEN,
    "url": "https://example.atlassian.net",
    "email": "ada@example.com",
}


def refusal(body: Any) -> str:
    """The reason or detail of a refused body; empty where the body is valid."""
    event = {
        "body": body if isinstance(body, str) else json.dumps(body),
        "multiValueHeaders": {"content-type": ["application/json"]},
    }
    try:
        put_credential(event)
    except RequestFailed as problem:
        return problem.detail if problem.reason == "invalid_body" else problem.reason
    return ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"provider": "bitbucket"}, "provider"),
        ({"provider": None}, "provider"),
        ({"token": ""}, "token"),
        ({"token": 1}, "token"),
        ({"token": [TOKEN]}, "token"),
        ({"token": "two words"}, ONE_WORD),
        ({"token": f"{TOKEN}\n"}, ONE_WORD),
        ({"token": "é"}, ONE_WORD),
        ({"url": "http://example.com"}, "url"),
        ({"url": "example.com"}, "url"),
        ({"url": f"https://ada:{TOKEN}@example.com"}, "url"),
        ({"url": f"https://example.com/?token={TOKEN}"}, "url"),
        ({"url": f"https://example.com/#{TOKEN}"}, "url"),
        ({"url": "https://example.com\\@other.example"}, "url"),
        ({"url": "https://example.com/\n"}, "url"),
        ({"url": "https://"}, "url"),
        ({"email": "ada"}, "email"),
        ({"email": "ada@b@c"}, "email"),
        ({"email": "ada@example.com\n"}, "email"),
        ({"url": None}, JIRA_SITE),
        ({"email": None}, JIRA_SITE),
        ({"provider": "google"}, KEY_FILE),
        ({"provider": "vertex", "token": "[]"}, KEY_FILE),
        ({"provider": "vertex", "token": '{"a":'}, KEY_FILE),
        ({"provider": "vertex", "token": "{" * 5_000}, KEY_FILE),
        ({"provider": "kubeconfig", "token": "a\x00b"}, NO_CONTROLS),
        ({"provider": "generic", "token": "a\x1bb"}, NO_CONTROLS),
    ],
)
def test_invalid_member_is_named(change: dict[str, Any], expected: str) -> None:
    """The detail names the invalid member or the broken rule, and repeats nothing of the body."""
    assert refusal(VALID) == ""
    detail = refusal(VALID | change)
    assert expected in detail
    assert TOKEN not in detail


@pytest.mark.parametrize("name", ["provider", "token"])
def test_missing_member_is_named(name: str) -> None:
    """The detail names a required member that is missing."""
    body = {member: value for member, value in VALID.items() if member != name}
    assert f"`{name}`" in refusal(body)


@pytest.mark.parametrize(
    "body",
    [
        {**VALID, "provider": TOKEN, "token": "github"},
        {**VALID, TOKEN: "token"},
        [TOKEN],
        TOKEN,
        f'{{"provider":"github","token":"{TOKEN}"',
        f'{{"provider":"github","token":{TOKEN}}}',
    ],
    ids=["as provider", "as a name", "in a list", "bare", "cut off", "unquoted"],
)
def test_token_in_the_wrong_place_is_not_quoted(body: Any) -> None:
    """The detail contains no token, although the decoder's own message would."""
    detail = refusal(body)
    assert detail
    assert TOKEN not in detail


@given(
    st.recursive(
        st.text(min_size=4),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["provider", "token", "url", "email", "other"]) | st.text(), inner
            )
        ),
    )
)
def test_detail_of_any_invalid_body_is_a_fixed_sentence(body: Any) -> None:
    """The detail of any invalid body is one of a few fixed sentences."""
    detail = refusal(json.dumps(body))
    member_details = {
        f"`{name}` is missing or invalid." for name in ("provider", "token", "url", "email")
    }
    body_detail = (
        "The body must be JSON with `provider` and `token`, and optionally `url`, `email` and"
        " `readers`."
    )
    assert detail in member_details | {
        body_detail,
        ONE_WORD,
        KEY_FILE,
        NO_CONTROLS,
        JIRA_SITE,
        TOO_LONG,
    }


@pytest.mark.parametrize(("length", "accepted"), [(MAX_TOKEN_CHARACTERS, True), (61_441, False)])
def test_token_at_and_over_its_limit(
    credentials: CredentialsApi, ada: Credential, length: int, *, accepted: bool
) -> None:
    """A token of the longest length is stored, and one character more is refused."""
    answer = credentials.put(ada, provider="kubeconfig", token="k" * length)
    assert (answer.status == 201) is accepted
    assert bool(credentials.secrets()) is accepted
    if not accepted:
        assert answer.json["detail"] == "`token` is missing or invalid."


@pytest.mark.parametrize(("spare", "accepted"), [(0, True), (1, False)])
def test_credential_at_and_over_the_size_of_a_secret(
    credentials: CredentialsApi, ada: Credential, spare: int, *, accepted: bool
) -> None:
    """A credential of the size of a secret is stored, and one byte more is refused."""
    frame = len('{"provider":"generic","token":"","url":null,"email":null}')
    letters, odd = divmod(65_536 - frame + spare, 2)
    body = json.dumps(
        {"provider": "generic", "token": "é" * letters + "e" * odd}, ensure_ascii=False
    )
    headers = (("content-type", "application/json"),)
    answer = credentials.api.call("PUT", credentials.path(), by=ada, body=body, headers=headers)
    assert (answer.status == 201) is accepted
    assert bool(credentials.secrets()) is accepted
    if not accepted:
        assert answer.json["detail"] == TOO_LONG


@pytest.mark.parametrize(
    ("body", "media_type", "reason"),
    [
        ("k" * 65_537, "application/json", "body_too_large"),
        (json.dumps(VALID), "text/plain", "unsupported_media_type"),
        ("", "application/json", "invalid_body"),
    ],
)
def test_invalid_body_is_refused(
    credentials: CredentialsApi, ada: Credential, body: str, media_type: str, reason: str
) -> None:
    """A body too large, empty or of another media type is refused without an AWS call."""
    headers = (("content-type", media_type),)
    answer = credentials.api.call("PUT", credentials.path(), by=ada, body=body, headers=headers)
    assert answer.reason == reason
    assert credentials.calls() == []


@pytest.mark.parametrize("name", ["GitHub", "git_hub", "-a", "a-", "a" * 64])
def test_invalid_name_is_refused(credentials: CredentialsApi, ada: Credential, name: str) -> None:
    """A credential's name is part of a secret's name, and follows the rule for all names."""
    assert credentials.put(ada, name).reason == "invalid_name"
    assert credentials.calls() == []


def test_printed_body_hides_the_token() -> None:
    """Neither `str` nor `repr` of a body contains the token."""
    event = {
        "body": json.dumps(VALID),
        "multiValueHeaders": {"content-type": ["application/json"]},
    }
    body = put_credential(event)
    assert TOKEN not in f"{body} {body!r}"
