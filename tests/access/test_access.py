"""A resource that the caller may not see gives the answer and the AWS calls of a missing one."""

from collections.abc import Iterator
from copy import replace
from typing import Any

import boto3
import pytest

from byline.aws import dynamodb
from serve_runs.access.control import ADMIN_ROLE
from tests.access.comparison import NO_RUN, ROOT
from tests.access.in_process import InProcess
from tests.access.route_table import DECIDED, Row, route_label
from tests.access.sample_project import ADA, EVE, SampleProject
from tests.access.test_decisions import OUTSIDE
from tests.runs.runs_api import Answer
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, TABLE

OF_ONE = [row for row in DECIDED if row.path.count("{") > 1]
"""Routes about one resource of a project."""

OF_PROJECT = [row for row in DECIDED if row.path.count("{") == 1]
CHANGES = [row for row in DECIDED if row.method != "GET" and row.kind not in OUTSIDE]
"""Routes that change a project. A person is in none, and no role of a project shows one."""

SHOWS_ROLES = {"/v1/projects/{project}"}
"""Routes that read the caller's roles and the project's row for their answer."""


@pytest.fixture
def calls(apis: dict[bool, InProcess]) -> Iterator[list[tuple[str, Any]]]:
    """The calls to DynamoDB in order: operation and table."""
    made: list[tuple[str, Any]] = []

    def record(model: Any, params: dict[str, Any], **_: Any) -> None:
        made.append((model.name, params.get("TableName", sorted(params.get("RequestItems", ())))))

    events = dynamodb().meta.events
    events.register("before-parameter-build", record)
    yield made
    events.unregister("before-parameter-build", record)


def comparable(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """An answer without the `instance` of a problem, which differs between any two requests."""
    document = answer.json if answer.body else {}
    if answer.status >= 400:
        document = {name: text for name, text in document.items() if name != "instance"}
    return answer.status, answer.headers, document


def missing_resource(sample: SampleProject, row: Row) -> Row:
    """The same request with the names of resources that do not exist."""
    missing = dict.fromkeys(("runner", "credential", "agent"), "none")
    missing |= {"run_id": NO_RUN, "account_id": "a" * 26}
    for name, text in missing.items():
        row = replace(row, path=row.path.replace(f"{{{name}}}", text))
    return row


def all_rows() -> list[Any]:
    """All rows of all tables, profiles included."""
    client = boto3.client("dynamodb")
    return [client.scan(TableName=table)["Items"] for table in (TABLE, RUNNERS_TABLE, ACCESS_TABLE)]


class TestInvisibleResources:
    """A caller without any role."""

    @pytest.mark.parametrize("row", OF_ONE, ids=route_label)
    def test_invisible_resource_in_the_path_answers_like_a_missing_one(
        self, sample: SampleProject, calls: list[tuple[str, Any]], row: Row
    ) -> None:
        """An invisible and a missing resource give the same answer and the same AWS calls."""
        calls.clear()
        invisible = comparable(sample.ask(EVE, row))
        calls_for_invisible = list(calls)
        calls.clear()
        missing = comparable(sample.ask(EVE, missing_resource(sample, row)))
        assert invisible[0] == 404
        assert missing == invisible
        assert [*calls] == calls_for_invisible

    @pytest.mark.parametrize("row", [*OF_ONE, *OF_PROJECT], ids=route_label)
    def test_invisible_project_answers_like_a_missing_one(
        self, sample: SampleProject, calls: list[tuple[str, Any]], row: Row
    ) -> None:
        """A caller without a role cannot find out which projects exist."""
        calls.clear()
        invisible = comparable(sample.ask(EVE, row))
        calls_for_invisible = list(calls)
        calls.clear()
        missing_project = replace(row, path=row.path.replace("{project}", "nowhere"))
        assert comparable(sample.ask(EVE, missing_project)) == invisible
        assert invisible[0] == 404
        assert [*calls] == calls_for_invisible

    def test_invisible_parent_run_in_the_body_answers_like_a_missing_one(
        self, sample: SampleProject, calls: list[tuple[str, Any]]
    ) -> None:
        """A parent run in a project that the caller may not see is answered like a missing run."""
        sample.api.send(
            ROOT,
            "PUT",
            "/v1/projects/gemini/role-bindings",
            document={"role": "project:editor", "subject": EVE[1]},
        )
        answers = []
        for parent in (sample.run, NO_RUN):
            calls.clear()
            answer = sample.api.send(
                EVE, "POST", "/v1/projects/gemini/runs", document={"parent_run": parent}
            )
            assert 400 <= answer.status < 500
            answers.append((comparable(answer), list(calls)))
        assert answers[0] == answers[1]

    def test_invisible_run_in_the_audit_query_answers_like_a_missing_one(
        self, sample: SampleProject, calls: list[tuple[str, Any]]
    ) -> None:
        """An audit query for a run of another project is answered like one for a missing run."""
        sample.api.send(
            ROOT,
            "PUT",
            "/v1/projects/gemini/role-bindings",
            document={"role": "project:admin", "subject": EVE[1]},
        )
        answers = []
        for run in (sample.run, NO_RUN):
            calls.clear()
            answer = sample.api.send(EVE, "GET", "/v1/projects/gemini/audit", query={"run": run})
            assert answer.status == 200
            answers.append((comparable(answer), list(calls)))
        assert answers[0] == answers[1]

    @pytest.mark.parametrize("limit", ["1", "20"])
    def test_list_by_creator_of_invisible_runs_equals_an_empty_list(
        self, sample: SampleProject, limit: str
    ) -> None:
        """Neither the list nor its cursor shows that invisible runs exist."""
        query = {"created_by": ROOT[1], "limit": limit}
        invisible = sample.api.send(EVE, "GET", "/v1/runs", query=query)
        missing = sample.api.send(EVE, "GET", "/v1/runs", query=query | {"created_by": "nobody"})
        assert comparable(invisible) == comparable(missing)


class TestVisibleResources:
    """A caller that may see a resource but may not change it."""

    @pytest.mark.parametrize("row", CHANGES, ids=route_label)
    def test_change_by_a_viewer_is_forbidden(self, sample: SampleProject, row: Row) -> None:
        """A viewer's change is answered 403 with the permission that is missing, or 404 where
        viewers see no such resource, and writes nothing."""
        sample.grant(ADA, "project:viewer")
        if "project:viewer" in row.roles:
            return
        hidden = {"Credential", "ApplySet"}
        is_visible = row.kind not in hidden
        before = all_rows()
        answer = sample.ask(ADA, row)
        assert answer.status == (403 if is_visible else 404)
        assert answer.json.get("permission") == (row.action if is_visible else None)
        assert (f"`{row.action}`" in answer.json["detail"]) == is_visible
        assert all_rows() == before

    @pytest.mark.parametrize(
        "row", [row for row in CHANGES if row.method != "PUT"], ids=route_label
    )
    def test_change_of_a_missing_resource_by_a_viewer_is_not_found(
        self, sample: SampleProject, row: Row
    ) -> None:
        """A viewer's change of a missing resource is answered 404: 403 would say that it exists."""
        sample.grant(ADA, "project:viewer")
        if row in OF_ONE and "project:viewer" not in row.roles:
            assert sample.ask(ADA, missing_resource(sample, row)).status == 404

    @pytest.mark.parametrize(
        "row", [row for row in CHANGES if row.method == "PUT"], ids=route_label
    )
    @pytest.mark.parametrize("role", ["", "project:viewer"])
    def test_denied_put_writes_nothing(self, sample: SampleProject, row: Row, role: str) -> None:
        """A denied PUT changes no existing resource and creates no new one."""
        if role:
            sample.grant(ADA, role)
        before = all_rows()
        for request in (row, missing_resource(sample, row)):
            assert sample.ask(ADA, request).status in {403, 404}
        assert all_rows() == before


class TestAdmins:
    """Callers that administer every project by `ProjectAdmins`."""

    TOKEN = next(row for row in DECIDED if row.action == "read_credential_token")

    def test_role_of_an_admin_counts_until_it_is_revoked(self, sample: SampleProject) -> None:
        """An admin reads tokens only while the admin also has the token-reader role."""
        binding = {"role": "credential:token-reader", "subject": ROOT[1]}
        assert sample.ask(ROOT, self.TOKEN).status == 403
        sample.grant(ROOT, binding["role"])
        assert sample.ask(ROOT, self.TOKEN).status == 200
        sample.api.send(ROOT, "DELETE", "/v1/projects/apollo/role-bindings", query=binding)
        assert sample.ask(ROOT, self.TOKEN).status == 403

    def test_role_of_an_admin_does_not_count_in_other_projects(self, sample: SampleProject) -> None:
        """The token-reader role of an admin permits no token of another project."""
        binding = {"role": "credential:token-reader", "subject": ROOT[1]}
        missing_resource = "/v1/projects/gemini/role-bindings"
        assert sample.api.send(ROOT, "PUT", missing_resource, document=binding).status == 201
        assert sample.ask(ROOT, self.TOKEN).status == 403

    @pytest.mark.parametrize(
        "row",
        [row for row in DECIDED if ADMIN_ROLE in row.roles and row.path not in SHOWS_ROLES],
        ids=route_label,
    )
    def test_action_that_admins_are_allowed_reads_no_roles(
        self, sample: SampleProject, calls: list[tuple[str, Any]], row: Row
    ) -> None:
        """A request that `project:admin` permits reads no roles of an admin."""
        sample.api.send(ROOT, "GET", "/v1/whoami")
        calls.clear()
        assert sample.ask(ROOT, row).status < 400
        assert ("BatchGetItem", [ACCESS_TABLE]) not in calls
