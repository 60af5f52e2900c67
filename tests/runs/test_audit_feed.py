"""A project's audit records by time, and the filters of all lists of records."""

from collections.abc import Callable
from typing import Any

import pytest

from byline.identity.caller import Caller
from byline.tables.paging import PAGES_PER_LISTING
from byline.tables.rows import rfc3339
from serve_runs.audit.store import PROJECT_INDEX, RecordFilter
from serve_runs.audit.trail import Action, ActionContext, AuditedResource, AuditTrail
from tests.runs.access_rows import AccessRows, register
from tests.runs.audit_api import ask, pages, records
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, Refusal

NOW = 1_800_000_000
RUN = "01JD9XK3T5ZQ8W7V6R5N4M3K2J"
EARLIEST = "0" * 26
LATEST = f"7{'Z' * 25}"


def write(
    dynamodb: DynamoDb,
    caller: Caller | None,
    action: Action = "start_run",
    *,
    at: float,
    of: AuditedResource | None = None,
    request_id: str = "",
) -> None:
    """Write a record of the time `at`, by default about a run of apollo."""
    trail = AuditTrail(dynamodb.client, ACCESS_TABLE, now=lambda: at)
    resource = of or AuditedResource("apollo", "run", RUN)
    trail.write(ActionContext(caller, request_id or f"at {at}"), action, resource, run=None)


def seconds(found: list[dict[str, Any]]) -> list[float]:
    """How many seconds after NOW the records were written."""
    return [float(record["request_id"].removeprefix("at ")) - NOW for record in found]


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


@pytest.fixture
def person(web: Web) -> Caller:
    """Grace as a verified caller."""
    return Caller("user", "alb", web.url, "grace", "grace", "Grace")


class TestFeed:
    """All records of a project, newest first."""

    def test_feed_has_every_kind_of_record_of_its_project_alone(
        self, api: RunsApi, ada: Credential
    ) -> None:
        """Runs, roles and agents are in one list, those of another project are not."""
        run = api.create(ada)
        api.create(ada, "gemini")
        binding = {"role": "project:editor", "subject": "grace"}
        path = "/v1/projects/apollo"
        assert api.call("PUT", f"{path}/role-bindings", by=ada, document=binding).status == 201
        assert api.call("DELETE", f"{path}/runs/{run['id']}", by=ada).status == 204
        found = records(api, ada)
        assert [record["action"] for record in found] == ["delete_run", "grant_role", "create_run"]
        assert {record["project"] for record in found} == {"apollo"}
        ids = [record["id"] for record in found]
        assert ids == sorted(ids, reverse=True)

    def test_feed_has_records_of_anonymous_callers(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """They have no accountable principal, so no list by person has them."""
        write(dynamodb, None, at=NOW)
        assert [record["principal"] for record in records(api, ada)] == ["anonymous"]

    def test_feed_has_no_row_that_is_no_record(
        self,
        api: RunsApi,
        ada: Credential,
        grace: Credential,
        nightly: Credential,
        access_rows: AccessRows,
    ) -> None:
        """Rows of service accounts and agents name the project too, and are in its index."""
        access_rows.grant("project:editor", "grace")
        access_rows.allow("helper")
        assert register(api, grace, nightly).status == 201
        for record in records(api, ada, limit="1"):
            assert record["action"] == "create_service_account"

    def test_feed_is_paged_without_gap_or_repetition(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, person: Caller
    ) -> None:
        """Several records of one millisecond are told apart by their ids."""
        for number in range(7):
            write(dynamodb, person, at=NOW + number // 3, request_id=f"request {number}")
        found = list(pages(api, ada, limit="2"))
        assert [len(page) for page in found] == [2, 2, 2, 1]
        names = {record["request_id"] for page in found for record in page}
        assert names == {f"request {number}" for number in range(7)}

    def test_page_costs_one_query_of_the_index(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, person: Caller
    ) -> None:
        """Whatever else the table holds."""
        for number in range(30):
            write(dynamodb, person, at=NOW + number)
        dynamodb.calls.clear()
        assert len(ask(api, ada, limit="5").json["records"]) == 5
        [query] = [call.document for call in dynamodb.calls if call.operation == "Query"]
        assert (query["IndexName"], query["Limit"]) == (PROJECT_INDEX, 6)

    def test_feed_is_for_admins(
        self,
        start_api: Callable[..., RunsApi],
        grace: Credential,
        access_rows: AccessRows,
        dynamodb: DynamoDb,
    ) -> None:
        """An editor sees its own records only, and nothing is read for a refused caller."""
        api = start_api(PROJECT_ADMINS="ada")
        access_rows.grant("project:editor", "grace")
        dynamodb.calls.clear()
        answer = ask(api, grace)
        assert (answer.status, answer.reason) == (404, "not_found")
        assert not [call for call in dynamodb.calls if call.operation == "Query"]
        assert ask(api, grace, person="me").status == 200
        access_rows.grant("project:admin", "grace")
        assert ask(api, grace).status == 200

    def test_feed_answers_503_while_its_index_is_filled(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """After an upgrade, an empty list would say that nothing happened."""
        text = f"Cannot read from backfilling global secondary index: {PROJECT_INDEX}"
        dynamodb.faults.append(Refusal("Query", "ValidationException", members={"message": text}))
        answer = ask(api, ada)
        assert (answer.status, answer.reason) == (503, "store_unavailable")


class TestTimes:
    """`since` is the first time of a list, `until` the first one after it."""

    @pytest.fixture
    def seeded(self, dynamodb: DynamoDb, person: Caller) -> None:
        """A record each second, and one a millisecond before the third."""
        for at in (NOW, NOW + 1, NOW + 1.999, NOW + 2, NOW + 3):
            write(dynamodb, person, at=at)

    @pytest.mark.usefixtures("seeded")
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"since": NOW + 2}, [3, 2]),
            ({"since": NOW + 2.001}, [3]),
            ({"until": NOW + 2}, [1.999, 1, 0]),
            ({"since": NOW + 1, "until": NOW + 3}, [2, 1.999, 1]),
            ({"since": NOW + 4}, []),
            ({"until": NOW}, []),
        ],
    )
    @pytest.mark.parametrize("subject", [{}, {"run": RUN}, {"person": "grace"}])
    def test_records_of_a_time_are_listed(
        self,
        api: RunsApi,
        ada: Credential,
        query: dict[str, float],
        expected: list[float],
        subject: dict[str, str],
    ) -> None:
        """In each kind of list, and also page by page."""
        times = {name: rfc3339(at) for name, at in query.items()}
        assert seconds(records(api, ada, **subject, **times)) == pytest.approx(expected)
        assert seconds(records(api, ada, **subject, **times, limit="1")) == pytest.approx(expected)

    @pytest.mark.usefixtures("seeded")
    @pytest.mark.parametrize(
        ("since", "number"),
        [
            ("0001-01-01T00:00:00Z", 5),
            ("9999-12-31T23:59:59Z", 0),
            (f"{'2027-01-15T10:00:02+02:00'}", 2),
        ],
    )
    def test_extreme_times_and_offsets_are_understood(
        self, api: RunsApi, ada: Credential, since: str, number: int
    ) -> None:
        """A time before all records or after them is no error."""
        assert len(records(api, ada, since=since)) == number

    @pytest.mark.parametrize("having", [RecordFilter(), RecordFilter(since=-1, until=1e15)])
    def test_range_has_every_id_and_no_other_row(self, having: RecordFilter) -> None:
        """Entries of other rows begin with a lower-case letter."""
        first, last = having.entries(None)
        assert first <= EARLIEST
        assert last > LATEST or having.until is not None
        assert last < "agent#"
        assert having.entries(RUN)[1] < RUN
        assert having.entries(RUN)[1] > f"{RUN[:-1]}H"


class TestFilters:
    """Filters leave records out, also of the lists of a person or resource."""

    @pytest.fixture
    def seeded(self, dynamodb: DynamoDb, person: Caller) -> None:
        """Records about a run and a runner, by Grace and by an anonymous caller."""
        runner = AuditedResource("apollo", "runner", "gpu")
        write(dynamodb, person, "create_run", at=NOW)
        write(dynamodb, person, "start_run", at=NOW + 1)
        write(dynamodb, person, "register_runner", at=NOW + 2, of=runner)
        write(dynamodb, None, "start_run", at=NOW + 3)

    @pytest.mark.usefixtures("seeded")
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"action": "start_run"}, [3, 1]),
            ({"resource": "runner"}, [2]),
            ({"resource": "run", "action": "create_run"}, [0]),
            ({"person": "grace"}, [2, 1, 0]),
            ({"person": "grace", "action": "start_run"}, [1]),
            ({"run": RUN, "action": "start_run"}, [3, 1]),
            ({"action": "delete_run"}, []),
        ],
    )
    def test_filtered_records_are_listed(
        self, api: RunsApi, ada: Credential, query: dict[str, str], expected: list[float]
    ) -> None:
        """Filters can be combined."""
        assert seconds(records(api, ada, **query)) == expected

    @pytest.mark.usefixtures("seeded")
    def test_cursor_belongs_to_its_filters(self, api: RunsApi, ada: Credential) -> None:
        """A cursor with other filters would skip records without a word."""
        cursor = ask(api, ada, limit="1").json["next_cursor"]
        others = ({"action": "start_run"}, {"resource": "run"}, {"since": rfc3339(NOW)})
        for other in (*others, {"until": rfc3339(NOW + 9)}, {"person": "grace"}):
            answer = ask(api, ada, cursor=cursor, **other)
            assert (answer.status, answer.reason) == (400, "invalid_cursor")
        assert ask(api, ada, cursor=cursor, limit="3").status == 200

    def test_search_for_a_rare_action_is_bounded(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, person: Caller
    ) -> None:
        """A request reads five pages at most, and says where the next one goes on."""
        write(dynamodb, person, "delete_run", at=NOW)
        for number in range(600):
            write(dynamodb, person, at=NOW + 1 + number)
        dynamodb.calls.clear()
        first = ask(api, ada, action="delete_run").json
        assert (
            len([call for call in dynamodb.calls if call.operation == "Query"]) == PAGES_PER_LISTING
        )
        assert first["records"] == []
        [found] = ask(api, ada, action="delete_run", cursor=first["next_cursor"]).json["records"]
        assert found["action"] == "delete_run"
