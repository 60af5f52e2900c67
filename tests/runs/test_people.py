"""Profiles: what verified tokens call them, kept for showing and finding, and for nothing else.

A process remembers whom it has seen, so each test here has people of its own.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from byline.identity.caller import Caller, Principal, principal_of
from serve_runs.credentials.views import Credential as StoredCredential
from serve_runs.credentials.views import credential_item, read_credential
from serve_runs.profiles.store import Profiles, profile_key
from tests.runs.access_rows import RUNS, AccessRows
from tests.runs.conftest import Said
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi, metrics
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, Refusal

ISSUER = "https://id.example"
_subjects = count(1)


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    return AccessRows(dynamodb, web)


@pytest.fixture
def subject(access_rows: AccessRows) -> str:
    """Somebody whom no test saw before, an editor of the project."""
    subject = f"person-{next(_subjects)}"
    access_rows.grant("project:editor", subject)
    return subject


@pytest.fixture
def failures() -> list[Exception]:
    return []


@pytest.fixture
def times() -> list[float]:
    """What time it is: the last one."""
    return [1_000.0]


@pytest.fixture
def people(dynamodb: DynamoDb, failures: list[Exception], times: list[float]) -> Profiles:
    return Profiles(dynamodb.client, ACCESS_TABLE, now=lambda: times[-1], failed=failures.append)


def caller(subject: str = "lin", **names: str) -> Caller:
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
    key = profile_key(principal)
    item: dict[str, Any] | None = dynamodb.client.get_item(TableName=ACCESS_TABLE, Key=key).get(
        "Item"
    )
    return item


def named(web: Web, subject: str, email: str = "") -> Credential:
    return web.browser(subject, given_name="Lin", family_name="Lee", email=email)


def subjects(api: RunsApi, by: Credential, path: str, created_by: str, limit: int = 2) -> list[str]:
    """Who created the runs of a listing, page after page."""
    found: list[str] = []
    query = {"created_by": created_by, "limit": str(limit)}
    while True:
        page = api.call("GET", path, by=by, query=query).json
        found += [run["name"] for run in page["runs"]]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


def test_row_with_a_subject_alone_gains_names(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb
) -> None:
    """A run created with a subject-only token shows the person's name once it is known."""
    bare = web.bearer(subject)
    run = api.create(bare)
    started = api.call("POST", f"{RUNS}/{run['id']}/start", by=bare).json
    assert run["executed_by"] == started["started_by"] == {"user": {"id": {"subject": subject}}}
    assert api.call("GET", "/v1/whoami", by=named(web, subject, "Lin@Example.com")).status == 200
    lin = {
        "user": {
            "id": {"subject": subject},
            "spec": {"firstName": "Lin", "lastName": "Lee", "email": "Lin@Example.com"},
        }
    }
    read = api.call("GET", f"{RUNS}/{run['id']}", by=bare).json
    assert (read["executed_by"], read["started_by"]) == (lin, lin)
    dynamodb.calls.clear()
    [listed] = api.call("GET", RUNS, by=bare).json["runs"]
    assert (listed["executed_by"], listed["started_by"]) == (lin, lin)
    assert [call.operation for call in dynamodb.calls] == ["BatchGetItem", "Query", "BatchGetItem"]


def test_row_keeps_the_names_it_was_written_with(api: RunsApi, web: Web, subject: str) -> None:
    """A run says who it was then: a later name changes nothing of it, and is not asked for."""
    run = api.create(named(web, subject, "lin@example.com"))
    married = web.browser(subject, given_name="Lin", family_name="Chen")
    read = api.call("GET", f"{RUNS}/{run['id']}", by=married).json
    assert read["executed_by"]["user"]["spec"]["lastName"] == "Lee"


def test_names_of_another_issuers_subject_are_not_shown(
    api: RunsApi, web: Web, subject: str, people: Profiles
) -> None:
    """A subject alone is nobody: a namesake elsewhere lends no name."""
    people.remember(caller(subject, given_name="Mallory"))
    run = api.create(web.bearer(subject))
    assert api.call("GET", f"{RUNS}/{run['id']}", by=web.bearer(subject)).json == run


def test_failing_profiles_leave_the_row_as_it_is(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb, said: Said
) -> None:
    """Names are an extra: where they cannot be read, subjects are shown."""
    run = api.create(web.bearer(subject))
    admin = web.browser("ada")  # whose rights cost no read
    refusal = Refusal("BatchGetItem", "AccessDeniedException")
    dynamodb.faults.append(refusal)
    assert api.call("GET", f"{RUNS}/{run['id']}", by=admin).json == run
    assert metrics(said(), "ProfileUnavailable")


def test_known_person_costs_no_call(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb
) -> None:
    """Once for each process and profile: the second request asks nothing."""
    lin = named(web, subject, "lin@example.com")
    for _ in range(2):
        assert api.call("GET", "/v1/whoami", by=lin).status == 200
        assert len(dynamodb.profile_writes) == 1
    assert api.call("GET", "/v1/whoami", by=web.bearer(subject)).status == 200
    assert len(dynamodb.profile_writes) == 1


def test_profile_that_cannot_be_kept_fails_no_request(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb, said: Said
) -> None:
    """Counted, answered all the same, and not tried again with the next request."""
    lin = named(web, subject)
    dynamodb.faults.append(Refusal("UpdateItem", "AccessDeniedException"))
    for _ in range(2):
        assert api.call("POST", RUNS, by=lin).status == 201
    assert len(dynamodb.profile_writes) == 1
    assert len(metrics(said(), "ProfileUnavailable")) == 1


@pytest.mark.parametrize("trust", ["forwarded", "ignore"])
def test_unverified_names_are_not_kept(
    start_api: Callable[..., RunsApi], web: Web, subject: str, dynamodb: DynamoDb, trust: str
) -> None:
    """What anybody can claim is no news of anybody."""
    api = start_api(IDENTITY_TRUST=trust, ANONYMOUS_CALLERS="allow")
    api.call("GET", RUNS, by=named(web, subject, "lin@example.com"))
    assert dynamodb.profile_writes == []


def test_refused_credential_leaves_no_profile(
    api: RunsApi, web: Web, subject: str, dynamodb: DynamoDb
) -> None:
    """Nobody is seen by a token that does not verify."""
    header, token = named(web, subject).headers[0]
    signature = web.browser("another").headers[0][1].split(".")[2]
    forged_token = ".".join((*token.split(".")[:2], signature))
    forged = Credential(((header, forged_token),), web.browser().group)
    assert api.call("GET", "/v1/whoami", by=forged).status == 401
    assert dynamodb.profile_writes == []


def test_latest_names_win(
    people: Profiles, dynamodb: DynamoDb, times: list[float], failures: list[Exception]
) -> None:
    """Later ones replace; the same ones do not; those that come late do not."""
    lin = caller(given_name="Lin", family_name="Lee", email="lin@example.com")
    people.remember(lin)
    times.append(2_000.0)
    people.remember(caller(given_name="Lin", family_name="Chen", email="Chen@example.com"))
    found = profile(dynamodb, principal_of(lin))
    assert found is not None
    assert (found["last_name"], found["address"]) == ({"S": "Chen"}, {"S": "Chen@example.com"})
    assert (found["email"], found["seen_at"]) == ({"S": "chen@example.com"}, {"N": "2000000"})
    slow = Profiles(dynamodb.client, ACCESS_TABLE, now=lambda: 1_500.0, failed=failures.append)
    slow.remember(lin)
    assert profile(dynamodb, principal_of(lin)) == found
    times.append(3_000.0)
    again = Profiles(dynamodb.client, ACCESS_TABLE, now=lambda: 3_000.0, failed=failures.append)
    again.remember(caller(given_name="Lin", family_name="Chen", email="Chen@example.com"))
    assert profile(dynamodb, principal_of(lin)) == found
    assert failures == []


def test_what_a_token_leaves_out_stays(people: Profiles, dynamodb: DynamoDb) -> None:
    """A token with an e-mail alone does not take the name away that another one told."""
    people.remember(caller(given_name="Lin", family_name="Lee"))
    people.remember(caller())
    [item] = dynamodb.rows(ACCESS_TABLE)
    assert "email" not in item
    later = Profiles(dynamodb.client, ACCESS_TABLE, now=lambda: 2_000.0, failed=print)
    later.remember(caller(email="lin@example.com"))
    called = later.display_names([principal_of(caller())])
    spec = called[principal_of(caller())].user
    assert spec is not None
    assert (spec.spec.first_name, spec.spec.email) == ("Lin", "lin@example.com")


def test_service_account_is_kept_by_its_name_alone(people: Profiles, dynamodb: DynamoDb) -> None:
    """And not at all where that is its subject."""
    robot = Caller(
        kind="application",
        source="bearer",
        issuer=ISSUER,
        subject="r-1",
        token_subject="r-1",
        name="robot",
        email="lin@example.com",
    )
    people.remember(robot)
    [item] = dynamodb.rows(ACCESS_TABLE)
    assert item.keys() == {"scope", "entry", "seen_at", "name"}
    assert people.find_by_email("lin@example.com") == []


@pytest.mark.parametrize(("after", "calls"), [(59.9, 1), (60.0, 2)])
def test_failure_is_left_alone_for_a_minute(
    people: Profiles, dynamodb: DynamoDb, times: list[float], after: float, calls: int
) -> None:
    """The boundary, in a pair."""
    dynamodb.faults.append(Refusal("UpdateItem", "AccessDeniedException"))
    people.remember(caller(given_name="Lin"))
    times.append(1_000.0 + after)
    people.remember(caller(given_name="Lin"))
    assert len(dynamodb.profile_writes) == calls


def test_email_means_five_principals_at_the_most(people: Profiles) -> None:
    """Issuers do not agree on whose an address is: the work for it is bounded."""
    for number in range(6):
        people.remember(caller(f"lin-{number}", email="Lin@Example.com"))
    assert len(people.find_by_email("LIN@example.COM")) == 5


def test_listing_by_email_finds_the_persons_runs(api: RunsApi, web: Web, subject: str) -> None:
    """Listing by e-mail ignores case, and finds runs created with a subject-only token too."""
    email = f"Lin.{subject}@Example.com"
    api.create(named(web, subject, email), name="one")
    api.create(web.bearer(subject), name="two")
    api.create(web.browser("ada"), name="not theirs")
    admin = web.browser("ada")
    for path in (RUNS, "/v1/runs"):
        for spelling in (email, email.lower(), email.upper()):
            assert subjects(api, admin, path, spelling) == ["two", "one"]
        assert subjects(api, admin, path, subject) == ["two", "one"]
        assert subjects(api, admin, path, f"no-{email}") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_email_of_several_is_one_listing(
    api: RunsApi, web: Web, access_rows: AccessRows, subject: str, limit: int
) -> None:
    """Newest first over all of them, the subject that looks like it too; each run once."""
    email = f"{subject}@example.com"
    several = [subject, f"{subject}-b", email]
    for one in several:
        access_rows.grant("project:editor", one)
    names = []
    for number, one in enumerate([*several, *several[::-1], several[1], several[2]]):
        api.create(named(web, one, email), name=str(number))
        names.append(str(number))
    admin = web.browser("ada")
    for path in (RUNS, "/v1/runs"):
        assert subjects(api, admin, path, email, limit) == names[::-1]


def test_email_shows_visible_projects_alone(
    api: RunsApi, web: Web, access_rows: AccessRows, subject: str
) -> None:
    """To know an address is no right: runs of other projects stay unseen."""
    email = f"{subject}@example.com"
    access_rows.grant("project:editor", subject, project="gemini")
    lin = named(web, subject, email)
    api.create(lin, name="seen")
    api.create(lin, "gemini", name="unseen")
    access_rows.grant("project:viewer", f"{subject}-eve")
    eve = web.browser(f"{subject}-eve")
    assert subjects(api, eve, "/v1/runs", email) == ["seen"]
    assert subjects(api, lin, "/v1/runs", "me") == ["unseen", "seen"]


@pytest.mark.parametrize("column", ["", "email"])
def test_credential_of_an_address_is_not_whose_address_it_is(
    api: RunsApi, web: Web, dynamodb: DynamoDb, subject: str, column: str
) -> None:
    """Whoever stores one with somebody's e-mail neither joins nor breaks that person's listing:
    its row is not in the index, and would not count there."""
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
    assert subjects(api, admin, RUNS, email) == []
    api.create(named(web, subject, email), name="theirs")
    assert subjects(api, admin, RUNS, email) == ["theirs"]
