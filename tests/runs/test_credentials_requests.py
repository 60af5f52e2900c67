"""What a put of a credential may say: what it may not gets a reason that quotes none of it."""

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
    """What is said of a body; nothing where it is taken."""
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
    ("change", "told"),
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
def test_one_spoiled_member_is_named(change: dict[str, Any], told: str) -> None:
    """Or the rule that it breaks; nothing of what was sent is repeated."""
    assert refusal(VALID) == ""
    detail = refusal(VALID | change)
    assert told in detail
    assert TOKEN not in detail


@pytest.mark.parametrize("name", ["provider", "token"])
def test_missing_member_is_named(name: str) -> None:
    """The two without which there is no credential."""
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
    """The decoder's own words would: of an enumeration's value, of a member's name."""
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
def test_no_body_is_quoted(body: Any) -> None:
    """Whatever is sent, what is said of it is one of a few sentences."""
    detail = refusal(json.dumps(body))
    named = {f"`{name}` is missing or invalid." for name in ("provider", "token", "url", "email")}
    general = (
        "The body is no credential: it has `provider`, `token`, and perhaps `url` and `email`."
    )
    assert detail in named | {general, ONE_WORD, KEY_FILE, NO_CONTROLS, JIRA_SITE, TOO_LONG}


@pytest.mark.parametrize(("length", "taken"), [(MAX_TOKEN_CHARACTERS, True), (61_441, False)])
def test_longest_token_fits_into_a_secret(
    credentials: CredentialsApi, ada: Credential, length: int, *, taken: bool
) -> None:
    """60 KB of a kubeconfig, and not one character more."""
    answer = credentials.put(ada, provider="kubeconfig", token="k" * length)
    assert (answer.status == 201) is taken
    assert bool(credentials.secrets()) is taken
    if not taken:
        assert answer.json["detail"] == "`token` is missing or invalid."


@pytest.mark.parametrize(("spare", "taken"), [(0, True), (1, False)])
def test_longest_credential_fits_into_a_secret(
    credentials: CredentialsApi, ada: Credential, spare: int, *, taken: bool
) -> None:
    """Its bytes count: a body of letters that have two is within every other limit."""
    frame = len('{"provider":"generic","token":"","url":null,"email":null}')
    letters, odd = divmod(65_536 - frame + spare, 2)
    body = json.dumps(
        {"provider": "generic", "token": "é" * letters + "e" * odd}, ensure_ascii=False
    )
    headers = (("content-type", "application/json"),)
    answer = credentials.api.call("PUT", credentials.path(), by=ada, body=body, headers=headers)
    assert (answer.status == 201) is taken
    assert bool(credentials.secrets()) is taken
    if not taken:
        assert answer.json["detail"] == TOO_LONG


@pytest.mark.parametrize(
    ("body", "media_type", "reason"),
    [
        ("k" * 65_537, "application/json", "body_too_large"),
        (json.dumps(VALID), "text/plain", "unsupported_media_type"),
        ("", "application/json", "invalid_body"),
    ],
)
def test_body_that_is_none_is_refused(
    credentials: CredentialsApi, ada: Credential, body: str, media_type: str, reason: str
) -> None:
    """As everywhere; nothing is read of the credential, and nothing written."""
    headers = (("content-type", media_type),)
    answer = credentials.api.call("PUT", credentials.path(), by=ada, body=body, headers=headers)
    assert answer.reason == reason
    assert credentials.calls() == []


@pytest.mark.parametrize("name", ["GitHub", "git_hub", "-a", "a-", "a" * 64])
def test_name_that_is_none_is_refused(
    credentials: CredentialsApi, ada: Credential, name: str
) -> None:
    """A credential's name follows the rule for all names, because it is part of a secret's name."""
    assert credentials.put(ada, name).reason == "invalid_name"
    assert credentials.calls() == []


def test_representations_hide_the_token() -> None:
    """What is printed by mistake."""
    event = {
        "body": json.dumps(VALID),
        "multiValueHeaders": {"content-type": ["application/json"]},
    }
    body = put_credential(event)
    assert TOKEN not in f"{body} {body!r}"
