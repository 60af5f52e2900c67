"""The stream registers a new run with the authorization service, and a pass is not needed."""

import secrets

from byline.registration.outbox import DELETED
from byline.tables.rows import Item, text_of
from serve_runs.runs.views import run_key
from tools.smoke.endpoint import expect
from tools.smoke.runs_and_roles import create_run
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed, NotChecked

WAIT_SECONDS = 60


def check(surroundings: Surroundings, cleanup: Cleanup) -> str:
    """Create a run, delete it, and wait until the service has confirmed each."""
    stack, project = surroundings.stack, surroundings.project
    if not stack.parameters.get("AuthorizationServiceUrl"):
        raise NotChecked("registration is off: AuthorizationServiceUrl is empty")
    projects = stack.parameters["RegistrationProjects"]
    if projects and project not in projects.split(","):
        raise NotChecked("RegistrationProjects limits registration; name one of them in PROJECT")
    run = create_run(surroundings, cleanup, key=secrets.token_hex(16))["id"]
    _wait(surroundings, project, run, "registered_at")
    path = f"/v1/projects/{project}/runs/{run}"
    expect(surroundings.endpoint.call("DELETE", path), 204, "deleting the run")
    _wait(surroundings, f"{DELETED}{project}", run, "deregistered_at")
    return ""


def _wait(surroundings: Surroundings, project: str, run: str, attribute: str) -> None:
    stack = surroundings.stack
    row: Item = {}

    def confirmed() -> str | None:
        found = stack.client("dynamodb").get_item(
            TableName=stack.outputs["RunsTable"], Key=run_key(project, run), ConsistentRead=True
        )
        row.update(found.get("Item", {}))
        return text_of(row, attribute)

    if surroundings.wait_for(confirmed, seconds=WAIT_SECONDS) is None:
        error = text_of(row, "registration_error") or "no answer of the service yet"
        raise Failed(f"`{attribute}` within {WAIT_SECONDS} seconds", error)
