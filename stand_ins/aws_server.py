"""AWS on loopback at one address for all services, with quotas, limits and faults.

    with serve_aws() as aws:
        aws.faults.follow("PutSecretValue", LoseAnswer(), RATE_EXCEEDED)

Secrets Manager and STS are our own stand-ins. moto answers every other service with AWS's JSON
protocol.
The server records every call, can apply a fault to it, and can search it for secret texts.
A client finds the server by `AWS_ENDPOINT_URL`, or by the variable of one service, such as
`AWS_ENDPOINT_URL_SECRETS_MANAGER`.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import boto3
from botocore.config import Config

from stand_ins.faults import (
    Afterwards,
    Call,
    Delay,
    Hang,
    LoseAnswer,
    Meanwhile,
    Reset,
    Script,
)
from stand_ins.in_process import answer_in_process
from stand_ins.listener import HttpAnswer, HttpRequest, NoAnswer, serve
from stand_ins.moto_services import MotoServices
from stand_ins.refusal import Refusal, Refused
from stand_ins.secret_store import Behaviour, SecretStore
from stand_ins.secret_texts import without_value
from stand_ins.secrets_manager import SecretsManager
from stand_ins.security_token_service import SecurityTokenService

SECRETS_MANAGER = "secretsmanager"
OBSERVER = "observer-of-a-test"
QUERY_PROTOCOL = "application/x-www-form-urlencoded"
"""The content type by which STS is told apart: it alone has AWS's query protocol."""


class AwsServer:
    """The server: the `calls` it received, the `secrets` it holds, and the `faults` to apply."""

    def __init__(self, *, clock: Callable[[], float], behaviour: Behaviour) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.faults = Script()
        self.secrets = SecretStore(clock=clock, behaviour=behaviour)
        self.ended = Event()
        self._clock = clock
        self._secrets_manager = SecretsManager(self.secrets)
        self.sts = SecurityTokenService(clock=clock, texts=self.secrets.texts)
        self._moto = MotoServices(clock=clock)
        self._observers: dict[str, Any] = {}

    def client(self, service: str, **config: Any) -> Any:
        """A client of `service` that makes one attempt per call, unless `config` sets retries."""
        # Given, because botocore otherwise composes its own for each request.
        options = {"retries": {"total_max_attempts": 1}, "user_agent": "stand-in", **config}
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name="us-east-1",
            config=Config(**options),
        )

    def observer(self, service: str) -> Any:
        """The client for a test's own checks: its calls meet no fault and are not recorded."""
        if service not in self._observers:
            observer = self.client(service, user_agent_extra=OBSERVER)
            answer_in_process(observer, self.answer)
            self._observers[service] = observer
        return self._observers[service]

    def answer(self, request: HttpRequest) -> HttpAnswer | None:
        """The answer to a request in this process. None while the script holds faults."""
        if OBSERVER not in request.headers["User-Agent"] and self.faults.are_planned:
            return None
        answer = self.receive_any(request)
        assert isinstance(answer, HttpAnswer), "only a fault leaves a request without an answer"
        return answer

    def count(self, operation: str, outcome: str | None = None) -> int:
        """The number of calls of an operation, or only of those with this outcome."""
        return sum(
            call.operation == operation and outcome in {None, call.outcome} for call in self.calls
        )

    def leaks(self) -> list[Call]:
        """The calls that carry a secret's text anywhere but in the value of a secret."""
        return [
            call for call in self.calls if self.secrets.texts.occur_in(_without_secret_value(call))
        ]

    def receive_any(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        """The answer to a request of either protocol. STS meets no fault of the script."""
        if not request.headers.get("Content-Type", "").startswith(QUERY_PROTOCOL):
            return self.receive(request)
        form = dict(parse_qsl(request.body.decode()))
        self.calls.append(Call(self._clock(), "sts", form.get("Action", ""), form))
        return self.sts.answer(form)

    def receive(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        """The answer to a request of the JSON protocol, after any fault of the script."""
        service, _, operation = request.headers.get("X-Amz-Target", "").rpartition(".")
        call = Call(self._clock(), service, operation, _document(request.body))
        if OBSERVER in request.headers.get("User-Agent", "") or _is_profile_write(call):
            return self._handle(call, request)
        self.calls.append(call)
        call.fault = self.faults.fault_for(call)
        match call.fault:
            case Refusal() as refusal:
                call.outcome = refusal.code
                return _refused(refusal)
            case Hang(silent_seconds):
                return NoAnswer(silent_seconds)
            case Reset(silent_seconds):
                return NoAnswer(silent_seconds, is_reset=True)
            case Meanwhile(action):
                action()
            case Delay(seconds):
                self.ended.wait(seconds)
        answer = self._handle(call, request)
        match call.fault:
            case LoseAnswer(silent_seconds):
                return NoAnswer(silent_seconds)
            case Afterwards(action):
                action()
        return answer

    def _handle(self, call: Call, request: HttpRequest) -> HttpAnswer:
        try:
            answer = self._dispatch(call, request)
        except Refused as refused:
            answer = _refused(refused.refusal)
        call.outcome = "done" if answer.status == 200 else _error_code(answer)
        return answer

    def _dispatch(self, call: Call, request: HttpRequest) -> HttpAnswer:
        if call.service == SECRETS_MANAGER:
            return _json(200, self._secrets_manager.answer(call.operation, call.document))
        token = call.document.get("ClientRequestToken")
        if call.operation == "TransactWriteItems" and token:
            return self._moto.transact(token, request)
        return self._moto.answer(request)


@contextmanager
def serve_aws(
    *, clock: Callable[[], float] = time.time, behaviour: Behaviour | None = None
) -> Iterator[AwsServer]:
    """Run the server on a free port of loopback until the block ends.

    `clock`: seconds since the epoch.
    """
    aws = AwsServer(clock=clock, behaviour=behaviour or Behaviour())
    with serve(aws.receive_any, ended=aws.ended) as aws.url:
        yield aws


def _document(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body or b"{}")
    return document


def _is_profile_write(call: Call) -> bool:
    """Whether the call stores a caller's profile.

    The first request of a caller in a process causes it. Recorded, it would change the counts of a
    test and use up faults that are meant for other calls.
    """
    return bool(call.document.get("Key", {}).get("entry") == {"S": "profile"})


def _without_secret_value(call: Call) -> dict[str, Any]:
    return without_value(call.document) if call.service == SECRETS_MANAGER else call.document


def _refused(refusal: Refusal) -> HttpAnswer:
    return _json(refusal.status, refusal.document())


def _json(status: int, document: dict[str, Any]) -> HttpAnswer:
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid4())}
    return HttpAnswer(status, headers, json.dumps(document).encode())


def _error_code(answer: HttpAnswer) -> str:
    code: str = _document(answer.body)["__type"]
    return code.rpartition("#")[2]
