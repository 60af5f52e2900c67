"""Modules that a cold start loads: without SnapStart only those needed, with it all of them."""

import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from stand_ins.aws_server import serve_aws
from tests.identity.alb_tokens import segments_of
from tests.identity.loopback import answer, serve
from tests.runs.identity_server import NO_CREDENTIAL, Web
from tests.runs.runs_api import request
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, Refusal

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("cold_start_probe.py")
RUNS = "/v1/projects/apollo/runs"

HEAVY = {"boto3", "httpx", "pydantic", "requests", "aws_xray_sdk", "moto", "jwt"}
"""No answer needs these packages. The last one is PyJWT, which only Bearer tokens need."""


ENGINE = {"cedarpy", "cedarpy._internal"}
"""The modules of the policy engine."""


DATACLASSES = {"Access", "Answer", "UnverifiedToken", "_Request"}
"""One has a cached property; the others have a field that `repr` must not show."""

OUR_MODULES = {
    ".".join(path.relative_to(folder).with_suffix("").parts): path.read_text()
    for folder in (ROOT / "functions", ROOT / "layers/identity")
    for path in folder.rglob("*.py")
}
"""The source of each module of the functions and the layer, by its name."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """The report of one process. `log`: its output without the report."""

    at_start: set[str]
    loaded: list[set[str]]
    answers: list[int]
    random: float
    log: str


Start = Callable[..., ColdStart]


@pytest.fixture
def start(dynamodb: DynamoDb, web: Web) -> Start:
    """Starts a process with changed variables, which answers events."""

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
                "SECRET_PREFIX": "stage",
                "POWERTOOLS_SERVICE_NAME": "stage",
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
        *log, last_line = process.stdout.splitlines()
        report = json.loads(last_line)
        return ColdStart(
            at_start=set(report["at_start"]),
            loaded=[set(modules) for modules in report["loaded"]],
            answers=report["answers"],
            random=report["random"],
            log="\n".join(log) + process.stderr,
        )

    return run


@pytest.fixture
def runners_aws(dynamodb: DynamoDb) -> str:
    """The URL of a refresh queue, beside the tables."""
    queues = boto3.client("sqs", endpoint_url=dynamodb.url, region_name="us-east-1")
    return queues.create_queue(QueueName="RefreshQueue")["QueueUrl"]


def every_kind_of_request(web: Web) -> list[dict[str, Any]]:
    """One request of each kind."""
    json_type = [("content-type", "application/json")]
    return [
        request("GET", "/healthz", by=NO_CREDENTIAL),
        request("POST", RUNS, by=web.browser("ada"), body='{"name":"a"}', headers=json_type),
        request("POST", RUNS, by=web.bearer("ada"), headers=[("idempotency-key", "k")]),
        request("GET", RUNS, by=web.bearer("nightly", client="nightly")),
        request("GET", "/v1/whoami", by=web.browser("ada")),
        request("GET", RUNS, by=NO_CREDENTIAL),
        request("PUT", RUNS, by=NO_CREDENTIAL),
    ]


EXPECTED = [200, 201, 201, 200, 200, 401, 405]


class TestWithoutSnapStart:
    """Modules are loaded by the first request that needs them."""

    def test_start_loads_no_heavy_package(self, start: Start) -> None:
        """A start loads neither PyJWT nor a package that only tests and tools need."""
        cold_start = start(request("GET", "/healthz", by=NO_CREDENTIAL))
        assert cold_start.answers == [200]
        assert not HEAVY & cold_start.at_start
        assert "serve_runs.priming" not in cold_start.at_start
        assert cold_start.loaded == [set()]

    def test_records_of_a_start_are_structs(self, start: Start) -> None:
        """A dataclass compiles code when it is imported, so the start has only the named ones."""
        loaded = start().at_start
        found = {
            dataclass_name
            for module, source in OUR_MODULES.items()
            if module in loaded
            for dataclass_name in re.findall(r"^@dataclass.*\nclass (\w+)", source, re.M)
        }
        assert found == DATACLASSES

    def test_start_does_not_load_work_units(self, start: Start) -> None:
        """Only routes that name secrets load them, because they take 4 ms to import."""
        assert "byline.refresh.work_units" not in start().at_start

    def test_browser_request_does_not_load_pyjwt(self, start: Start, web: Web) -> None:
        """The first Bearer token loads PyJWT, and a browser's request does not."""
        browser = request("POST", RUNS, by=web.browser("ada"))
        cold_start = start(browser, request("POST", RUNS, by=web.bearer("ada")))
        assert cold_start.answers == [201, 201]
        assert not HEAVY & cold_start.loaded[0]
        assert "jwt" in cold_start.loaded[1]

    def test_first_decision_loads_the_policy_engine(self, start: Start, web: Web) -> None:
        """A health check and a person's `whoami` do not load the policy engine."""
        cold_start = start(
            request("GET", "/healthz", by=NO_CREDENTIAL),
            request("GET", "/v1/whoami", by=web.browser("ada")),
            request("POST", RUNS, by=web.browser("ada")),
        )
        assert cold_start.answers == [200, 200, 201]
        assert not ENGINE & (cold_start.at_start | cold_start.loaded[0] | cold_start.loaded[1])
        assert "cedarpy" in cold_start.loaded[2]

    def test_run_request_does_not_load_the_runner_routes(self, start: Start, web: Web) -> None:
        """The first request about runners loads their routes, and a request about runs does not."""
        create = request("POST", RUNS, by=web.browser("ada"))
        runner = request("POST", "/v1/projects/apollo/runners", by=NO_CREDENTIAL)
        cold_start = start(create, runner, create)
        assert cold_start.answers == [201, 405, 201]
        assert not {"serve_runs.runners.routes", "byline.refresh.runner_rows"} & (
            cold_start.at_start | cold_start.loaded[0]
        )
        assert "serve_runs.runners.routes" in cold_start.loaded[1]


class TestWithSnapStart:
    """All modules are loaded before the snapshot is taken."""

    def test_requests_load_no_module(self, start: Start, web: Web, dynamodb: DynamoDb) -> None:
        """Each kind of request finds all modules loaded, and no heavy package is among them."""
        cold_start = start(*every_kind_of_request(web), AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
        assert cold_start.answers == EXPECTED
        assert cold_start.loaded == [set()] * len(EXPECTED)
        assert {"jwt", "byline.identity.bearer_token"} <= cold_start.at_start
        assert not (HEAVY - {"jwt"}) & cold_start.at_start
        assert "not primed" not in cold_start.log
        assert len(dynamodb.rows()) == 3

    def test_runner_requests_load_no_module(self, start: Start, web: Web, runners_aws: str) -> None:
        """Requests that use the queue and Secrets Manager find all modules loaded."""
        runner = "/v1/projects/apollo/runners/gpu-1"
        machine = web.bearer("gpu", client="gpu")
        cold_start = start(
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
        assert cold_start.answers == [201, 200, 200, 503, 204]
        assert cold_start.loaded == [set()] * 5
        assert "message not sent" not in cold_start.log

    def test_start_sends_no_request_and_logs_nothing(
        self, start: Start, web: Web, dynamodb: DynamoDb
    ) -> None:
        """A start calls neither AWS nor an issuer, so the snapshot has no key and no connection."""
        web.down = True
        try:
            cold_start = start(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
        finally:
            web.down = False
        assert dynamodb.calls == []
        assert cold_start.log == ""

    def test_snapshot_has_no_credentials(self, start: Start, web: Web, dynamodb: DynamoDb) -> None:
        """Credentials are asked for at the first request after the restore, not during init."""
        keys = {"AccessKeyId": "AKIDofTheRole", "SecretAccessKey": "s", "Token": "t"}
        body = json.dumps({**keys, "Expiration": "2099-01-01T00:00:00Z"}).encode()
        with serve(answer(body, headers="Content-Type: application/json\r\n")) as endpoint:
            of_lambda = {
                "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
                "AWS_ACCESS_KEY_ID": "",
                "AWS_SECRET_ACCESS_KEY": "",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoint.url}/credentials",
            }
            assert start(**of_lambda).log == ""
            assert endpoint.requests == []
            post = request("POST", RUNS, by=web.browser("ada"))
            assert start(post, post, **of_lambda).answers == [201, 201]
            assert len(endpoint.requests) == 1
        signed_by = {call.signer for call in dynamodb.calls}
        assert signed_by == {"AKIDofTheRole"}

    def test_restore_seeds_random_again(self, start: Start) -> None:
        """Two restores of one snapshot draw different random numbers."""
        random.seed(1)
        frozen = random.random()  # noqa: S311 - the number that must not be drawn
        assert start().random == frozen
        assert start(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start").random != frozen

    def test_failed_priming_does_not_fail_the_start(self, start: Start, web: Web) -> None:
        """A failed priming step is logged, and requests are answered."""
        cold_start = start(
            request("POST", RUNS, by=web.browser("ada")),
            AWS_LAMBDA_INITIALIZATION_TYPE="snap-start",
            SSL_CERT_FILE="/nowhere/at/all.pem",
        )
        assert cold_start.answers == [201]
        warnings = [
            json.loads(line) for line in cold_start.log.splitlines() if "not primed" in line
        ]
        assert [warning["step"] for warning in warnings] == ["tls"]
        assert [warning["error"] for warning in warnings] == ["FileNotFoundError"]
        assert "/nowhere/at/all.pem" not in cold_start.log


class TestTracer:
    """The X-Ray tracer is off by default."""

    def test_tracer_is_not_loaded_by_default(self, start: Start) -> None:
        """The tracer's SDK is loaded only where the operator switches it on."""
        for value in ("", "true"):
            cold_start = start(
                request("GET", "/healthz", by=NO_CREDENTIAL), POWERTOOLS_TRACE_DISABLED=value
            )
            assert "aws_xray_sdk" not in cold_start.at_start | cold_start.loaded[0]

    def test_enabled_tracer_sends_no_answer_and_no_token(self, start: Start, web: Web) -> None:
        """Segments show the handler and its DynamoDB call, without answers and tokens."""
        cold_start, sent = traced(
            start,
            request("POST", RUNS, by=web.browser("ada")),
            request("POST", RUNS, by=web.bearer("grace", exp=1)),
            until="TransactWriteItems",
        )
        assert cold_start.answers == [201, 401]
        assert "executed_by" not in sent
        assert not [
            segment for segment in segments_of(web.tokens) if segment in sent + cold_start.log
        ]

    def test_enabled_tracer_sends_no_text_of_an_error(
        self, start: Start, web: Web, dynamodb: DynamoDb
    ) -> None:
        """A segment names the class of AWS's error, whose text may quote what was sent."""
        quoting = {"Message": "what was sent: S3CRET"}
        refusal = Refusal("TransactWriteItems", "AccessDeniedException", members=quoting)
        dynamodb.faults.append(refusal)
        cold_start, sent = traced(
            start, request("POST", RUNS, by=web.browser("ada")), until="ClientError"
        )
        assert cold_start.answers == [500]
        assert "S3CRET" not in sent + cold_start.log


def traced(start: Start, *events: dict[str, Any], until: str) -> tuple[ColdStart, str]:
    """A cold start with the tracer, and what it sent to X-Ray until a segment has this text."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(5)
        host, port = daemon.getsockname()
        cold_start = start(
            *events,
            POWERTOOLS_TRACE_DISABLED="false",
            LAMBDA_TASK_ROOT=str(ROOT),
            AWS_XRAY_DAEMON_ADDRESS=f"{host}:{port}",
            _X_AMZN_TRACE_ID="Root=1-5759e988-bd862e3fe1be46a994272793;"
            "Parent=53995c3f42cd8ad8;Sampled=1",
        )
        sent = ""
        while "## " not in sent or until not in sent:
            sent += daemon.recv(65_536).decode()
    return cold_start, sent


class TestDebugSwitches:
    """No switch that an operator can set in Lambda makes a token or a secret appear in a log."""

    @pytest.mark.parametrize(
        "switch",
        [
            {"AWS_LAMBDA_LOG_LEVEL": "DEBUG"},
            {"POWERTOOLS_DEV": "true"},
            {"POWERTOOLS_DEBUG": "true"},
            {"POWERTOOLS_LOG_LEVEL": "DEBUG", "LOG_LEVEL": "DEBUG"},
            {"POWERTOOLS_LOGGER_LOG_EVENT": "true", "POWERTOOLS_LOGGER_SAMPLE_RATE": "1"},
            {
                "POWERTOOLS_DEV": "true",
                "POWERTOOLS_DEBUG": "true",
                "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            },
        ],
        ids="+".join,
    )
    def test_switch_shows_no_token_and_no_body(
        self, start: Start, web: Web, switch: dict[str, str]
    ) -> None:
        """Requests with tokens and with a credential, and their answers, are not logged."""
        secret = "ghp_S3CRETofGitHub"
        credential = {"provider": "github", "token": secret}
        grant = {"kind": "user", "subject": "ada", "role": "credential:token-reader"}
        json_type = [("content-type", "application/json")]
        path = "/v1/projects/apollo/credentials/github"

        def sent(method: str, path: str, document: dict[str, str] | None = None) -> dict[str, Any]:
            body = None if document is None else json.dumps(document)
            return request(method, path, by=web.browser("ada"), body=body, headers=json_type)

        with serve_aws() as aws:
            cold_start = start(
                request("GET", "/v1/whoami", by=web.bearer("nightly", client="nightly")),
                request("GET", "/v1/whoami", by=web.bearer("nightly", exp=1)),
                sent("PUT", "/v1/projects/apollo/role-bindings", grant),
                sent("PUT", path, credential),
                sent("PUT", path, {**credential, "other": secret}),
                sent("GET", f"{path}/token"),
                AWS_ENDPOINT_URL_SECRETS_MANAGER=aws.url,
                **switch,
            )
        assert cold_start.answers == [200, 401, 201, 201, 400, 200]
        assert secret not in cold_start.log
        assert not [segment for segment in segments_of(web.tokens) if segment in cold_start.log]
