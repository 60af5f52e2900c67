"""Values of a request that become keys of DynamoDB never exceed the size of a key.

The stand-in refuses such keys as DynamoDB does, and the function would answer 500.
"""

from typing import Any

import pytest

from byline.identity.caller import MAX_PRINCIPAL_BYTES
from serve_runs.web.paging import encode_cursor
from tests.runs.access_rows import ACCOUNTS, register
from tests.runs.identity_server import Credential, Web
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
def test_forged_cursor_longer_than_a_key_is_refused(
    api: RunsApi, ada: Credential, path: str, query: str
) -> None:
    """A cursor's checksum is no secret, so its length is checked: 400 where it exceeds a key."""
    for length, expected in ((300, {200}), (MAX_PRINCIPAL_BYTES, {200, 400}), (1_500, {400})):
        cursor = encode_cursor("x" * length, query=query)
        answer = api.call("GET", path, by=ada, query={"cursor": cursor})
        assert answer.status in expected, answer.body


def test_forged_cursor_at_and_over_the_longest_principal(api: RunsApi, ada: Credential) -> None:
    """A cursor of the longest principal is accepted, and one byte more is refused."""
    for length, status in ((MAX_PRINCIPAL_BYTES, 200), (MAX_PRINCIPAL_BYTES + 1, 400)):
        cursor = encode_cursor("x" * length, query="role bindings of apollo")
        answer = api.call("GET", f"{PROJECT}/role-bindings", by=ada, query={"cursor": cursor})
        assert answer.status == status, answer.body


@pytest.mark.parametrize("prefix", ["", "user:", "application:", "unknown:"])
def test_person_of_an_audit_query_at_and_over_its_limit(
    api: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb, prefix: str
) -> None:
    """The longest principal gives an empty list; a longer one is answered 400 without a read."""
    prefix_bytes = 0 if prefix else len(f"user:{web.url}#".encode())
    longest = prefix + "x" * (MAX_PRINCIPAL_BYTES - prefix_bytes - len(prefix))
    dynamodb.calls.clear()
    for person in (longest + "x", prefix + WIDE * 600):
        answer = api.call("GET", f"{PROJECT}/audit", by=ada, query={"person": person})
        assert (answer.status, answer.reason) == (400, "invalid_parameter")
    assert dynamodb.calls == []
    answer = api.call("GET", f"{PROJECT}/audit", by=ada, query={"person": longest})
    assert (answer.status, answer.json["records"]) == (200, [])


@pytest.mark.parametrize("creator", ["x" * 315, WIDE * 315, "\u0130" * 314 + "@"])
def test_longest_creator_is_searched(api: RunsApi, ada: Credential, creator: str) -> None:
    """The longest `created_by` is searched as a subject and as an e-mail in lower case."""
    for path in ("/v1/runs", f"{PROJECT}/runs"):
        answer = api.call("GET", path, by=ada, query={"created_by": creator})
        assert (answer.status, answer.json["runs"]) == (200, [])


def test_caller_with_a_subject_over_its_limit_is_refused(api: RunsApi, web: Web) -> None:
    """A caller's subject has at most 315 bytes; a longer one is answered 401."""
    longest = "x" * 3 + WIDE * 78
    for subject, whoami_status, status in ((longest, 200, 404), (longest + "x", 401, 401)):
        for caller in (web.browser(subject), web.bearer(subject, client=subject)):
            assert api.call("GET", "/v1/whoami", by=caller).status == whoami_status
            assert api.call("GET", f"{PROJECT}/runs", by=caller).status == status


def test_service_account_with_a_subject_over_its_limit_is_refused(
    api: RunsApi, ada: Credential, web: Web
) -> None:
    """A service account's token with a subject over 315 bytes is answered 422."""
    subject = WIDE * 79
    refused = register(api, ada, web.bearer(subject, client=subject))
    assert (refused.status, refused.reason) == (422, "invalid_service_account_token")
    assert api.call("GET", ACCOUNTS, by=ada).json["service_accounts"] == []


def test_role_for_a_subject_at_and_over_its_limit(api: RunsApi, ada: Credential) -> None:
    """Issuer and subject together have a limit in bytes, and one byte more is refused."""
    binding: dict[str, Any] = {"role": "project:viewer", "issuer": "https://x.example"}
    prefix_bytes = len("user:https://x.example#")
    longest = MAX_PRINCIPAL_BYTES - prefix_bytes
    for length, status in ((longest, 201), (longest + 1, 400)):
        document = binding | {"subject": WIDE * (length // 4) + "x" * (length % 4)}
        answer = api.call("PUT", f"{PROJECT}/role-bindings", by=ada, document=document)
        assert answer.status == status, answer.body
