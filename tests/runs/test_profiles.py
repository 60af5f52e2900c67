"""Profiles: the names in verified tokens, stored to show and to find people, and never to decide.

A process remembers which profiles it has written, so each test has subjects of its own.
"""

import time
from collections.abc import Callable
from itertools import count
from threading import Event
from typing import Any

import pytest

from byline.identity.caller import Caller, Principal, principal_of
from serve_runs.credentials.views import Credential as StoredCredential
from serve_runs.credentials.views import credential_item, read_credential
from serve_runs.profiles.store import Profiles, profile_key
from tests.runs.access_rows import RUNS, AccessRows
from tests.runs.conftest import LogLines
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi, metrics
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, Meanwhile, Refusal

ISSUER = "https://id.example"
_subjects = count(1)


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


@pytest.fixture
def subject(access_rows: AccessRows) -> str:
    """The subject of an editor that no test has used before."""
    subject = f"person-{next(_subjects)}"
    access_rows.grant("project:editor", subject)
    return subject


@pytest.fixture
def failures() -> list[Exception]:
    """The errors of failed reads and writes."""
    return []


@pytest.fixture
def times() -> list[float]:
    """The times of the clock. The last one is the current time."""
    return [1_000.0]


@pytest.fixture
def profiles(dynamodb: DynamoDb, failures: list[Exception], times: list[float]) -> Profiles:
    """Profiles with a clock and a list of failures."""
    return Profiles(dynamodb.client, ACCESS_TABLE, now=lambda: times[-1], failed=failures.append)


def caller(subject: str = "lin", **names: Any) -> Caller:
    """A verified caller with these names."""
    return Caller(
        kind="user",
        source="bearer",
        issuer=ISSUER,
        subject=subject,
        token_subject=subject,
        name=subject,
        **names,
    )


def profile(dynamodb: DynamoDb, principal: Principal) -> dict[str, Any] | None:
    """The stored profile of a principal, None where it has none."""
    key = profile_key(principal)
    item: dict[str, Any] | None = dynamodb.client.get_item(TableName=ACCESS_TABLE, Key=key).get(
        "Item"
    )
    return item


def named(web: Web, subject: str, email: str = "") -> Credential:
    """The credential of a person with names."""
    return web.browser(subject, given_name="Lin", family_name="Lee", email=email)


def listed_names(
    api: RunsApi, by: Credential, path: str, created_by: str, limit: int = 2
) -> list[str]:
    """The names of the runs that a list by creator contains, over all its pages."""
    stored: list[str] = []
    query = {"created_by": created_by, "limit": str(limit)}
    while True:
        page = api.call("GET", path, by=by, query=query).json
        stored += [run["name"] for run in page["runs"]]
        if page["next_cursor"] is None:
            return stored
        query["cursor"] = page["next_cursor"]


def test_run_with_a_subject_alone_is_shown_with_names(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb
) -> None:
    """A run created with a subject-only token shows the person's name once it is known."""
    without_names = web.bearer(subject)
    run = api.create(without_names)
    started = api.call("POST", f"{RUNS}/{run['id']}/start", by=without_names).json
    assert run["executed_by"] == started["started_by"] == {"user": {"id": {"subject": subject}}}
    assert api.call("GET", "/v1/whoami", by=named(web, subject, "Lin@Example.com")).status == 200
    lin = {
        "user": {
            "id": {"subject": subject},
            "spec": {"firstName": "Lin", "lastName": "Lee", "email": "Lin@Example.com"},
        }
    }
    read = api.call("GET", f"{RUNS}/{run['id']}", by=without_names).json
    assert (read["executed_by"], read["started_by"]) == (lin, lin)
    dynamodb.calls.clear()
    [listed] = api.call("GET", RUNS, by=without_names).json["runs"]
    assert (listed["executed_by"], listed["started_by"]) == (lin, lin)
    assert [call.operation for call in dynamodb.calls] == ["BatchGetItem", "Query", "BatchGetItem"]


def test_run_with_names_keeps_them(api: RunsApi, web: Web, subject: str) -> None:
    """A run shows the names of its creation, whatever the person's later names are."""
    run = api.create(named(web, subject, "lin@example.com"))
    married = web.browser(subject, given_name="Lin", family_name="Chen")
    read = api.call("GET", f"{RUNS}/{run['id']}", by=married).json
    assert read["executed_by"]["user"]["spec"]["lastName"] == "Lee"


def test_names_of_another_issuers_subject_are_not_shown(
    api: RunsApi, web: Web, subject: str, profiles: Profiles
) -> None:
    """The same subject of another issuer is another person, whose names are not shown."""
    profiles.remember(caller(subject, given_name="Mallory"))
    run = api.create(web.bearer(subject))
    assert api.call("GET", f"{RUNS}/{run['id']}", by=web.bearer(subject)).json == run


def test_unreadable_profiles_do_not_change_the_answer(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb, log_lines: LogLines
) -> None:
    """Where profiles cannot be read, runs are shown with subjects and a metric is counted."""
    run = api.create(web.bearer(subject))
    admin = web.browser("ada")  # an admin's roles need no read
    refusal = Refusal("BatchGetItem", "AccessDeniedException")
    dynamodb.faults.append(refusal)
    assert api.call("GET", f"{RUNS}/{run['id']}", by=admin).json == run
    assert metrics(log_lines(), "ProfileUnavailable")


def test_known_caller_causes_no_profile_write(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb
) -> None:
    """A process writes a profile once, and the next request makes no call for it."""
    lin = named(web, subject, "lin@example.com")
    for _ in range(2):
        assert api.call("GET", "/v1/whoami", by=lin).status == 200
        assert len(dynamodb.profile_writes) == 1
    assert api.call("GET", "/v1/whoami", by=web.bearer(subject)).status == 200
    assert len(dynamodb.profile_writes) == 1


def test_failed_profile_write_fails_no_request(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb, log_lines: LogLines
) -> None:
    """A failed write is counted once, and the next request does not repeat it."""
    lin = named(web, subject)
    dynamodb.faults.append(Refusal("UpdateItem", "AccessDeniedException"))
    for _ in range(2):
        assert api.call("POST", RUNS, by=lin).status == 201
    assert len(dynamodb.profile_writes) == 1
    assert len(metrics(log_lines(), "ProfileUnavailable")) == 1


def test_hanging_profile_write_does_not_delay_the_answer(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb, log_lines: LogLines
) -> None:
    """The request is answered while DynamoDB has not answered for the profile.

    The write is counted as failed. It may end later, which is harmless.
    """
    answered = Event()
    dynamodb.faults.append(Meanwhile("UpdateItem", lambda: answered.wait(20)))
    answer = api.call("GET", "/v1/whoami", by=named(web, subject))
    assert len(dynamodb.profile_writes) == 1
    assert answer.status == 200
    assert metrics(log_lines(), "ProfileUnavailable")
    answered.set()
    principal = Principal("user", web.url, subject)
    for _ in range(200):
        if profile(dynamodb, principal):
            break
        time.sleep(0.05)
    assert profile(dynamodb, principal)


def test_hanging_profile_read_does_not_delay_a_list(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb, log_lines: LogLines
) -> None:
    """A run is shown with its subject alone while DynamoDB has not answered for the names."""
    run = api.create(web.bearer(subject))
    answered = Event()
    dynamodb.faults.append(Meanwhile("BatchGetItem", lambda: answered.wait(20)))
    dynamodb.calls.clear()
    answer = api.call("GET", f"{RUNS}/{run['id']}", by=web.browser("ada"))
    reads = [call.operation for call in dynamodb.calls]
    answered.set()
    assert answer.json == run
    assert reads.count("BatchGetItem") == 1
    assert metrics(log_lines(), "ProfileUnavailable")


@pytest.mark.parametrize("trust", ["forwarded", "ignore"])
def test_unverified_caller_does_not_update_its_profile(
    start_api: Callable[..., RunsApi], web: Web, subject: str, dynamodb: DynamoDb, trust: str
) -> None:
    """Unverified callers do not update profiles."""
    api = start_api(IDENTITY_TRUST=trust, ANONYMOUS_CALLERS="allow")
    api.call("GET", RUNS, by=named(web, subject, "lin@example.com"))
    assert dynamodb.profile_writes == []


def test_refused_credential_writes_no_profile(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb
) -> None:
    """A token that does not verify writes no profile."""
    header, token = named(web, subject).headers[0]
    signature = web.browser("another").headers[0][1].split(".")[2]
    forged_token = ".".join((*token.split(".")[:2], signature))
    forged = Credential(((header, forged_token),), web.browser().group)
    assert api.call("GET", "/v1/whoami", by=forged).status == 401
    assert dynamodb.profile_writes == []


def test_later_names_replace_earlier_ones(
    profiles: Profiles, dynamodb: DynamoDb, times: list[float], failures: list[Exception]
) -> None:
    """Later names replace earlier ones; equal names and names that come late change nothing."""
    lin = caller(given_name="Lin", family_name="Lee", email="lin@example.com")
    profiles.remember(lin)
    times.append(2_000.0)
    profiles.remember(caller(given_name="Lin", family_name="Chen", email="Chen@example.com"))
    stored = profile(dynamodb, principal_of(lin))
    assert stored is not None
    assert (stored["last_name"], stored["address"]) == ({"S": "Chen"}, {"S": "Chen@example.com"})
    assert (stored["email"], stored["seen_at"]) == ({"S": "chen@example.com"}, {"N": "2000000"})
    slow = Profiles(dynamodb.client, ACCESS_TABLE, now=lambda: 1_500.0, failed=failures.append)
    slow.remember(lin)
    assert profile(dynamodb, principal_of(lin)) == stored
    times.append(3_000.0)
    again = Profiles(dynamodb.client, ACCESS_TABLE, now=lambda: 3_000.0, failed=failures.append)
    again.remember(caller(given_name="Lin", family_name="Chen", email="Chen@example.com"))
    assert profile(dynamodb, principal_of(lin)) == stored
    assert failures == []


def test_names_missing_in_a_token_are_kept(profiles: Profiles, dynamodb: DynamoDb) -> None:
    """A token with an e-mail address alone keeps the name of an earlier token."""
    profiles.remember(caller(given_name="Lin", family_name="Lee"))
    profiles.remember(caller())
    [item] = dynamodb.rows(ACCESS_TABLE)
    assert "email" not in item
    later = Profiles(dynamodb.client, ACCESS_TABLE, now=lambda: 2_000.0, failed=print)
    later.remember(caller(email="lin@example.com"))
    names_by_principal = later.display_names([principal_of(caller())])
    spec = names_by_principal[principal_of(caller())].user
    assert spec is not None
    assert (spec.spec.first_name, spec.spec.email) == ("Lin", "lin@example.com")


def test_profile_of_a_service_account_has_only_its_name(
    profiles: Profiles, dynamodb: DynamoDb
) -> None:
    """A service account's profile has its name, and no e-mail address."""
    robot = Caller(
        kind="application",
        source="bearer",
        issuer=ISSUER,
        subject="r-1",
        token_subject="r-1",
        name="robot",
        email="lin@example.com",
    )
    profiles.remember(robot)
    [item] = dynamodb.rows(ACCESS_TABLE)
    assert item.keys() == {"scope", "entry", "seen_at", "name"}
    assert profiles.find_by_email("lin@example.com").principals == ()


@pytest.mark.parametrize(("after", "calls"), [(59.9, 1), (60.0, 2)])
def test_failed_write_is_retried_after_a_minute(
    profiles: Profiles, dynamodb: DynamoDb, times: list[float], after: float, calls: int
) -> None:
    """A failed write is not repeated for a minute, and is repeated afterwards."""
    dynamodb.faults.append(Refusal("UpdateItem", "AccessDeniedException"))
    profiles.remember(caller(given_name="Lin"))
    times.append(1_000.0 + after)
    profiles.remember(caller(given_name="Lin"))
    assert len(dynamodb.profile_writes) == calls


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize(("people", "are_more"), [(5, False), (6, True)])
def test_email_finds_at_most_five_principals(
    profiles: Profiles, people: int, *, are_more: bool, verified: bool
) -> None:
    """Issuers may not agree on the owner of an address. The result says if more have it."""
    for number in range(people):
        lin = caller(f"lin-{number}", email="Lin@Example.com", email_verified=verified)
        profiles.remember(lin)
    found = profiles.find_by_email("LIN@example.COM")
    assert (len(found.principals), found.are_more) == (5, are_more)


@pytest.mark.parametrize("spelling", ["zoe@example.com", "VERIFIED#zoe@example.com"])
def test_owner_of_a_verified_address_comes_before_strangers(
    profiles: Profiles, spelling: str
) -> None:
    """Strangers who state an address, or imitate the key of a verified one, hide nobody."""
    for number in range(9):
        profiles.remember(caller(f"a-{number}", email=spelling))
    zoe = caller("zoe", email="Zoe@example.com", email_verified=True)
    profiles.remember(zoe)
    found = profiles.find_by_email("zoe@example.com")
    assert found.principals[0] == principal_of(zoe)
    assert found.are_more is (spelling == "zoe@example.com")


def test_token_without_the_verification_leaves_the_address_verified(
    profiles: Profiles, dynamodb: DynamoDb, times: list[float]
) -> None:
    """An SDK's token that lacks `email_verified` takes nothing back, and its names count."""
    profiles.remember(caller("zoe", email="zoe@example.com", email_verified=True))
    before = profile(dynamodb, principal_of(caller("zoe"))) or {}
    times.append(2_000.0)
    profiles.remember(caller("zoe", email="zoe@example.com", given_name="Zoe"))
    after = profile(dynamodb, principal_of(caller("zoe"))) or {}
    assert after["email"] == before["email"]
    assert after["first_name"] == {"S": "Zoe"}
    times.append(3_000.0)
    profiles.remember(caller("zoe", email="new@example.com"))
    assert profiles.find_by_email("zoe@example.com").principals == ()
    assert profiles.find_by_email("new@example.com").principals == (principal_of(caller("zoe")),)


def strangers_claim(api: RunsApi, web: Web, subject: str, email: str) -> None:
    """Let five strangers sign in with an address that their issuer has not verified.

    Their subjects precede `subject`.
    """
    for number in range(5):
        stranger = web.browser(f"0-{subject}-{number}", email=email, email_verified="false")
        assert api.call("GET", "/v1/whoami", by=stranger).status == 200


@pytest.mark.parametrize("verified", [True, "true"])
def test_strangers_do_not_hide_the_owner_of_a_verified_address(
    api: RunsApi, web: Web, subject: str, verified: Any
) -> None:
    """Lists by e-mail contain the owner's runs and records, and say that more have the address."""
    email = f"{subject}@example.com"
    strangers_claim(api, web, subject, email)
    api.create(web.browser(subject, email=email, email_verified=verified), name="hers")
    admin = web.browser("ada")
    lists = (
        (RUNS, "created_by", "runs"),
        ("/v1/runs", "created_by", "runs"),
        ("/v1/projects/apollo/audit", "person", "records"),
    )
    for path, parameter, member in lists:
        answer = api.call("GET", path, by=admin, query={parameter: email}).json
        assert (len(answer[member]), answer["more_people"]) == (1, True)
        answer = api.call("GET", path, by=admin, query={parameter: subject}).json
        assert (len(answer[member]), answer["more_people"]) == (1, False)


@pytest.mark.parametrize("unverified", [False, "yes", 1, None])
def test_address_that_is_not_verified_does_not_come_first(
    api: RunsApi, web: Web, subject: str, unverified: Any
) -> None:
    """Only `true` says that the issuer has verified the address."""
    email = f"{subject}@example.com"
    strangers_claim(api, web, subject, email)
    api.create(web.browser(subject, email=email, email_verified=unverified), name="theirs")
    answer = api.call("GET", RUNS, by=web.browser("ada"), query={"created_by": email}).json
    assert (answer["runs"], answer["more_people"]) == ([], True)


def test_address_of_an_earlier_versions_profile_is_found(
    profiles: Profiles, dynamodb: DynamoDb
) -> None:
    """An earlier version did not store whether an address is verified."""
    lin = principal_of(caller("lin"))
    row = profile_key(lin) | {"email": {"S": "lin@example.com"}, "seen_at": {"N": "1"}}
    dynamodb.client.put_item(TableName=ACCESS_TABLE, Item=row)
    assert profiles.find_by_email("lin@example.com").principals == (lin,)
    profiles.remember(caller("lin", email="lin@example.com", email_verified=True))
    assert profiles.find_by_email("lin@example.com").principals == (lin,)
    assert profile(dynamodb, lin) != row


def test_list_by_email_contains_the_persons_runs(api: RunsApi, web: Web, subject: str) -> None:
    """The list ignores case, and contains runs created with a subject-only token."""
    email = f"Lin.{subject}@Example.com"
    api.create(named(web, subject, email), name="one")
    api.create(web.bearer(subject), name="two")
    api.create(web.browser("ada"), name="not theirs")
    admin = web.browser("ada")
    for path in (RUNS, "/v1/runs"):
        for spelling in (email, email.lower(), email.upper()):
            assert listed_names(api, admin, path, spelling) == ["two", "one"]
        assert listed_names(api, admin, path, subject) == ["two", "one"]
        assert listed_names(api, admin, path, f"no-{email}") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_list_by_email_of_several_persons_is_one_list(
    api: RunsApi, web: Web, access_rows: AccessRows, subject: str, limit: int
) -> None:
    """The list has the runs of all owners and of the subject that equals the address, each once."""
    email = f"{subject}@example.com"
    owners = [subject, f"{subject}-b", email]
    for one in owners:
        access_rows.grant("project:editor", one)
    names = []
    for number, one in enumerate([*owners, *owners[::-1], owners[1], owners[2]]):
        api.create(named(web, one, email), name=str(number))
        names.append(str(number))
    admin = web.browser("ada")
    for path in (RUNS, "/v1/runs"):
        assert listed_names(api, admin, path, email, limit) == names[::-1]


def test_list_by_email_excludes_invisible_projects(
    api: RunsApi, web: Web, access_rows: AccessRows, subject: str
) -> None:
    """Knowing an address makes no run visible."""
    email = f"{subject}@example.com"
    access_rows.grant("project:editor", subject, project="gemini")
    lin = named(web, subject, email)
    api.create(lin, name="visible")
    api.create(lin, "gemini", name="invisible")
    access_rows.grant("project:viewer", f"{subject}-eve")
    eve = web.browser(f"{subject}-eve")
    assert listed_names(api, eve, "/v1/runs", email) == ["visible"]
    assert listed_names(api, lin, "/v1/runs", "me") == ["invisible", "visible"]


@pytest.mark.parametrize("column", ["", "email"])
def test_stored_credential_with_an_email_does_not_affect_the_list(
    api: RunsApi, web: Web, dynamodb: DynamoDb, subject: str, column: str
) -> None:
    """A credential with someone's address is not in the index, and would not count there."""
    email = f"{subject}@example.com"
    credential = StoredCredential("apollo", "jira", "1", "jira", "now", "now", email=email)
    row = credential_item(credential)
    assert read_credential(row) == credential
    dynamodb.client.put_item(
        TableName=ACCESS_TABLE, Item=row | ({column: {"S": email}} if column else {})
    )
    indexed = dynamodb.client.scan(TableName=ACCESS_TABLE, IndexName="by-email")
    assert bool(indexed["Items"]) is bool(column)
    admin = web.browser("ada")
    assert listed_names(api, admin, RUNS, email) == []
    api.create(named(web, subject, email), name="theirs")
    assert listed_names(api, admin, RUNS, email) == ["theirs"]
