"""The OpenAPI document, from the routes of RunsFunction and the shapes that it checks."""

import json
import re
from collections.abc import Iterator
from inspect import getdoc
from types import ModuleType
from typing import Any

import msgspec

from serve_runs.credentials.requests import PutCredential
from serve_runs.messages.requests import PostMessage
from serve_runs.role_bindings.requests import RoleBinding
from serve_runs.runners.requests import RegisterRunner
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.states import TRANSITIONS
from serve_runs.service_accounts.requests import CreateServiceAccount
from tools.openapi.answers import answers, shared_answers
from tools.openapi.operations import OPERATIONS, Operation
from tools.openapi.parameters import (
    BODIES,
    IDEMPOTENCY_KEY,
    QUERIES,
    json_schema,
    path_parameters,
    query_parameters,
)
from tools.openapi.shapes import ANSWERS
from tools.release_notes import version

type Json = dict[str, Any]

_HEAD: Json = {
    "openapi": "3.1.0",
    "info": {
        "title": "Byline",
        "version": version(),
        "summary": "Who ran this, and may it still act for them?",
        "description": "Verified identity for runs behind an AWS Application Load Balancer. Errors "
        "are `application/problem+json` (RFC 9457), with a `reason` of a closed list.",
    },
    "servers": [{"url": "/"}],
    "security": [{"bearer": []}, {"session": []}],
    "tags": [
        {"name": "runs", "description": "Executions in a project, and who did what to them."},
        {"name": "runners", "description": "What executes runs, and its token, kept fresh."},
        {"name": "messages", "description": "What is said in a run, by people and by its runner."},
        {"name": "credentials", "description": "Secrets of other services that runs may use."},
        {"name": "service accounts", "description": "Applications that act for people."},
        {"name": "audit", "description": "What was done, by whom, and on whose behalf."},
        {"name": "access", "description": "Who may do what, and who acts for whom."},
        {"name": "callers", "description": "Who is asking."},
        {"name": "health", "description": "Whether anybody answers."},
    ],
}
_SECURITY: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of a trusted issuer: for SDKs, tools and machines.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "AWSELBAuthSessionCookie-0",
        "description": "The load balancer's own, after it signed a browser in.",
    },
}


def text(serve_runs: ModuleType) -> str:
    """The document as it is committed."""
    return json.dumps(document(serve_runs), indent=2, ensure_ascii=False) + "\n"


def document(serve_runs: ModuleType) -> Json:
    """The document of the routes of `serve_runs`."""
    paths: dict[str, Json] = {}
    for route in serve_runs.routes():
        operation = OPERATIONS[route.func.__name__]
        for path, name in _operations_of(route.openapi_path, route.func.__name__):
            made = _operation(name, path, getdoc(route.func) or "", operation)
            paths.setdefault(path, {})[route.method.lower()] = made
    return {
        **_HEAD,
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": _schemas(),
            "responses": shared_answers(),
            "securitySchemes": _SECURITY,
        },
    }


def _operations_of(path: str, handler: str) -> Iterator[tuple[str, str]]:
    """(path, name) of a route's operations: one, but for the route of all changes of state."""
    if "{change}" not in path:
        yield path, handler
        return
    for change in TRANSITIONS:
        yield path.replace("{change}", change), f"{change}_run"


def _operation(name: str, path: str, said: str, operation: Operation) -> Json:
    if transition := TRANSITIONS.get(name.removesuffix("_run")):
        before = " or ".join(transition.before)
        said = f"{transition.name.capitalize()} a {before} run; then it is {transition.after}."
    made: Json = {
        "operationId": re.sub(r"_(\w)", lambda match: match[1].upper(), name),
        "tags": [operation.tag],
        "summary": " ".join(said.split()),
    }
    if not operation.reasons:
        made["security"] = []  # nothing is refused, so nobody needs to be known
    parameters = [*path_parameters(path)]
    if name in ("create_run", "post_message"):
        parameters.append(IDEMPOTENCY_KEY)
    if name in QUERIES:
        parameters += query_parameters(QUERIES[name], across_projects=name == "list_created_runs")
    if name in BODIES:
        made["requestBody"] = BODIES[name]
    if parameters:
        made["parameters"] = parameters
    return made | {"responses": answers(operation)}


def _schemas() -> Json:
    _, schemas = msgspec.json.schema_components(
        (
            CreateRun,
            RegisterRunner,
            RoleBinding,
            PutCredential,
            PostMessage,
            CreateServiceAccount,
            *ANSWERS,
        ),
        ref_template="#/components/schemas/{name}",
    )
    # As it is written: what is not known is left out, and it is one of the two.
    schemas["ExecutedBy"] |= {
        "properties": {
            "user": {"$ref": "#/components/schemas/User"},
            "application": {"$ref": "#/components/schemas/Application"},
        },
        "minProperties": 1,
        "maxProperties": 1,
    }
    return dict(sorted(json_schema(schemas).items()))
