"""What comes in a request and becomes a key of DynamoDB's: never too long for one.

The stand-in refuses such keys as DynamoDB does, which would be a 500 here.
"""

from typing import Any

import pytest

from byline.identity.caller import MAX_PRINCIPAL_BYTES
from serve_runs.web.paging import encode_cursor
from tests.runs.identity_server import Credential, Web
from tests.runs.rights_given import ACCOUNTS, register
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb

PROJECT = "/v1/projects/apollo"
WIDE = "\N{MATHEMATICAL DOUBLE-STRUCK CAPITAL A}"
"""Four bytes in one character."""


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (f"{PROJECT}/role-bindings", "role bindings of apollo"),
        (f"{PROJECT}/service-accounts", "service accounts of apollo"),
        (f"{PROJECT}/runs", "RunQuery(project='apollo', creator=None,"
         " creator_issuer=None, status=None)"),
    ],
    ids=["role bindings", "service accounts", "runs"],
)  # fmt: skip
def test_forged_cursor_is_no_longer_than_a_key(
    api: RunsApi, ada: Credential, path: str, query: str
) -> None:
    """The check in a cursor is no secret: one of any length can be made. 400 from where on it is
    too long for a key, or for a query."""
    for length, expected in ((300, {200}), (MAX_PRINCIPAL_BYTES, {200, 400}), (1_500, {400})):
        cursor = encode_cursor("x" * length, query=query)
        answer = api.call("GET", path, by=ada, query={"cursor": cursor})
        assert answer.status in expected, answer.body


def test_forged_cursor_of_the_longest_principal_is_followed_and_a_longer_one_is_not(
    api: RunsApi, ada: Credential
) -> None:
    """The boundary, in a pair."""
    for length, status in ((MAX_PRINCIPAL_BYTES, 200), (MAX_PRINCIPAL_BYTES + 1, 400)):
        cursor = encode_cursor("x" * length, query="role bindings of apollo")
        answer = api.call("GET", f"{PROJECT}/role-bindings", by=ada, query={"cursor": cursor})
        assert answer.status == status, answer.body


@pytest.mark.parametrize("prefix", ["", "user:", "application:", "unknown:"])
def test_person_of_the_audit_trail_is_no_longer_than_a_key(
    api: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb, prefix: str
) -> None:
    """400 without a read; the longest that may be is asked for, and nobody is it."""
    beside = 0 if prefix else len(f"user:{web.url}#".encode())
    longest = prefix + "x" * (MAX_PRINCIPAL_BYTES - beside - len(prefix))
    dynamodb.calls.clear()
    for person in (longest + "x", prefix + WIDE * 600):
        answer = api.call("GET", f"{PROJECT}/audit", by=ada, query={"person": person})
        assert (answer.status, answer.reason) == (400, "invalid_parameter")
    assert dynamodb.calls == []
    answer = api.call("GET", f"{PROJECT}/audit", by=ada, query={"person": longest})
    assert (answer.status, answer.json["records"]) == (200, [])


@pytest.mark.parametrize("creator", ["x" * 255, WIDE * 255, "\u0130" * 254 + "@"])
def test_creator_of_any_length_that_is_taken_is_looked_for(
    api: RunsApi, ada: Credential, creator: str
) -> None:
    """As a subject, and as an e-mail, whose lower case may be longer than it is."""
    for path in ("/v1/runs", f"{PROJECT}/runs"):
        answer = api.call("GET", path, by=ada, query={"created_by": creator})
        assert (answer.status, answer.json["runs"]) == (200, [])


def test_caller_whose_subject_is_too_long_for_a_key_is_refused(api: RunsApi, web: Web) -> None:
    """A subject has 255 bytes: 401 to whoever has more, from either way in."""
    longest = "x" * 3 + WIDE * 63
    for subject, known, status in ((longest, 200, 404), (longest + "x", 401, 401)):
        for caller in (web.browser(subject), web.bearer(subject, client=subject)):
            assert api.call("GET", "/v1/whoami", by=caller).status == known
            assert api.call("GET", f"{PROJECT}/runs", by=caller).status == status


def test_service_account_whose_subject_is_too_long_for_a_key_is_refused(
    api: RunsApi, ada: Credential, web: Web
) -> None:
    """422: its token counts nowhere."""
    subject = WIDE * 64
    refused = register(api, ada, web.bearer(subject, client=subject))
    assert (refused.status, refused.reason) == (422, "invalid_service_account_token")
    assert api.call("GET", ACCOUNTS, by=ada).json["service_accounts"] == []


def test_role_is_given_to_the_longest_subject_and_to_no_longer_one(
    api: RunsApi, ada: Credential
) -> None:
    """The limit is of bytes, and of issuer and subject together."""
    given: dict[str, Any] = {"role": "project:viewer", "issuer": "https://x.example"}
    beside = len("user:https://x.example#")
    most = MAX_PRINCIPAL_BYTES - beside
    for length, status in ((most, 201), (most + 1, 400)):
        document = given | {"subject": WIDE * (length // 4) + "x" * (length % 4)}
        answer = api.call("PUT", f"{PROJECT}/role-bindings", by=ada, document=document)
        assert answer.status == status, answer.body
