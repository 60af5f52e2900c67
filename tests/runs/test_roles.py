"""The list of roles says what each role permits."""

from collections.abc import Callable

import pytest

from tests.access.model import ROLES
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi

LIST = "/v1/projects/apollo/roles"


@pytest.fixture
def api(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Only Ada administers every project."""
    return start_api(PROJECT_ADMINS="ada")


def test_list_has_every_role_with_its_permissions(api: RunsApi, ada: Credential) -> None:
    """Each role that can be granted is listed once, with a description."""
    listed = api.call("GET", LIST, by=ada).json["roles"]
    assert {each["role"]: set(each["permits"]) for each in listed} == ROLES
    assert all(each["description"] for each in listed)


def test_permission_of_a_403_is_in_the_list(api: RunsApi, ada: Credential, web: Web) -> None:
    """The reader of a 403 finds the roles that have the missing permission."""
    bindings = "/v1/projects/apollo/role-bindings"
    document = {"role": "project:viewer", "subject": "mary"}
    assert api.call("PUT", bindings, by=ada, document=document).status == 201
    mary = web.browser("mary")
    refused = api.call("POST", "/v1/projects/apollo/runs", by=mary, document={})
    assert refused.status == 403
    listed = api.call("GET", LIST, by=mary).json["roles"]
    permitting = [each["role"] for each in listed if refused.json["permission"] in each["permits"]]
    assert permitting == ["project:editor", "project:admin"]


def test_list_of_an_invisible_project_is_not_found(api: RunsApi, ada: Credential, web: Web) -> None:
    """A caller without a role gets the answer of a project that does not exist."""
    api.create(ada)
    answers = [
        api.call("GET", f"/v1/projects/{project}/roles", by=web.browser("eve"))
        for project in ("apollo", "nowhere")
    ]
    assert [(answer.status, answer.reason) for answer in answers] == [(404, "not_found")] * 2
