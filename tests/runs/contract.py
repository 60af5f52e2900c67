"""Checks every answer of the tests against `docs/openapi.json`."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"


@cache
def document() -> dict[str, Any]:
    """The committed document."""
    loaded: dict[str, Any] = json.loads(DOCUMENT.read_text())
    return loaded


def check(method: str, path: str, status: int, headers: dict[str, str], body: str) -> None:
    """Fail unless the document declares this answer: status, headers, media type and schema."""
    operations = _operations(path)
    if method not in operations:
        # 401 and 400 answer requests that the document does not describe.
        expected = {405, 404} if operations else {404, 405, 401, 403, 400}
        assert status in expected, (method, path, status)
        return
    responses = operations[method]["responses"]
    assert str(status) in responses, (method, path, status, body)
    response = resolve(responses[str(status)])
    for name, header in response.get("headers", {}).items():
        assert name.lower() in headers or not header["required"]
    if "content" not in response:
        assert body == ""
        return
    [media_type] = response["content"]
    assert headers["content-type"] == media_type
    errors = list(_validator(method, path_of(path), status).iter_errors(json.loads(body)))
    assert not errors, (method, path, status, [str(error) for error in errors])


def resolve(part: Any) -> Any:
    """`part`, or the part of the document that it refers to."""
    while "$ref" in part:
        target = document()
        for name in part["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        part = target
    return part


def validator(schema: Any) -> Any:
    """A validator of `schema`, which may refer to the document's components."""
    whole = {**schema, "components": document()["components"]}
    return jsonschema_rs.validator_for(whole, validate_formats=True)


def path_of(path: str) -> str | None:
    """The document's path template that `path` matches, None where none does."""
    return next((template for template, pattern in _patterns() if pattern.fullmatch(path)), None)


def _operations(path: str) -> dict[str, Any]:
    template = path_of(path)
    methods = document()["paths"][template] if template else {}
    return {method.upper(): operation for method, operation in methods.items()}


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    segment = r"[A-Za-z0-9._~%!$&'()*+,;=:@-]+"  # RFC 3986, section 3.3
    return [(path, re.compile(re.sub(r"{\w+}", segment, path))) for path in document()["paths"]]


@cache
def _validator(method: str, path: str, status: int) -> Any:
    response = resolve(document()["paths"][path][method.lower()]["responses"][str(status)])
    [content] = response["content"].values()
    return validator(content["schema"])
