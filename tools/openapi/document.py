"""The OpenAPI document of RunsFunction, from its routes and the shapes of its requests."""

import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from inspect import getdoc
from typing import Any

import msgspec

from serve_runs.agents.requests import AllowAgent
from serve_runs.apply_sets.requests import ChangeMembers
from serve_runs.credentials.readers import BindCredential
from serve_runs.credentials.requests import PutCredential
from serve_runs.messages.requests import PostMessage
from serve_runs.projects.requests import CreateProject
from serve_runs.role_bindings.requests import RoleBinding
from serve_runs.runners.requests import RegisterRunner
from serve_runs.runs.requests import CreateRun, EndRun
from serve_runs.service_accounts.requests import CreateServiceAccount
from serve_runs.web.routing import Route
from tools.openapi.answers import answers, shared_answers
from tools.openapi.operations import OPERATIONS
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
        "are `application/problem+json` (RFC 9457), with a `reason` of a closed list. HEAD answers "
        "as GET does, without a body, except where a GET writes a record or ends a session.",
    },
    "servers": [{"url": "/"}],
    "security": [{"bearer": []}, {"session": []}],
    "tags": [
        {
            "name": "runs",
            "description": "Executions in a project, and who created, started and ended them.",
        },
        {
            "name": "runners",
            "description": "Services that execute runs. Byline keeps their tokens fresh.",
        },
        {"name": "messages", "description": "Messages in a run, by people and by its runner."},
        {"name": "credentials", "description": "Secrets of other services that runs may use."},
        {"name": "service accounts", "description": "Applications that act for people."},
        {
            "name": "audit",
            "description": "Records of each action: the actor, and the person they acted for.",
        },
        {"name": "access", "description": "Roles of people and applications in a project."},
        {
            "name": "people",
            "description": "People and applications: what they have in all projects.",
        },
        {"name": "projects", "description": "The caller's projects, and its roles in them."},
        {
            "name": "apply sets",
            "description": "What a client's applies made, so that they delete nothing else.",
        },
        {"name": "callers", "description": "The caller of a request."},
        {"name": "health", "description": "Whether the function answers."},
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
        "description": "The load balancer's session cookie, after a browser signed in.",
    },
}


def text(routes: Sequence[Route]) -> str:
    """The document as JSON text, as it is committed."""
    return json.dumps(document(routes), indent=2, ensure_ascii=False) + "\n"


def document(routes: Sequence[Route]) -> Json:
    """The document of all `routes`."""
    paths: dict[str, Json] = {}
    for route in routes:
        path = re.sub(r"<(\w+)>", r"{\1}", route.path)
        operation = _operation(route, path)
        operations = paths.setdefault(path, {})
        operations[route.method.lower()] = operation
        if route.is_safe:
            operations["head"] = _without_body(operation)
    return {
        **_HEAD,
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": _schemas(),
            "responses": shared_answers(),
            "securitySchemes": _SECURITY,
        },
    }


def _operation(route: Route, path: str) -> Json:
    name = route.name
    operation = OPERATIONS[name]
    built: Json = {
        "operationId": re.sub(r"_(\w)", lambda match: match[1].upper(), name),
        "tags": [operation.tag],
        "summary": " ".join((getdoc(route.answer) or "").split()),
    }
    if route.is_public:
        built["security"] = []
    parameters = [*path_parameters(path)]
    if name in ("create_run", "post_message"):
        parameters.append(IDEMPOTENCY_KEY)
    if name in QUERIES:
        parameters += query_parameters(QUERIES[name], across_projects=name == "list_created_runs")
    if name in BODIES:
        built["requestBody"] = BODIES[name]
    if parameters:
        built["parameters"] = parameters
    return built | {"responses": answers(operation)}


def _without_body(operation: Json) -> Json:
    """The HEAD operation of a GET operation (RFC 9110, section 9.3.2)."""
    return {
        **operation,
        "operationId": f"{operation['operationId']}Head",
        "summary": "As GET, without the body.",
        "responses": {
            status: {"description": f"{HTTPStatus(int(status)).phrase}."}
            for status in operation["responses"]
        },
    }


def _schemas() -> Json:
    _, schemas = msgspec.json.schema_components(
        (
            CreateProject,
            CreateRun,
            EndRun,
            RegisterRunner,
            RoleBinding,
            PutCredential,
            BindCredential,
            PostMessage,
            CreateServiceAccount,
            AllowAgent,
            ChangeMembers,
            *ANSWERS,
        ),
        ref_template="#/components/schemas/{name}",
    )
    # An identity has exactly one of the two members. Unknown members are left out.
    schemas["ExecutedBy"] |= {
        "properties": {
            "user": {"$ref": "#/components/schemas/User"},
            "application": {"$ref": "#/components/schemas/Application"},
        },
        "minProperties": 1,
        "maxProperties": 1,
    }
    return dict(sorted(json_schema(schemas).items()))
