"""A resource that the caller may not see gives the answer and the AWS calls of a missing one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest

from byline.aws import dynamodb
from serve_runs.access.control import ADMIN_ROLE
from tests.access.function import InProcess
from tests.access.model import Who
from tests.access.play import NO_RUN, ROOT, SIGHT
from tests.access.test_route_table import ADA, DECIDED, Place, Row, told
from tests.runs.runs_api import Answer
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, TABLE

EVE: Who = ("user", "eve")
OF_ONE = [row for row in DECIDED if row.path.count("{") > 1]
"""The routes about one thing of a project."""

OF_PROJECT = [row for row in DECIDED if row.path.count("{") == 1]
CHANGES = [row for row in DECIDED if row.method != "GET"]


@pytest.fixture
def place(apis: dict[bool, InProcess], empty: Callable[[], None]) -> Place:
    """A project with one of everything, and callers who were seen before."""
    empty()
    place = Place(apis[False])
    for who in (EVE, ADA):
        place.api.send(who, "GET", "/v1/whoami")
    return place


@pytest.fixture
def calls(apis: dict[bool, InProcess]) -> Iterator[list[tuple[str, Any]]]:
    """What DynamoDB is asked, in order: the operation and the table."""
    made: list[tuple[str, Any]] = []

    def note(model: Any, params: dict[str, Any], **_: Any) -> None:
        made.append((model.name, params.get("TableName", sorted(params.get("RequestItems", ())))))

    events = dynamodb().meta.events
    events.register("before-parameter-build", note)
    yield made
    events.unregister("before-parameter-build", note)


def seen(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """All that a client sees of an answer, but for the request's own id."""
    document = answer.json if answer.body else {}
    if answer.status >= 400:
        document = {name: text for name, text in document.items() if name != "instance"}
    return answer.status, answer.headers, document


def elsewhere(place: Place, row: Row) -> Row:
    """The same request about what is not there."""
    missing = {"run_id": NO_RUN, "runner": "none", "credential": "none", "account_id": "a" * 26}
    for name, text in missing.items():
        row = replace(row, path=row.path.replace(f"{{{name}}}", text))
    return row


def rows() -> list[Any]:
    """Everything in all tables but what is known of callers."""
    client = boto3.client("dynamodb")
    return [client.scan(TableName=table)["Items"] for table in (TABLE, RUNNERS_TABLE, ACCESS_TABLE)]


class TestHidden:
    """A caller without any role."""

    @pytest.mark.parametrize("row", OF_ONE, ids=told)
    def test_what_is_hidden_answers_as_what_is_missing(
        self, place: Place, calls: list[tuple[str, Any]], row: Row
    ) -> None:
        """By a name in the path: status, body, headers, and the calls that took it."""
        calls.clear()
        hidden = seen(place.ask(EVE, row))
        of_hidden = list(calls)
        calls.clear()
        missing = seen(place.ask(EVE, elsewhere(place, row)))
        assert hidden[0] == 404
        assert missing == hidden
        assert [*calls] == of_hidden

    @pytest.mark.parametrize("row", [*OF_ONE, *OF_PROJECT], ids=told)
    def test_project_that_is_hidden_answers_as_one_that_is_missing(
        self, place: Place, calls: list[tuple[str, Any]], row: Row
    ) -> None:
        """Nobody finds out which projects there are."""
        calls.clear()
        hidden = seen(place.ask(EVE, row))
        of_hidden = list(calls)
        calls.clear()
        there_is_none = replace(row, path=row.path.replace("{project}", "nowhere"))
        assert seen(place.ask(EVE, there_is_none)) == hidden
        assert hidden[0] == 404
        assert [*calls] == of_hidden

    def test_run_that_is_hidden_in_the_body_answers_as_one_that_is_missing(
        self, place: Place, calls: list[tuple[str, Any]]
    ) -> None:
        """A parent of a project that the caller may not see."""
        place.api.send(
            ROOT,
            "PUT",
            "/v1/projects/gemini/role-bindings",
            document={"role": "project:editor", "subject": EVE[1]},
        )
        answers = []
        for parent in (place.run, NO_RUN):
            calls.clear()
            answer = place.api.send(
                EVE, "POST", "/v1/projects/gemini/runs", document={"parent_run": parent}
            )
            assert 400 <= answer.status < 500
            answers.append((seen(answer), list(calls)))
        assert answers[0] == answers[1]

    def test_run_that_is_hidden_in_the_query_answers_as_one_that_is_missing(
        self, place: Place, calls: list[tuple[str, Any]]
    ) -> None:
        """Records of a run of a project that the caller may not see."""
        place.api.send(
            ROOT,
            "PUT",
            "/v1/projects/gemini/role-bindings",
            document={"role": "project:admin", "subject": EVE[1]},
        )
        answers = []
        for run in (place.run, NO_RUN):
            calls.clear()
            answer = place.api.send(EVE, "GET", "/v1/projects/gemini/audit", query={"run": run})
            assert answer.status == 200
            answers.append((seen(answer), list(calls)))
        assert answers[0] == answers[1]

    @pytest.mark.parametrize("limit", ["1", "20"])
    def test_somebodys_hidden_runs_are_none(self, place: Place, limit: str) -> None:
        """Neither a run nor a place to go on tells that there are some."""
        query = {"created_by": ROOT[1], "limit": limit}
        hidden = place.api.send(EVE, "GET", "/v1/runs", query=query)
        missing = place.api.send(EVE, "GET", "/v1/runs", query=query | {"created_by": "nobody"})
        assert seen(hidden) == seen(missing)


class TestForbidden:
    """A caller who sees, and may not do."""

    @pytest.mark.parametrize("row", CHANGES, ids=told)
    def test_what_is_seen_and_not_permitted_is_forbidden(self, place: Place, row: Row) -> None:
        """403 of what is there, for whoever has a role that shows it, and only for them."""
        place.grant(ADA, "project:viewer")
        if "project:viewer" in row.roles:
            return
        kind = {"Project": "project", "ServiceAccount": "service_account"}.get(row.kind)
        kind = kind or {"RoleBindings": "roles"}.get(row.kind, row.kind.lower())
        sees = SIGHT[kind] != "read_credential"
        before = rows()
        assert place.ask(ADA, row).status == (403 if sees else 404)
        assert rows() == before

    @pytest.mark.parametrize("row", [row for row in CHANGES if row.method != "PUT"], ids=told)
    def test_what_is_missing_is_missing_for_whoever_would_see_it(
        self, place: Place, row: Row
    ) -> None:
        """403 would tell somebody with a role that it is there."""
        place.grant(ADA, "project:viewer")
        if row in OF_ONE and "project:viewer" not in row.roles:
            assert place.ask(ADA, elsewhere(place, row)).status == 404

    @pytest.mark.parametrize("row", [row for row in CHANGES if row.method == "PUT"], ids=told)
    @pytest.mark.parametrize("role", ["", "project:viewer"])
    def test_put_that_is_denied_creates_nothing(self, place: Place, row: Row, role: str) -> None:
        """Neither of what is there nor of what is not."""
        if role:
            place.grant(ADA, role)
        before = rows()
        for asked in (row, elsewhere(place, row)):
            assert place.ask(ADA, asked).status in {403, 404}
        assert rows() == before


class TestAdmins:
    """Who administers every project by `ProjectAdmins`."""

    TOKEN = next(row for row in DECIDED if row.action == "read_credential_token")

    def test_role_that_an_admin_takes_counts_until_it_is_given_back(self, place: Place) -> None:
        """An admin reads tokens only while the admin also has the token-reader role."""
        binding = {"role": "credential:token-reader", "subject": ROOT[1]}
        assert place.ask(ROOT, self.TOKEN).status == 403
        place.grant(ROOT, binding["role"])
        assert place.ask(ROOT, self.TOKEN).status == 200
        place.api.send(ROOT, "DELETE", "/v1/projects/apollo/role-bindings", query=binding)
        assert place.ask(ROOT, self.TOKEN).status == 403

    def test_role_that_an_admin_takes_counts_in_its_project_alone(self, place: Place) -> None:
        """As for everybody else."""
        binding = {"role": "credential:token-reader", "subject": ROOT[1]}
        elsewhere = "/v1/projects/gemini/role-bindings"
        assert place.api.send(ROOT, "PUT", elsewhere, document=binding).status == 201
        assert place.ask(ROOT, self.TOKEN).status == 403

    @pytest.mark.parametrize("row", [row for row in DECIDED if ADMIN_ROLE in row.roles], ids=told)
    def test_what_administering_permits_takes_no_read_of_rights(
        self, place: Place, calls: list[tuple[str, Any]], row: Row
    ) -> None:
        """Whatever is bound to them besides."""
        place.api.send(ROOT, "GET", "/v1/whoami")
        calls.clear()
        assert place.ask(ROOT, row).status < 400
        assert ("BatchGetItem", [ACCESS_TABLE]) not in calls
