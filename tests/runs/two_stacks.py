"""Two stacks in one account and region, each with tables, a queue and functions of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from byline.refresh.work_units import SecretNames
from plan_refresh.handler import build as build_planner
from refresh_tokens.handler import build as build_worker
from tests.refresh.deployment import Deployment, forget_clients, sqs_record
from tests.refresh.world import World
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi, build_function, log_to_standard_output
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, TABLE, table_definition

PROJECT = "apollo"


@dataclass
class OneStack:
    """A stack with its API, and its planner and refresher with the queue between them."""

    name: str
    api: RunsApi
    refresh: Deployment

    @property
    def world(self) -> World:
        """AWS and the issuer, which both stacks use."""
        return self.refresh.world

    def give_client(self) -> None:
        """Write the client secret `scheduler` of the project, as an operator of this stack does."""
        self.world.give_client(project=PROJECT, names=SecretNames(self.name))

    def secret_of(self, token_id: str) -> str:
        """The name of the first secret of a token of the client `scheduler`."""
        return SecretNames(self.name).token(PROJECT, "scheduler", token_id, 0)

    def register_runner(self, by: Credential, **body: Any) -> Answer:
        """Register the runner `nightly`, and let the refresher work."""
        document = {"client": "scheduler", **body}
        answer = self.call("PUT", "runners/nightly", by=by, document=document)
        self.deliver()
        return answer

    def deliver(self) -> None:
        """Invoke the refresher with the messages of this stack's API, without their delay."""
        sent = [
            call.document["MessageBody"]
            for call in self.world.aws.calls
            if call.operation == "SendMessage"
            and call.document["QueueUrl"] == self.refresh.queue_url
        ]
        assert sent
        self.world.aws.calls.clear()
        assert self.refresh.invoke([sqs_record(body) for body in sent]) == []

    def call(self, method: str, path: str, *, by: Credential, **what: Any) -> Answer:
        """Send a request about the project."""
        return self.api.call(method, f"/v1/projects/{PROJECT}/{path}", by=by, **what)

    def secret_names(self) -> list[str]:
        """The names of the project's secrets under this stack's name, in the whole account."""
        names = self.world.aws.secrets.names()
        return [name for name in names if name.split("/")[::2][:2] == [self.name, PROJECT]]


@contextmanager
def started(name: str, *, world: World, web: Web, **changes: str) -> Iterator[OneStack]:
    """The stack `name` with empty tables, until the block ends."""
    variables = {"RUNS_TABLE": TABLE, "RUNNERS_TABLE": RUNNERS_TABLE, "ACCESS_TABLE": ACCESS_TABLE}
    for table in variables.values():
        world.dynamodb.create_table(**{**table_definition(table), "TableName": f"{name}-{table}"})
    queue = world.aws.observer("sqs").create_queue(QueueName=f"{name}-RefreshQueue")
    environ = {
        **web.environment(),
        **{variable: f"{name}-{table}" for variable, table in variables.items()},
        "REFRESH_QUEUE_URL": queue["QueueUrl"],
        "WRITES_PER_SECOND": "1000",
        "SECRET_PREFIX": name,
        "POWERTOOLS_SERVICE_NAME": name,
        "AWS_ENDPOINT_URL": world.aws.url,
        **changes,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", world.aws.url)
        forget_clients()
        try:
            api = RunsApi(build_function(environ))
            worker, planner = build_worker(environ), build_planner(environ)
            log_to_standard_output()
            yield OneStack(name, api, Deployment(world, queue["QueueUrl"], worker, planner))
        finally:
            forget_clients()
