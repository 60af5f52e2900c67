"""The answers of each operation: successes, and problems by status."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Any

from tools.openapi.examples import EXAMPLES, PROBLEMS
from tools.openapi.operations import OPERATIONS, STATUS, Operation

type Json = dict[str, Any]

SHARED = {401: "Unauthorized", 404: "NotFound", 500: "InternalServerError"}
"""Status → the component of a problem that is the same in all operations."""

_HEADERS: Mapping[int, Json] = {
    401: {
        "WWW-Authenticate": {
            "description": "RFC 6750, section 3.",
            "required": True,
            "schema": {"type": "string"},
        }
    },
    503: {
        "Retry-After": {
            "description": "Seconds to wait.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}
_LOCATION: Json = {
    "Location": {
        "description": "The path of the created resource, or the page that follows a sign-out.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    }
}


def answers(operation: Operation) -> Json:
    """The `responses` object of an operation."""
    found = dict(sorted((*_successes(operation), *_problems(operation))))
    return {
        str(status): {"$ref": f"#/components/responses/{SHARED[status]}"}
        if status in SHARED
        else answer
        for status, answer in found.items()
    }


def shared_answers() -> Json:
    """The response components that `answers` refers to.

    Raises `ValueError` if two operations differ in one of them.
    """
    problems: dict[int, Json] = {}
    for operation in OPERATIONS.values():
        for status, problem in _problems(operation):
            if status in SHARED and problems.setdefault(status, problem) != problem:
                raise ValueError(f"the problem {status} differs between operations")
    return {SHARED[status]: problem for status, problem in sorted(problems.items())}


def _successes(operation: Operation) -> Iterator[tuple[int, Json]]:
    for status, (description, shape) in operation.answers.items():
        answer: Json = {"description": description}
        if status in operation.located:
            answer["headers"] = _LOCATION
        if shape is not None:
            schema = {"$ref": f"#/components/schemas/{shape.__name__}"}
            content = {"schema": schema, "example": EXAMPLES[shape.__name__]}
            answer["content"] = {"application/json": content}
        yield status, answer


def _problems(operation: Operation) -> Iterator[tuple[int, Json]]:
    reasons = sorted(set(operation.reasons), key=lambda reason: (STATUS[reason], reason))
    for status, group in groupby(reasons, key=lambda reason: STATUS[reason]):
        yield status, _problem(status, list(group))


def _problem(status: int, reasons: Sequence[str]) -> Json:
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"properties": {"reason": {"enum": reasons}}},
        ]
    }
    example = next(PROBLEMS[reason] for reason in reasons if reason in PROBLEMS)
    answer: Json = {"description": f"{HTTPStatus(status).phrase}."}
    if status in _HEADERS:
        answer["headers"] = _HEADERS[status]
    return answer | {
        "content": {"application/problem+json": {"schema": schema, "example": example}}
    }
