"""Plugin of pytest: records every AWS call that the functions' code makes in tests.

`calls.json` lists them, and the tests of this folder hold them against the template's roles. A run
of pytest in which a call occurs that the file lacks fails. `BYLINE_AWS_CALLS` changes that:
`complete` also fails a run without one of the file's calls, `record` writes the calls of the run
into the file, and `add` adds them to the others.

The plugin wraps the one method of botocore that all clients use, as tracers do. The function is the
package of `functions/` that makes the call, found in the stack. Calls of tests are not recorded.
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from botocore.client import BaseClient

from tests.permissions.accesses import Access, accesses

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("calls.json")
FUNCTIONS, LAYER, TESTS = (f"{ROOT}/{name}/" for name in ("functions", "layers", "tests"))
PASSES_ON = "__getattr__.<locals>"
"""In the name of code by which a client of a test passes on the calls of a function."""

type Calls = dict[Access, frozenset[str]]
"""What was accessed, without attributes, and all attributes of these accesses."""

_seen: set[Access] = set()
_seen_by_workers: set[Access] = set()


def recorded() -> list[Access]:
    """The accesses that the file lists."""
    return [_access(line) for line in json.loads(FILE.read_text())]


def pytest_configure() -> None:
    """Wrap botocore's method."""
    make_call = BaseClient._make_api_call  # type: ignore[attr-defined]

    @wraps(make_call)
    def note_and_make_call(client: Any, operation: str, call: Mapping[str, Any]) -> Any:
        if function := function_of(sys._getframe(1)):
            service = client.meta.service_model.service_name
            _seen.update(accesses(function, service, operation, call))
        return make_call(client, operation, call)

    BaseClient._make_api_call = note_and_make_call  # type: ignore[attr-defined]


def function_of(frame: FrameType | None) -> str:
    """The package of the code that makes a call: empty for a test, `byline` for the layer alone."""
    found = ""
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if file.startswith(FUNCTIONS):
            return file.removeprefix(FUNCTIONS).partition("/")[0]
        if file.startswith(TESTS) and PASSES_ON not in name:
            return ""
        if file.startswith(LAYER):
            found = "byline"
        frame = frame.f_back
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Pass the calls of a worker on, or hold those of the whole run against the file."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["aws_calls"] = _lines(_seen)
        return
    seen = together(_seen | _seen_by_workers)
    known = together(recorded()) if FILE.exists() else {}
    mode = os.environ.get("BYLINE_AWS_CALLS", "")
    if mode in {"record", "add"}:
        if mode == "add":
            seen = together([*_accesses(seen), *_accesses(known)])
        text = ",\n".join(json.dumps(line) for line in _lines(_accesses(seen)))
        FILE.write_text(f"[\n{text}\n]\n")
        return
    differences = [*(f"not in the file: {each}" for each in missing(seen, known))]
    if mode == "complete":
        differences += [f"made by no test: {each}" for each in missing(known, seen)]
    if differences:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        assert reporter is not None
        lines = [f"AWS calls, and {FILE.name}. `make permissions` writes the file:", *differences]
        reporter.write_line("\n".join(lines), red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Receive the calls of a worker that has ended."""
    calls = getattr(node, "workeroutput", {}).get("aws_calls", [])
    _seen_by_workers.update(map(_access, calls))


def together(calls: Iterable[Access]) -> Calls:
    """The accesses with all attributes of those that are otherwise equal.

    An update within a transaction counts as equal to one by itself: how many rows are due at once
    decides which of them is made, so it must not decide about attributes.
    """
    calls = list(calls)
    found: defaultdict[Access, frozenset[str]] = defaultdict(frozenset)
    for call in calls:
        found[_alike(call)] |= call.attributes
    return {replace(call, attributes=frozenset()): found[_alike(call)] for call in calls}


def _alike(call: Access) -> Access:
    conditions = () if call.action == "dynamodb:UpdateItem" else call.conditions
    return replace(call, attributes=frozenset(), conditions=conditions)


def missing(calls: Calls, listed: Calls) -> list[Access]:
    """The accesses, with their attributes, that `listed` lacks."""
    lacking = {
        call: attributes if call not in listed else attributes - listed[call]
        for call, attributes in calls.items()
        if call not in listed or attributes - listed[call]
    }
    return _accesses(lacking)


def _accesses(calls: Calls) -> list[Access]:
    return [replace(call, attributes=attributes) for call, attributes in calls.items()]


def _lines(calls: Iterable[Access]) -> list[dict[str, Any]]:
    lines = [
        {
            "function": call.function,
            "action": call.action,
            "resource": call.resource,
            "keys": [*call.keys],
            "conditions": dict(call.conditions),
            "attributes": sorted(call.attributes),
        }
        for call in calls
    ]
    return sorted(
        ({name: value for name, value in line.items() if value} for line in lines), key=json.dumps
    )


def _access(line: Mapping[str, Any]) -> Access:
    return Access(
        function=line["function"],
        action=line["action"],
        resource=line.get("resource", ""),
        keys=tuple(line.get("keys", ())),
        conditions=tuple(line.get("conditions", {}).items()),
        attributes=frozenset(line.get("attributes", ())),
    )
