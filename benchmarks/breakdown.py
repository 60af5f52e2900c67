"""Where Byline's own time goes: one cold start, then warm creates, piece by piece.

Runs in an interpreter that has the built function and layer. Reads as JSON from standard input when
its process was started, in seconds of `time.perf_counter`, and events, each with a token of its
own; writes the pieces of the cold start in milliseconds and of a warm create in microseconds of CPU
time.
"""

import time

_first_line = time.perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from importlib import import_module  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any  # noqa: E402

IMPORTS = {
    "Lambda's runtime interface client": ["awslambdaric.bootstrap"],
    "msgspec": ["msgspec"],
    "Powertools: logger and metrics": [
        "aws_lambda_powertools.logging",
        "aws_lambda_powertools.metrics",
    ],
    "Powertools: resolver": ["aws_lambda_powertools.event_handler"],
    "urllib3": ["urllib3"],
    "botocore": ["byline.aws"],
    "cryptography": [
        "cryptography.hazmat.primitives.asymmetric.ec",
        "cryptography.hazmat.primitives.serialization",
    ],
    "the identity layer": ["byline.identity"],
}
"""In the order in which RunsFunction comes to them; each is without what came before it."""

CONTEXT: Any = SimpleNamespace(aws_request_id="2f1c7f3e-5d51-4a3f-8f0e-0b7a2d9c4e66")

type Event = dict[str, Any]


class Laps:
    """Milliseconds from one lap to the next."""

    def __init__(self, since: float) -> None:
        self.milliseconds: dict[str, float] = {}
        self._since = since

    def end(self, name: str, *, at: float | None = None) -> None:
        """Everything since the last lap was `name`."""
        now = time.perf_counter() if at is None else at
        self.milliseconds[name] = (now - self._since) * 1e3
        self._since = now


def main() -> None:
    """Measure."""
    given = json.load(sys.stdin)
    laps = Laps(given["started"])
    laps.end("Python itself", at=_first_line)
    first, *others = given["events"]
    start_cold(laps, first)
    print(json.dumps({"cold": laps.milliseconds, "warm": warm_create(others)}))


def start_cold(laps: Laps, event: Event) -> None:
    """What init and the first create do, one thing after the other."""
    for name, modules in IMPORTS.items():
        for module in modules:
            import_module(module)
        laps.end(f"import {name}")
    client = import_module("byline.aws").dynamodb()
    laps.end("make the client of DynamoDB")
    serve_runs = import_module("serve_runs")
    laps.end("import the function's own modules")
    serve_runs.identity.identify(event)
    laps.end("first verification: the key is fetched")
    client.put_item(TableName="RunsTable", Item={"project": {"S": "-"}, "id": {"S": "-"}})
    laps.end("first put: DynamoDB is connected to")
    serve_runs.handler(event, CONTEXT)
    laps.end("the rest of the first create")


def warm_create(events: Sequence[Event]) -> dict[str, float]:
    """A create with a token never seen before, then what it consists of, each by itself."""
    serve_runs = import_module("serve_runs")
    requests = import_module("run_requests")
    items = import_module("run_items")
    resolver = import_module("aws_lambda_powertools.event_handler").ALBResolver()
    resolver.post("/v1/projects/<project>/runs")(lambda project: {})
    half = len(events) // 2
    creates, callers, seen = events[:half], events[half:], [events[0]] * half
    caller = serve_runs.identity.identify(events[0])
    body = requests.create_run(events[0])
    item = serve_runs.runs._new_item(body, "research", caller, "-")

    def read(event: Event) -> None:
        requests.create_run(event)
        requests.refuse_cross_site(event)
        requests.idempotency_key(event)

    pieces: dict[str, tuple[Callable[[Event], object], Sequence[Event]]] = {
        "a create, all in all": (lambda event: serve_runs.handler(event, CONTEXT), creates),
        "`put_item`, bare": (
            lambda _: serve_runs.runs._client.put_item(TableName="RunsTable", Item=item),
            seen,
        ),
        "the caller, from a token never seen": (serve_runs.identity.identify, callers),
        "the caller, from a token seen": (serve_runs.identity.identify, seen),
        "the log line": (
            lambda _: serve_runs._log_change("run created", "research", "-", caller),
            seen,
        ),
        "the resolver, with an empty route": (
            lambda event: resolver.resolve(event, CONTEXT),
            seen,
        ),
        "reading and checking the request": (read, seen),
        "making the row": (
            lambda _: serve_runs.runs._new_item(body, "research", caller, "-"),
            seen,
        ),
        "making the answer": (
            lambda _: serve_runs._json(201, items.run_json(item), {"Location": "-"}),
            seen,
        ),
    }
    return {name: _microseconds(*piece) for name, piece in pieces.items()}


def _microseconds(piece: Callable[[Event], object], events: Sequence[Event]) -> float:
    before = time.process_time_ns()
    for event in events:
        piece(event)
    return (time.process_time_ns() - before) / len(events) / 1e3


if __name__ == "__main__":
    main()
