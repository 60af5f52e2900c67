"""Every route has a row in docs/security-model.md, and answers each role as the row says."""

import re

import pytest

from tests.access.comparison import ROOT
from tests.access.in_process import InProcess
from tests.access.model import ROLES, Caller
from tests.access.route_table import DECIDED, TABLE, Row, route_label
from tests.access.sample_project import ADA, GPU, GRACE, NIGHTLY, SampleProject
from tests.access.test_decisions import KINDS

REFUSED = frozenset({401, 403, 404})


def test_routes_of_the_function_equal_the_table(apis: dict[bool, InProcess]) -> None:
    """A route without a row and a row without a route are both found."""
    actual = set()
    for route in apis[False].function.routes.load_all():
        actual.add((route.method, re.sub(r"<(\w+)>", r"{\1}", route.path)))
    assert actual == {(row.method, row.path) for row in TABLE}


def test_actions_of_the_policies_equal_the_table() -> None:
    """Each action of a route is in the policies, and each action of the policies has a route."""
    assert {row.action for row in DECIDED} == KINDS.keys()
    assert all(row.kind in {KINDS[row.action], "Project"} for row in DECIDED)


@pytest.mark.parametrize("row", DECIDED, ids=route_label)
def test_row_names_the_roles_that_permit_its_action(row: Row) -> None:
    """The roles of a row are those that the model permits its action."""
    assert row.roles == {role for role, actions in ROLES.items() if row.action in actions}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("row", [row for row in DECIDED if row.method != "GET"], ids=route_label)
def test_route_answers_a_person_with_one_role_as_its_row_says(
    sample: SampleProject, row: Row, role: str
) -> None:
    """A person with one role is permitted, or answered 403 or 404, as the row says."""
    sample.grant(ADA, role)
    answer = sample.ask(ADA, row)
    assert (answer.status not in REFUSED) == (role in row.roles), answer.body


@pytest.mark.parametrize("row", [row for row in DECIDED if row.method == "GET"], ids=route_label)
def test_reading_route_answers_each_role_as_its_row_says(sample: SampleProject, row: Row) -> None:
    """Of people with one role each, those that the row names are permitted, and no other one."""
    permitted = set()
    for role in ROLES:
        person: Caller = ("user", f"person-{role.replace(':', '-')}")
        sample.grant(person, role)
        answer = sample.ask(person, row)
        if row.path == "/v1/runs":
            listed = [run["id"] for run in answer.json["runs"]]
            assert listed in ([], sample.runs)
            is_permitted = listed == sample.runs
        else:
            is_permitted = answer.status not in REFUSED
        if is_permitted:
            permitted.add(role)
    assert permitted == row.roles


@pytest.mark.parametrize("row", [row for row in DECIDED if "the run" in row.also], ids=route_label)
def test_route_for_the_run_permits_its_runner_without_a_role(
    sample: SampleProject, row: Row
) -> None:
    """The runner of the run is permitted without a role, and no other application is."""
    assert sample.ask(NIGHTLY, row).status in {403, 404}
    assert sample.ask(GPU, row).status in {200, 201, 202, 503}


@pytest.mark.parametrize("row", [row for row in DECIDED if "whom it" in row.also], ids=route_label)
def test_route_for_a_service_account_permits_its_person_without_a_role(
    sample: SampleProject, row: Row
) -> None:
    """Only the person that a service account acts for is permitted without a role."""
    assert sample.ask(ADA, row).status == 404
    assert sample.ask(GRACE, row).status in {200, 204}


@pytest.mark.parametrize("row", [row for row in DECIDED if row.kind == "Person"], ids=route_label)
def test_route_about_a_person_permits_admins_of_the_deployment(
    sample: SampleProject, row: Row
) -> None:
    """A principal in `ProjectAdmins` is permitted, and an admin of a project is not."""
    assert sample.ask(ROOT, row).status in {200, 202}
    sample.grant(ADA, "project:admin")
    assert sample.ask(ADA, row).status == 404
    assert (sample.ask(GRACE, row).status == 200) == ("themselves" in row.also)
