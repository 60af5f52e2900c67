"""Creates the runs of the sample events in the table of the local stack.

    python -m tools.sample_runs

with the environment of RunsFunction, and its folder and the layer's on `PYTHONPATH`. The server
chooses a run's id, so an event cannot create the run that it then starts or deletes: these have
fixed ids, each is in the state that its event needs, and all are Ada's.
"""

import os
from typing import TYPE_CHECKING

from byline.aws import dynamodb
from byline.identity.caller import Caller, Principal
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.role_bindings.store import RoleStore
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import RunStore
from tools.make_events import PROJECT, SAMPLE_RUN_IDS
from tools.sample_tokens import ADA, ISSUED_AT, ISSUER

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_CHANGES = {
    "get-run": ("start", "finish"),
    "start-run": (),
    "finish-run": ("start",),
    "fail-run": ("start",),
    "cancel-run": ("start",),
    "delete-run": ("start", "fail"),
}
"""The changes of each event's run before the event."""

_CREATOR = Caller(
    kind="user",
    source="alb",
    issuer=ISSUER,
    subject=ADA["sub"],
    token_subject=ADA["sub"],
    name=ADA["preferred_username"],
    given_name=ADA["given_name"],
    family_name=ADA["family_name"],
    email=ADA["email"],
)


def seed(client: "DynamoDBClient", table: str, access_table: str) -> None:
    """Create the sample runs in `table`, which must not have them yet, with their audit records.

    Grace, who does not administer the sample project, gets the role `project:editor` there.
    """
    audit = AuditTrail(client, access_table, now=lambda: ISSUED_AT)
    grace = Principal("user", ISSUER, "user-1906")
    granted = AuditedResource(PROJECT, "role_binding", f"project:editor {grace.text}")
    RoleStore(client, access_table, now=lambda: ISSUED_AT).grant(
        PROJECT,
        grace,
        "project:editor",
        record=audit.record(ActionContext(_CREATOR, "sample-grant"), "grant_role", granted),
    )
    for event, run_id in SAMPLE_RUN_IDS.items():
        store = RunStore(
            client,
            table,
            audit=audit,
            now=lambda: ISSUED_AT,
            new_id=lambda: run_id,  # noqa: B023
        )
        body = CreateRun(name=f"For events/{event}.json", labels={"sample": "yes"})
        store.create(body, project=PROJECT, action=ActionContext(_CREATOR, f"sample-{event}"))
        for change in _CHANGES[event]:
            store.change(
                PROJECT,
                run_id,
                transition=TRANSITIONS[change],
                action=ActionContext(_CREATOR, f"sample-{event}-{change}"),
            )


if __name__ == "__main__":
    seed(dynamodb(), os.environ["RUNS_TABLE"], os.environ["ACCESS_TABLE"])
