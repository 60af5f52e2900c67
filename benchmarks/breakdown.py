"""Measures the pieces of one cold start, then the pieces of warm creates.

Runs in an interpreter that has the built function and layer. Reads JSON from standard input: the
start of its process (seconds of `time.perf_counter`), events with a new token each, and a row of
the table. Writes the pieces of the cold start in milliseconds, and those of a warm create in
microseconds of CPU time.
"""

import time

_first_line = time.perf_counter()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from importlib import import_module  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any  # noqa: E402

IMPORTS = {
    # Init begins here. RunsFunction stops the garbage collector during init, and so does this.
    "Lambda's runtime interface client": ["awslambdaric.bootstrap", "byline.init_phase"],
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
    "the identity layer": ["byline.identity.identity"],
}
"""In the order of RunsFunction's imports. Each piece is without the pieces before it."""

CONTEXT: Any = SimpleNamespace(aws_request_id="2f1c7f3e-5d51-4a3f-8f0e-0b7a2d9c4e66")

type Event = dict[str, Any]


class Laps:
    """A stopwatch: milliseconds from one lap to the next."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def end(self, name: str) -> None:
        """End the lap `name`, which began at the end of the lap before."""
        now = time.perf_counter()
        self.milliseconds[name] = (now - self._since) * 1e3
        self._since = now


def main() -> None:
    """Measure, and print the results as JSON."""
    given = json.load(sys.stdin)
    first, *others = given["events"]
    cold = {"Python itself": (_first_line - given["started"]) * 1e3, **start_cold(first)}
    print(json.dumps({"cold": cold, "warm": warm_create(others, given["item"])}))


def start_cold(event: Event) -> dict[str, float]:
    """The milliseconds of each piece of init and of the first create, in order."""
    laps = Laps()
    for name, modules in IMPORTS.items():
        for module in modules:
            import_module(module)
        laps.end(f"import {name}")
    import_module("byline.aws").dynamodb()
    laps.end("make the client of DynamoDB")
    serve_runs = import_module("serve_runs.handler")
    laps.end("import the function's own modules")
    serve_runs.handler(event, CONTEXT)
    laps.end("the first create: fetch the key, connect to DynamoDB")
    return laps.milliseconds


def warm_create(events: Sequence[Event], item: dict[str, Any]) -> dict[str, float]:
    """The CPU time of a create with a new token, and of its larger parts, each by itself."""
    create = import_module("serve_runs.handler").handler
    client = import_module("byline.aws").dynamodb()
    settings = import_module("byline.identity.settings").IdentitySettings.from_environment(
        os.environ
    )
    identity = import_module("byline.identity.identity").Identity(settings)
    resolver = import_module("aws_lambda_powertools.event_handler").ALBResolver()
    resolver.post("/v1/projects/<project>/runs")(lambda project: {})
    logger = import_module("aws_lambda_powertools").Logger(service="breakdown")
    facts = {"project": "research", "run": "-", "actor": "-", "actor_issuer": "-"}

    seen, *fresh = events
    creates, callers = fresh[::2], fresh[1::2]
    again = [seen] * len(creates)
    identity.identify(seen)
    return {
        "a create, all in all": _microseconds(lambda event: create(event, CONTEXT), creates),
        "`put_item`, bare": _microseconds(
            lambda _: client.put_item(TableName="RunsTable", Item=item), again
        ),
        "the caller, from a token never seen": _microseconds(identity.identify, callers),
        "the caller, from a token seen": _microseconds(identity.identify, again),
        "a line of the log": _microseconds(lambda _: logger.info("run created", **facts), again),
        "the resolver, with an empty route": _microseconds(
            lambda event: resolver.resolve(event, CONTEXT), again
        ),
    }


def _microseconds(piece: Callable[[Event], object], events: Sequence[Event]) -> float:
    before = time.process_time_ns()
    for event in events:
        piece(event)
    return (time.process_time_ns() - before) / len(events) / 1e3


if __name__ == "__main__":
    main()
