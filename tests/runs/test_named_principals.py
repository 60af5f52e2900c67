"""A role is granted to the principal that an e-mail address, a subject or a whole principal names.

The emails of each test are its own, because a process remembers which profiles it has written.
"""

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from byline.identity.caller import Caller, Principal
from serve_runs.access.admins import DefaultIssuers
from serve_runs.access.control import Access, RoleAssignment
from serve_runs.errors import RequestFailed
from serve_runs.profiles.store import Profiles, profile_key
from serve_runs.role_bindings.principals import Principals
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb

BINDINGS = "/v1/projects/apollo/role-bindings"
RUNS = "/v1/projects/apollo/runs"
OTHER = "https://other.example"
_numbers = count(1)


@pytest.fixture
def strict(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Only Ada administers every project."""
    return start_api(PROJECT_ADMINS="ada")


@pytest.fixture
def email() -> str:
    """An address that no test has used before."""
    return f"Zoe-{next(_numbers)}@example.com"


def sign_in(api: RunsApi, web: Web, subject: str, email: str, **claims: Any) -> Credential:
    """Let a person sign in with an e-mail address, by default a verified one."""
    credential = web.browser(subject, email=email, **{"email_verified": True, **claims})
    assert api.call("GET", "/v1/whoami", by=credential).status == 200
    return credential


def grant(api: RunsApi, by: Credential, **named: Any) -> Answer:
    """Make a principal a viewer."""
    return api.call("PUT", BINDINGS, by=by, document={"role": "project:viewer", **named})


def roles(dynamodb: DynamoDb) -> list[str]:
    """The principals that have a row of roles."""
    rows = (row["entry"]["S"] for row in dynamodb.rows(ACCESS_TABLE))
    return [entry.removeprefix("roles#") for entry in rows if entry.startswith("roles#")]


class TestEmail:
    """A binding that names a person by e-mail address."""

    def test_role_of_a_verified_address_takes_effect(
        self, strict: RunsApi, ada: Credential, web: Web, email: str
    ) -> None:
        """The role is of the person's subject, whatever the case of the address."""
        subject = f"user-{email}"
        zoe = sign_in(strict, web, subject, email, given_name="Zoe", family_name="Lee")
        assert strict.call("GET", RUNS, by=zoe).status == 404
        answer = grant(strict, ada, email=email.upper())
        assert (answer.status, answer.json["subject"]) == (201, subject)
        assert (answer.json["name"], answer.json["email"]) == ("Zoe Lee", email)
        assert (answer.json["seen"], answer.json["warnings"]) == (True, [])
        assert strict.call("GET", RUNS, by=zoe).status == 200
        assert grant(strict, ada, email=email).status == 200
        query = {"role": "project:viewer", "email": email}
        assert strict.call("DELETE", BINDINGS, by=ada, query=query).status == 204
        assert strict.call("GET", RUNS, by=zoe).status == 404

    def test_role_stays_with_the_person_when_the_address_moves(
        self, strict: RunsApi, ada: Credential, web: Web, email: str
    ) -> None:
        """The next owner of the address has no role."""
        first = sign_in(strict, web, f"first-{email}", email)
        assert grant(strict, ada, email=email).status == 201
        sign_in(strict, web, f"first-{email}", f"new-{email}")
        second = sign_in(strict, web, f"second-{email}", email)
        assert strict.call("GET", RUNS, by=first).status == 200
        assert strict.call("GET", RUNS, by=second).status == 404

    @pytest.mark.parametrize("verified", [False, "false", None, "yes"])
    def test_address_that_no_issuer_has_verified_is_unknown(
        self,
        strict: RunsApi,
        ada: Credential,
        web: Web,
        dynamodb: DynamoDb,
        email: str,
        verified: Any,
    ) -> None:
        """A stranger who states somebody's address gets no role; the admin sees who states it."""
        names = {"given_name": "Eve", "family_name": None}
        sign_in(strict, web, f"eve-{email}", email, email_verified=verified, **names)
        answer = grant(strict, ada, email=email)
        assert (answer.status, answer.reason) == (422, "unknown_email")
        [eve] = answer.json["candidates"]
        assert eve == {
            "principal": f"user:{web.url}#eve-{email}",
            "name": "Eve",
            "email": email,
            "email_verified": False,
        }
        assert roles(dynamodb) == []

    def test_strangers_with_the_address_do_not_get_the_role_of_its_owner(
        self, strict: RunsApi, ada: Credential, web: Web, email: str
    ) -> None:
        """However many state the address, the one who has it verified gets the role."""
        for number in range(6):
            sign_in(strict, web, f"0-{number}-{email}", email, email_verified=False)
        sign_in(strict, web, f"zoe-{email}", email)
        assert grant(strict, ada, email=email).json["subject"] == f"zoe-{email}"

    @pytest.mark.parametrize("owners", [2, 6])
    def test_address_of_several_people_is_ambiguous(
        self,
        strict: RunsApi,
        ada: Credential,
        web: Web,
        dynamodb: DynamoDb,
        email: str,
        owners: int,
    ) -> None:
        """No one is chosen; each candidate can be named as a whole."""
        for number in range(owners):
            sign_in(strict, web, f"{number}-{email}", email)
        answer = grant(strict, ada, email=email)
        assert (answer.status, answer.reason) == (422, "ambiguous_email")
        assert roles(dynamodb) == []
        candidates = answer.json["candidates"]
        assert len(candidates) == min(owners, 5)
        named = candidates[-1]["principal"]
        assert grant(strict, ada, principal=named).status == 201
        assert roles(dynamodb) == [named]

    def test_address_that_nobody_has_is_unknown(
        self, strict: RunsApi, ada: Credential, email: str
    ) -> None:
        """There are no candidates."""
        answer = grant(strict, ada, email=email)
        assert (answer.status, answer.reason) == (422, "unknown_email")
        assert answer.json["candidates"] == []

    def test_address_that_its_owner_no_longer_has_is_unknown(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb, email: str
    ) -> None:
        """The profile decides: the index by address may be behind it."""
        sign_in(strict, web, f"zoe-{email}", email)
        zoe = Principal("user", web.url, f"zoe-{email}")
        dynamodb.client.update_item(
            TableName=ACCESS_TABLE,
            Key=profile_key(zoe),
            UpdateExpression="SET address = :new",
            ExpressionAttributeValues={":new": {"S": "new@example.com"}},
        )
        answer = grant(strict, ada, email=email)
        assert (answer.reason, answer.json["candidates"]) == ("unknown_email", [])

    @pytest.mark.parametrize("role", ["", "project:viewer", "project:editor"])
    def test_candidates_are_not_shown_to_others_than_admins(
        self, strict: RunsApi, ada: Credential, grace: Credential, web: Web, email: str, role: str
    ) -> None:
        """Whoever may not grant a role does not find out who has an address."""
        sign_in(strict, web, f"eve-{email}", email, email_verified=False)
        if role:
            assert grant(strict, ada, role=role, subject="grace").status == 201
        answers = [grant(strict, grace, email=each) for each in (email, "nobody@example.com")]
        assert [answer.status for answer in answers] == [403 if role else 404] * 2
        assert email not in answers[0].body
        assert "candidates" not in answers[0].json

    @pytest.mark.parametrize(
        ("role", "may_see"), [("project:admin", True), ("credential:reader", False)]
    )
    def test_candidates_are_shown_to_readers_of_role_bindings_alone(
        self, dynamodb: DynamoDb, role: str, *, may_see: bool
    ) -> None:
        """An operator's role that grants roles, and does not read them, sees no other people."""
        profiles = Profiles(dynamodb.client, ACCESS_TABLE, now=time.time, failed=lambda _: None)
        eve = Caller("user", "bearer", OTHER, "eve", "eve", "eve", email="zoe@example.com")
        profiles.remember(eve)
        granting = RoleAssignment(Principal("user", OTHER, "ada"), frozenset({role}))
        context = {"source": "bearer", "verified": True}
        access = Access("apollo", (granting,), None, context)
        principals = Principals(DefaultIssuers("", "", frozenset()), profiles)
        with pytest.raises(RequestFailed) as refusal:
            principals.owner("zoe@example.com", access)
        assert refusal.value.reason == "unknown_email"
        assert ("candidates" in refusal.value.members) is may_see

    @pytest.mark.parametrize(
        "named",
        [
            {"email": "zoe"},
            {"email": "zoe@"},
            {"email": "zoe@exam\u200bple.com"},
            {"email": "zoe @example.com"},
            {"email": "a@b@c"},
            {"email": "zoe@example.com", "kind": "application"},
            {"email": "zoe@example.com", "issuer": OTHER},
            {"email": "zoe@example.com", "subject": "zoe"},
            {"email": "zoe@example.com", "principal": f"user:{OTHER}#zoe"},
        ],
        ids=str,
    )
    def test_invalid_address_or_combination_is_refused(
        self, strict: RunsApi, ada: Credential, dynamodb: DynamoDb, named: dict[str, str]
    ) -> None:
        """The answer is 400, and nothing is written."""
        answer = grant(strict, ada, **named)
        assert (answer.status, answer.reason[:8]) == (400, "invalid_")
        assert roles(dynamodb) == []


class TestPrincipal:
    """A binding that names a principal as a whole."""

    @pytest.mark.parametrize("kind", ["user", "application"])
    def test_principal_is_a_text_of_a_record_or_an_object_of_who(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb, kind: str
    ) -> None:
        """What the API shows can be sent back as it is."""
        shown = {"kind": kind, "issuer": web.url, "subject": "zoe", "name": "Zoe", "email": None}
        text = f"{kind}:{web.url}#zoe"
        assert grant(strict, ada, principal=shown).status == 201
        assert grant(strict, ada, principal=text).status == 200
        assert roles(dynamodb) == [text]
        query = {"role": "project:viewer", "principal": text}
        assert strict.call("DELETE", BINDINGS, by=ada, query=query).status == 204

    @pytest.mark.parametrize(
        "principal",
        [
            "",
            "zoe",
            "user:zoe",
            f"user:{OTHER}#",
            f"group:{OTHER}#zoe",
            f"unknown:{OTHER}#zoe",
            f"user:{OTHER}#z\u202eoe",
            f"user:{OTHER}#".ljust(841, "z"),
            {"kind": "user", "subject": "zoe"},
            {"kind": "anonymous", "issuer": OTHER, "subject": "zoe"},
            {"kind": "user", "issuer": OTHER, "subject": "z\u200boe"},
            {"kind": "user", "issuer": f"{OTHER}\u2060", "subject": "zoe"},
            [],
        ],
        ids=str,
    )
    def test_invalid_principal_is_refused(
        self, strict: RunsApi, ada: Credential, dynamodb: DynamoDb, principal: Any
    ) -> None:
        """The answer is 400, and nothing is written."""
        answer = grant(strict, ada, principal=principal)
        assert (answer.status, answer.reason[:8]) == (400, "invalid_")
        assert roles(dynamodb) == []

    def test_anonymous_as_a_principal_is_no_admin(
        self, start_api: Callable[..., RunsApi], ada: Credential
    ) -> None:
        """No way to name the principal evades the rule for anonymous callers."""
        api = start_api(PROJECT_ADMINS="ada", ANONYMOUS_CALLERS="allow")
        assert grant(api, ada, principal="anonymous").status == 201
        assert grant(api, ada, role="project:admin", principal="anonymous").status == 400


class TestSeen:
    """Whether a principal has called before, and the warnings of a binding without effect."""

    def test_subject_that_never_signed_in_is_accepted_with_a_warning(
        self, strict: RunsApi, ada: Credential
    ) -> None:
        """A role may be granted before the first sign-in; a typing error shows."""
        answer = grant(strict, ada, subject=f"user-{next(_numbers)}")
        assert (answer.status, answer.json["seen"]) == (201, False)
        [warning] = answer.json["warnings"]
        assert warning["code"] == "not_seen"
        assert "GET /v1/whoami" in warning["detail"]
        assert "`email`" not in warning["detail"]

    def test_address_as_a_subject_is_accepted_with_a_hint(
        self, strict: RunsApi, ada: Credential, email: str
    ) -> None:
        """Some issuers have addresses as subjects, so it is no error."""
        answer = grant(strict, ada, subject=email)
        assert answer.status == 201
        assert "send `email`" in answer.json["warnings"][0]["detail"]

    def test_principal_of_an_issuer_that_is_not_trusted_has_its_own_warning(
        self, strict: RunsApi, ada: Credential, web: Web
    ) -> None:
        """No caller can have such an issuer, so the role has no effect."""
        [warning] = grant(strict, ada, subject="zoe", issuer=OTHER).json["warnings"]
        assert warning["code"] == "untrusted_issuer"
        assert web.url in warning["detail"]

    @pytest.mark.parametrize("kind", ["user", "application"])
    def test_caller_without_any_name_is_seen(
        self, strict: RunsApi, ada: Credential, web: Web, kind: str
    ) -> None:
        """A token with a subject alone is enough, also for an application."""
        subject = f"nameless-{next(_numbers)}"
        client = subject if kind == "application" else "web"
        binding = {"kind": kind, "subject": subject}
        assert grant(strict, ada, **binding).json["seen"] is False
        strict.call("GET", "/v1/whoami", by=web.bearer(subject, client))
        answer = grant(strict, ada, **binding)
        assert (answer.status, answer.json["seen"], answer.json["warnings"]) == (200, True, [])
        [listed] = strict.call("GET", BINDINGS, by=ada).json["role_bindings"]
        assert (listed["seen"], listed["name"], listed["email"]) == (True, subject, None)

    def test_agent_and_person_of_a_delegated_token_are_seen(
        self, strict: RunsApi, ada: Credential, web: Web
    ) -> None:
        """Both have called: one by the other."""
        person, agent = (f"{name}-{next(_numbers)}" for name in ("person", "agent"))
        strict.call("GET", "/v1/whoami", by=web.bearer(person, act={"sub": agent}))
        assert grant(strict, ada, subject=person).json["seen"] is True
        assert grant(strict, ada, subject=agent, kind="application").json["seen"] is True

    def test_anonymous_is_neither_seen_nor_warned_of(
        self, start_api: Callable[..., RunsApi], ada: Credential
    ) -> None:
        """It is no one who could sign in."""
        api = start_api(PROJECT_ADMINS="ada", ANONYMOUS_CALLERS="allow")
        answer = grant(api, ada, kind="anonymous").json
        assert (answer["seen"], answer["name"], answer["warnings"]) == (None, None, [])

    def test_list_shows_who_was_seen(
        self, strict: RunsApi, ada: Credential, web: Web, email: str
    ) -> None:
        """A list shows name and address beside the subject, and which subjects never called."""
        sign_in(strict, web, f"zoe-{email}", email, given_name="Zoe", family_name="Lee")
        grant(strict, ada, email=email)
        grant(strict, ada, subject="aaa-nobody")
        listed = strict.call("GET", BINDINGS, by=ada).json["role_bindings"]
        shown = [(each["name"], each["email"], each["seen"]) for each in listed]
        assert shown == [("aaa-nobody", None, False), ("Zoe Lee", email, True)]
