"""AWS on loopback, with its limits and its troubles: one address for every service.

    with serve_aws() as aws:
        aws.faults.follow("PutSecretValue", LoseAnswer(), RATE_EXCEEDED)

Secrets Manager is our stand-in, every other service that speaks AWS's JSON protocol is moto's.
Every call can meet a fault on its way, is counted, and can be searched for texts that belong into
Secrets Manager only. A client finds the server by `AWS_ENDPOINT_URL`, or by
`AWS_ENDPOINT_URL_SECRETS_MANAGER` and its like.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any
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
from stand_ins.listener import HttpAnswer, HttpRequest, NoAnswer, serve
from stand_ins.moto_services import MotoServices
from stand_ins.refusal import Refusal, Refused
from stand_ins.secret_store import Behaviour, SecretStore
from stand_ins.secret_texts import without_value
from stand_ins.secrets_manager import SecretsManager

SECRETS_MANAGER = "secretsmanager"
OBSERVER = "observer-of-a-test"


class AwsServer:
    """The server: what it was asked (`calls`), what it holds, and what befalls it (`faults`)."""

    def __init__(self, *, clock: Callable[[], float], behaviour: Behaviour) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.faults = Script()
        self.secrets = SecretStore(clock=clock, behaviour=behaviour)
        self.over = Event()
        self._clock = clock
        self._secrets_manager = SecretsManager(self.secrets)
        self._moto = MotoServices(clock=clock)

    def client(self, service: str, **config: Any) -> Any:
        """A client of `service` that tries everything once, unless `config` says otherwise."""
        options = {"retries": {"total_max_attempts": 1}, **config}
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name="us-east-1",
            config=Config(**options),
        )

    def observer(self, service: str) -> Any:
        """A client for looking behind the callers' back: it meets no fault and is not counted."""
        return self.client(service, user_agent_extra=OBSERVER)

    def count(self, operation: str, outcome: str | None = None) -> int:
        """How many calls of an operation there were; of one outcome, where it is given."""
        return sum(
            call.operation == operation and outcome in {None, call.outcome} for call in self.calls
        )

    def leaks(self) -> list[Call]:
        """The calls that carry a secret's text where none belongs: in anything but its value."""
        return [call for call in self.calls if self.secrets.texts.occur_in(_exposed(call))]

    def receive(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        """What becomes of a request."""
        service, _, operation = request.headers.get("X-Amz-Target", "").rpartition(".")
        call = Call(self._clock(), service, operation, _document(request.body))
        if OBSERVER in request.headers.get("User-Agent", "") or _is_sighting(call):
            return self._work(call, request)
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
                self.over.wait(seconds)
        answer = self._work(call, request)
        match call.fault:
            case LoseAnswer(silent_seconds):
                return NoAnswer(silent_seconds)
            case Afterwards(action):
                action()
        return answer

    def _work(self, call: Call, request: HttpRequest) -> HttpAnswer:
        try:
            answer = self._ask(call, request)
        except Refused as refused:
            answer = _refused(refused.refusal)
        call.outcome = "done" if answer.status == 200 else _error_code(answer)
        return answer

    def _ask(self, call: Call, request: HttpRequest) -> HttpAnswer:
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
    """The server on a free port of loopback, until the block ends."""
    aws = AwsServer(clock=clock, behaviour=behaviour or Behaviour())
    with serve(aws.receive, over=aws.over) as aws.url:
        yield aws


def _document(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body or b"{}")
    return document


def _is_sighting(call: Call) -> bool:
    """Whether it keeps what a caller is called: whoever calls first in a process causes it, so it
    would come by chance into what a test counts, and meet faults that are meant for others."""
    return bool(call.document.get("Key", {}).get("entry") == {"S": "profile"})


def _exposed(call: Call) -> dict[str, Any]:
    return without_value(call.document) if call.service == SECRETS_MANAGER else call.document


def _refused(refusal: Refusal) -> HttpAnswer:
    return _json(refusal.status, refusal.document())


def _json(status: int, document: dict[str, Any]) -> HttpAnswer:
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid4())}
    return HttpAnswer(status, headers, json.dumps(document).encode())


def _error_code(answer: HttpAnswer) -> str:
    code: str = _document(answer.body)["__type"]
    return code.rpartition("#")[2]
