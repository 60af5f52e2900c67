"""What a cold start loads: without SnapStart only what is needed, with it everything."""

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.identity.alb_tokens import segments_of
from tests.runs.identity_server import NOBODY, Web
from tests.runs.runs_api import request
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("cold_start_probe.py")
RUNS = "/v1/projects/apollo/runs"

HEAVY = {"boto3", "httpx", "pydantic", "requests", "aws_xray_sdk", "moto", "jwt"}
"""Nothing of this is needed to answer; the last one is PyJWT, needed for Bearer tokens only."""


ENGINE = {"cedarpy", "cedarpy._internal"}
"""What decides by the policies."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What one process did. `log`: all that it printed, but for the probe's own last line."""

    at_start: set[str]
    loaded: list[set[str]]
    answers: list[int]
    random: float
    log: str


Start = Callable[..., ColdStart]


@pytest.fixture
def start(dynamodb: DynamoDb, web: Web) -> Start:
    """A process that starts cold, with variables changed, and serves events."""

    def run(*events: dict[str, Any], **changes: str) -> ColdStart:
        paths = ("layers/identity", "functions", ".")
        process = subprocess.run(
            [sys.executable, str(PROBE)],
            input=json.dumps(events),
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(str(ROOT / path) for path in paths),
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": dynamodb.url,
                "RUNS_TABLE": TABLE,
                "RUNNERS_TABLE": "RunnersTable",
                "ACCESS_TABLE": ACCESS_TABLE,
                "REFRESH_QUEUE_URL": f"{dynamodb.url}/123456789012/RefreshQueue",
                **web.environment(),
                **changes,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        *log, report = process.stdout.splitlines()
        found = json.loads(report)
        return ColdStart(
            at_start=set(found["at_start"]),
            loaded=[set(modules) for modules in found["loaded"]],
            answers=found["answers"],
            random=found["random"],
            log="\n".join(log) + process.stderr,
        )

    return run


@pytest.fixture
def runners_aws(dynamodb: DynamoDb) -> str:
    """The tables, and the queue whose address this is."""
    queues = boto3.client("sqs", endpoint_url=dynamodb.url, region_name="us-east-1")
    return queues.create_queue(QueueName="RefreshQueue")["QueueUrl"]


def every_kind_of_request(web: Web) -> list[dict[str, Any]]:
    json_type = [("content-type", "application/json")]
    return [
        request("GET", "/healthz", by=NOBODY),
        request("POST", RUNS, by=web.browser("ada"), body='{"name":"a"}', headers=json_type),
        request("POST", RUNS, by=web.bearer("ada"), headers=[("idempotency-key", "k")]),
        request("GET", RUNS, by=web.bearer("nightly", client="nightly")),
        request("GET", "/v1/whoami", by=web.browser("ada")),
        request("GET", RUNS, by=NOBODY),
        request("PUT", RUNS, by=NOBODY),
    ]


EXPECTED = [200, 201, 201, 200, 200, 401, 405]


class TestWithoutSnapStart:
    """What a request does not need, it does not wait for."""

    def test_start_loads_nothing_heavy(self, start: Start) -> None:
        """Neither the Bearer path nor anything that only tests and tools need."""
        cold = start(request("GET", "/healthz", by=NOBODY))
        assert cold.answers == [200]
        assert not HEAVY & cold.at_start
        assert "serve_runs.priming" not in cold.at_start
        assert cold.loaded == [set()]

    def test_browsers_request_goes_without_pyjwt(self, start: Start, web: Web) -> None:
        """It comes with the first Bearer token, not before."""
        browser = request("POST", RUNS, by=web.browser("ada"))
        cold = start(browser, request("POST", RUNS, by=web.bearer("ada")))
        assert cold.answers == [201, 201]
        assert not HEAVY & cold.loaded[0]
        assert "jwt" in cold.loaded[1]

    def test_only_a_decision_loads_the_engine_of_the_policies(self, start: Start, web: Web) -> None:
        """A health check goes without, and so does a person who asks who they are."""
        cold = start(
            request("GET", "/healthz", by=NOBODY),
            request("GET", "/v1/whoami", by=web.browser("ada")),
            request("POST", RUNS, by=web.browser("ada")),
        )
        assert cold.answers == [200, 200, 201]
        assert not ENGINE & (cold.at_start | cold.loaded[0] | cold.loaded[1])
        assert "cedarpy" in cold.loaded[2]

    def test_request_about_a_run_goes_without_what_runners_need(
        self, start: Start, web: Web
    ) -> None:
        """Their routes come with the first request for one, and are answered from then on."""
        create = request("POST", RUNS, by=web.browser("ada"))
        runner = request("POST", "/v1/projects/apollo/runners", by=NOBODY)
        cold = start(create, runner, create)
        assert cold.answers == [201, 405, 201]
        assert not {"serve_runs.runners.routes", "byline.refresh.runner_rows"} & (
            cold.at_start | cold.loaded[0]
        )
        assert "serve_runs.runners.routes" in cold.loaded[1]


class TestWithSnapStart:
    """What a request needs is there before the snapshot is taken."""

    def test_no_request_loads_anything(self, start: Start, web: Web, dynamodb: DynamoDb) -> None:
        """Every kind of request finds all modules loaded; nothing heavy is among them."""
        cold = start(*every_kind_of_request(web), AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
        assert cold.answers == EXPECTED
        assert cold.loaded == [set()] * len(EXPECTED)
        assert {"jwt", "byline.identity.bearer_token"} <= cold.at_start
        assert not (HEAVY - {"jwt"}) & cold.at_start
        assert "not primed" not in cold.log
        assert len(dynamodb.rows()) == 3

    def test_no_request_about_a_runner_loads_anything(
        self, start: Start, web: Web, runners_aws: str
    ) -> None:
        """Nor do those that need the queue and Secrets Manager."""
        runner = "/v1/projects/apollo/runners/gpu-1"
        machine = web.bearer("gpu", client="gpu")
        cold = start(
            request(
                "PUT",
                runner,
                by=machine,
                body='{"client":"c","subject":"gpu"}',
                headers=[("content-type", "application/json")],
            ),
            request("GET", runner, by=machine),
            request("GET", "/v1/projects/apollo/runners", by=machine),
            request("GET", f"{runner}/token", by=machine),
            request("DELETE", runner, by=machine),
            AWS_LAMBDA_INITIALIZATION_TYPE="snap-start",
            REFRESH_QUEUE_URL=runners_aws,
            PROJECT_ADMINS="application:gpu",
        )
        assert cold.answers == [201, 200, 200, 503, 204]
        assert cold.loaded == [set()] * 5
        assert "message not sent" not in cold.log

    def test_start_asks_nobody_and_counts_nothing(
        self, start: Start, web: Web, dynamodb: DynamoDb
    ) -> None:
        """No request to AWS or an issuer, so no key and no connection is in the snapshot."""
        web.down = True
        try:
            cold = start(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
        finally:
            web.down = False
        assert dynamodb.calls == []
        assert cold.log == ""

    def test_restore_renews_randomness(self, start: Start) -> None:
        """Two copies of one snapshot must not draw the same numbers."""
        random.seed(1)
        frozen = random.random()  # noqa: S311 - the very number that is not to be drawn
        assert start().random == frozen
        assert start(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start").random != frozen

    def test_priming_that_fails_does_not_fail_the_start(self, start: Start, web: Web) -> None:
        """It is logged, and the requests are served all the same."""
        cold = start(
            request("POST", RUNS, by=web.browser("ada")),
            AWS_LAMBDA_INITIALIZATION_TYPE="snap-start",
            SSL_CERT_FILE="/nowhere/at/all.pem",
        )
        assert cold.answers == [201]
        warnings = [json.loads(line) for line in cold.log.splitlines() if "not primed" in line]
        assert [warning["step"] for warning in warnings] == ["tls"]


class TestTracer:
    """An operator's choice: off unless they turn it on."""

    def test_tracer_is_not_loaded_unless_it_is_turned_on(self, start: Start) -> None:
        """Its SDK costs a cold start more than all the rest."""
        for value in ("", "true"):
            cold = start(request("GET", "/healthz", by=NOBODY), POWERTOOLS_TRACE_DISABLED=value)
            assert "aws_xray_sdk" not in cold.at_start | cold.loaded[0]

    def test_tracer_that_is_turned_on_sends_segments_without_answers_or_tokens(
        self, start: Start, web: Web
    ) -> None:
        """The handler and its DynamoDB request are seen; what was said is not."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
            daemon.bind(("127.0.0.1", 0))
            daemon.settimeout(5)
            host, port = daemon.getsockname()
            cold = start(
                request("POST", RUNS, by=web.browser("ada")),
                request("POST", RUNS, by=web.bearer("grace", exp=1)),
                POWERTOOLS_TRACE_DISABLED="false",
                LAMBDA_TASK_ROOT=str(ROOT),
                AWS_XRAY_DAEMON_ADDRESS=f"{host}:{port}",
                _X_AMZN_TRACE_ID="Root=1-5759e988-bd862e3fe1be46a994272793;"
                "Parent=53995c3f42cd8ad8;Sampled=1",
            )
            assert cold.answers == [201, 401]
            sent = ""
            while "## " not in sent or "TransactWriteItems" not in sent:
                sent += daemon.recv(65_536).decode()
        assert "executed_by" not in sent
        assert not [segment for segment in segments_of(web.tokens) if segment in sent + cold.log]
