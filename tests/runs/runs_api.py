"""Helpers that call RunsFunction as a load balancer does."""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from byline.aws import dynamodb
from byline.tables.rows import Contended
from serve_runs.calls import Api
from serve_runs.errors import RequestFailed
from serve_runs.handler import build
from serve_runs.web.reasons import REASONS
from tests.identity import alb_tokens
from tests.runs import contract
from tests.runs.identity_server import Credential


def build_function(environment: Mapping[str, str]) -> Api:
    """RunsFunction as a cold start in `environment` builds it."""
    dynamodb.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        if "AWS_ENDPOINT_URL" in environment:
            # AWS clients read this variable from the process's environment.
            patch.setenv("AWS_ENDPOINT_URL", environment["AWS_ENDPOINT_URL"])
        return build({"AWS_DEFAULT_REGION": "us-east-1", **environment})


def reason_of(failure: RequestFailed | Contended) -> str:
    """The reason with which the function answers a store's error."""
    return failure.reason if isinstance(failure, RequestFailed) else "store_unavailable"


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP response that the load balancer makes of the function's answer."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a problem, which must fit RFC 9457 and the table of reasons."""
        problem = self.json
        assert self.headers["content-type"] == "application/problem+json"
        assert problem["status"] == self.status
        assert problem["reason"] in REASONS
        assert problem["status"] == REASONS[problem["reason"]].status
        for member in ("type", "title", "detail", "instance"):
            assert isinstance(problem[member], str)
            assert problem[member]
        return cast(str, problem["reason"])


@dataclass(frozen=True, slots=True)
class Context:
    """Lambda's context: the members that the function uses."""

    aws_request_id: str
    function_name: str = "RunsFunction"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:RunsFunction"

    def get_remaining_time_in_millis(self) -> int:
        """A time that never runs out."""
        return 25_000


def request(
    method: str,
    path: str,
    *,
    by: Credential,
    headers: Sequence[tuple[str, str]] = (),
    query: Sequence[tuple[str, str]] | Mapping[str, str] = (),
    body: str | None = None,
    multi_value: bool = True,
) -> dict[str, Any]:
    """A load balancer's event. It carries `query` percent-encoded, as a load balancer does."""
    pairs = query.items() if isinstance(query, Mapping) else query
    encoded = [pair.partition("=")[::2] for pair in urlencode(list(pairs)).split("&") if pair]
    event = alb_tokens.event(
        ("host", "byline.example"),
        ("user-agent", "tests"),
        *by.headers,
        *headers,
        group=by.group,
        multi_value=multi_value,
    )
    event |= {"httpMethod": method, "path": path, "body": body or ""}
    if multi_value:
        values: dict[str, list[str]] = {}
        for name, value in encoded:
            values.setdefault(name, []).append(value)
        event["multiValueQueryStringParameters"] = values
    else:
        event["queryStringParameters"] = dict(encoded)
    return event


class RunsApi:
    """The function in one environment. Tests search its `answers` for tokens."""

    def __init__(self, function: Api) -> None:
        self.function = function
        self.answers: list[str] = []
        self._requests = 0

    def send(self, event: Mapping[str, Any]) -> Answer:
        """Invoke the function with an event. The answer must fit the event and the contract."""
        self._requests += 1
        context = Context(f"00000000-0000-4000-8000-{self._requests:012}")
        answer = json.loads(json.dumps(self.function.handle(dict(event), cast(Any, context))))
        self.answers.append(json.dumps(answer))
        assert not answer["isBase64Encoded"]
        if event.get("multiValueHeaders"):
            assert "headers" not in answer
            pairs = answer["multiValueHeaders"].items()
            assert all(len(values) == 1 for name, values in pairs if name != "Set-Cookie")
            headers = {name.lower(): "\n".join(values) for name, values in pairs}
        else:
            assert "multiValueHeaders" not in answer
            headers = {name.lower(): value for name, value in answer["headers"].items()}
        status, body = answer["statusCode"], answer["body"]
        contract.check(event["httpMethod"].upper(), event["path"], status, headers, body)
        return Answer(status, headers, body)

    def call(self, method: str, path: str, **what: Any) -> Answer:
        """Send a `request`; a `document` becomes the JSON body."""
        if "document" in what:
            what["body"] = json.dumps(what.pop("document"))
            what["headers"] = (*what.get("headers", ()), ("content-type", "application/json"))
        return self.send(request(method, path, **what))

    def create(self, by: Credential, project: str = "apollo", **body: Any) -> dict[str, Any]:
        """Create a run, and return it."""
        answer = self.call("POST", f"/v1/projects/{project}/runs", by=by, document=body)
        assert answer.status == 201, answer.body
        return cast(dict[str, Any], answer.json)


class StandardOutput:
    """The current `sys.stdout`: pytest's capture replaces it in each phase of a test."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


def log_to_standard_output() -> None:
    """Let the logger write to the current standard output; Powertools keeps the one at import."""
    for handler in logging.getLogger("byline").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.stream = StandardOutput()


def metrics(lines: Sequence[str], name: str) -> list[dict[str, Any]]:
    """The documents in CloudWatch's embedded metric format that contain the metric `name`."""
    documents = [json.loads(line) for line in lines if line.startswith("{")]
    return [document for document in documents if "_aws" in document and name in document]
