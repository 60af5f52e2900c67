"""The OpenAPI document is generated from the code, complete and true.

Beside these tests, `contract.check` compares every answer of the tests in this folder with it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import openapi_spec_validator
import pytest

from byline.errors import Reason
from serve_runs.errors import RequestReason
from serve_runs.runs.requests import CreateRun, ListRuns
from serve_runs.web.reasons import REASONS
from tests.runs import contract
from tests.runs.runs_api import RunsApi
from tools.openapi.document import text
from tools.openapi.operations import OPERATIONS
from tools.openapi.parameters import BODIES


def test_committed_document_equals_the_generated_one(api: RunsApi) -> None:
    """`make openapi` was run after the last change of a route or shape."""
    assert contract.DOCUMENT.read_text() == text(api.function.routes.load_all())


def test_command_writes_the_same_document(tmp_path: Path) -> None:
    """The command writes the same document without pytest's paths and variables."""
    command = [sys.executable, "-m", "tools.openapi", str(tmp_path)]
    subprocess.run(command, check=True, cwd=contract.DOCUMENT.parents[1])
    for name in ("openapi.json", "reasons.md"):
        committed = contract.DOCUMENT.with_name(name)
        assert (tmp_path / name).read_text() == committed.read_text()


def test_document_is_openapi_3_1() -> None:
    """The document is valid OpenAPI 3.1."""
    openapi_spec_validator.validate(contract.document())
    assert contract.document()["openapi"].startswith("3.1.")


def test_paths_of_the_document_equal_the_routes(api: RunsApi) -> None:
    """The document has every route of the function, HEAD where it is answered, and no other."""
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", route.path))
        for route in api.function.routes.load_all()
        for method in ((route.method, "HEAD") if route.is_safe else (route.method,))
    }
    declared = {
        (method.upper(), path)
        for path, operations in contract.document()["paths"].items()
        for method in operations
    }
    assert declared == served


def test_routes_that_take_a_body_equal_the_declared_ones(api: RunsApi) -> None:
    """The function refuses a body on every route whose operation declares none."""
    taking = {route.name for route in api.function.routes.load_all() if route.takes_body}
    assert taking == BODIES.keys()


def test_every_reason_is_declared_and_used() -> None:
    """The table has exactly the declared reasons, and operations use all but
    `method_not_allowed`."""
    assert set(REASONS) == {*get_args(Reason), *get_args(RequestReason)}
    used = {reason for operation in OPERATIONS.values() for reason in operation.reasons}
    assert used == set(REASONS) - {"method_not_allowed"}


def test_operations_have_distinct_ids_and_descriptions() -> None:
    """Each operation has its own id and a summary, and each query parameter a description."""
    operations = [
        operation for path in contract.document()["paths"].values() for operation in path.values()
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] for operation in operations)
    assert all(
        parameter.get("description") or parameter["in"] == "path"
        for operation in operations
        for parameter in operation.get("parameters", [])
    )


def _examples() -> Iterator[Any]:
    """The parameters and contents that have an example."""
    for path, operations in contract.document()["paths"].items():
        for method, operation in operations.items():
            name = f"{method} {path}"
            for parameter in operation.get("parameters", []):
                if "example" in parameter:
                    yield pytest.param(parameter, id=f"{name} {parameter['name']}")
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for kind, body in bodies.items():
                for content in contract.resolve(body).get("content", {}).values():
                    yield pytest.param(content, id=f"{name} {kind}")


@pytest.mark.parametrize("shown", [*_examples()])
def test_example_fits_its_schema(shown: dict[str, Any]) -> None:
    """Each example is valid by its schema."""
    contract.validator(shown["schema"]).validate(shown["example"])


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        '{"name":"a"}',
        '{"name":null}',
        '{"name":""}',
        '{"x":1}',
        '{"runner":"A"}',
        '{"parent_run":"x"}',
        '{"labels":{}}',
        '{"labels":{"a":1}}',
        '{"labels":{"a b":""}}',
    ],
)
def test_declared_body_equals_the_checked_body(body: str) -> None:
    """The schema and the code accept the same bodies of a create."""
    declared = contract.validator({"$ref": "#/components/schemas/CreateRun"})
    try:
        msgspec.json.decode(body, type=CreateRun)
        accepted = True
    except msgspec.ValidationError:
        accepted = False
    assert declared.is_valid(json.loads(body)) == accepted


def test_declared_parameters_equal_the_checked_ones() -> None:
    """Both lists of runs declare exactly the fields of `ListRuns`."""
    for path in ("/v1/runs", "/v1/projects/{project}/runs"):
        parameters = contract.document()["paths"][path]["get"]["parameters"]
        names = [parameter["name"] for parameter in parameters if parameter["in"] == "query"]
        assert names == list(ListRuns.__struct_fields__)
