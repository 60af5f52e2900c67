"""Baseline: the routes of RunsFunction the usual way.

Powertools' validating resolver, Logger and Metrics, pydantic models, `boto3.resource`.
"""

import json
import os
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import ALBResolver, Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError
from run_models import CreateRun, Run, RunPage
from ulid import ULID
from who_called import Caller, NotAuthenticated, identify

logger = Logger(service="runs")
metrics = Metrics(namespace="Runs", service="runs")
app = ALBResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(os.environ["RUNS_TABLE"])

ProjectPath = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
RunPath = Annotated[str, Path(pattern="^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
STATES = {
    "start": (["pending"], "running", "started_by"),
    "finish": (["running"], "succeeded", "finished_by"),
    "fail": (["pending", "running"], "failed", "finished_by"),
    "cancel": (["pending", "running"], "cancelled", "cancelled_by"),
}


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of the load balancer."""
    return app.resolve(event, context)


@app.exception_handler(NotAuthenticated)  # type: ignore[untyped-decorator]
def answer_not_authenticated(error: NotAuthenticated) -> Response[str]:
    """Answer 401."""
    metrics.add_metric(name="Rejected", unit=MetricUnit.Count, value=1)
    logger.warning("rejected", reason=str(error))
    return Response(401, content_types.APPLICATION_JSON, json.dumps({"detail": str(error)}))


@app.get("/healthz")
def check_health() -> dict[str, str]:
    """The health check."""
    return {"status": "ok"}


@app.get("/v1/whoami")
def show_caller() -> dict[str, Any]:
    """The caller."""
    return {"executed_by": _caller().executed_by}


@app.post("/v1/projects/<project>/runs")
def create_run(project: ProjectPath, body: CreateRun) -> Response[Run]:
    """Create a run in the caller's name."""
    caller = _caller()
    now = datetime.now(UTC)
    run = Run(
        **body.model_dump(),
        id=str(ULID()),
        project=project,
        status="pending",
        created_at=now,
        updated_at=now,
        executed_by=caller.executed_by,
        creator_user_id=caller.subject if caller.kind == "user" else None,
        creator_service_account_id=caller.subject if caller.kind == "application" else None,
    )
    item = run.model_dump(mode="json", exclude_none=True)
    item["creator"] = caller.subject
    table.put_item(Item=item, ConditionExpression=Attr("id").not_exists())
    metrics.add_metric(name="RunCreated", unit=MetricUnit.Count, value=1)
    logger.info("run created", project=project, run=run.id, actor=caller.subject)
    return Response(201, content_types.APPLICATION_JSON, run)


@app.get("/v1/projects/<project>/runs")
def list_runs(project: ProjectPath, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> RunPage:
    """A project's runs, newest first."""
    _caller()
    page = table.query(
        KeyConditionExpression=Key("project").eq(project), ScanIndexForward=False, Limit=limit
    )
    return RunPage.model_validate({"runs": page["Items"]})


@app.get("/v1/projects/<project>/runs/<run_id>")
def show_run(project: ProjectPath, run_id: RunPath) -> Response[Run]:
    """One run."""
    _caller()
    item = table.get_item(Key={"project": project, "id": run_id}).get("Item")
    if item is None:
        return Response(404, content_types.APPLICATION_JSON)
    return Response(200, content_types.APPLICATION_JSON, Run.model_validate(item))


@app.post("/v1/projects/<project>/runs/<run_id>/<change>")
def change_run(
    project: ProjectPath,
    run_id: RunPath,
    change: Annotated[Literal["start", "finish", "fail", "cancel"], Path()],
) -> Response[Run]:
    """Start, finish, fail or cancel a run."""
    caller = _caller()
    before, after, column = STATES[change]
    try:
        answer = table.update_item(
            Key={"project": project, "id": run_id},
            UpdateExpression=f"SET #status = :after, updated_at = :now, {column} = :actor",
            ConditionExpression=Attr("status").is_in(before),
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":after": after,
                ":now": datetime.now(UTC).isoformat(),
                ":actor": caller.executed_by,
            },
            ReturnValues="ALL_NEW",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return Response(409, content_types.APPLICATION_JSON)
    run = Run.model_validate(answer["Attributes"])
    return Response(200, content_types.APPLICATION_JSON, run)


@app.delete("/v1/projects/<project>/runs/<run_id>")
def delete_run(project: ProjectPath, run_id: RunPath) -> Response[None]:
    """Delete a run."""
    _caller()
    table.delete_item(Key={"project": project, "id": run_id})
    return Response(204, content_types.APPLICATION_JSON)


def _caller() -> Caller:
    return identify(app.current_event.resolved_headers_field)
