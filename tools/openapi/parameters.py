"""What requests carry: parameters of path, query and header, and the body of a create."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from run_requests import ListRuns, Name, RunId
from tools.openapi.examples import CREATE_RUN, PROJECT, RUN_ID

type Json = dict[str, Any]

IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "For a day the same key, caller and body gives the same run, however often it "
    "is sent.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
}

CREATE_BODY: Json = {
    "required": False,
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/CreateRun"},
            "example": CREATE_RUN,
        }
    },
}

_PATH = {"project": (Name, PROJECT), "run_id": (RunId, RUN_ID)}
_QUERY = {
    "status": "Only runs in this state.",
    "created_by": "Only runs that this subject created; `me` is the caller.",
    "limit": "At most so many runs.",
    "cursor": "Where to go on: `next_cursor` of the page before, with the same other parameters.",
}


def path_parameters(path: str) -> Iterator[Json]:
    """Those that `path` names."""
    for name in re.findall(r"{(\w+)}", path):
        shape, example = _PATH[name]
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": json_schema(msgspec.json.schema(shape)),
            "example": example,
        }


def query_parameters(*, across_projects: bool) -> Iterator[Json]:
    """Those of a listing."""
    schema = json_schema(msgspec.json.schema(ListRuns))["$defs"]["ListRuns"]
    for name, shape in schema["properties"].items():
        parameter: Json = {"name": name, "in": "query", "description": _QUERY[name]}
        if name == "created_by" and across_projects:
            parameter |= {"required": True, "example": "me"}
        # A parameter is left out, never null.
        kinds = [kind for kind in shape.get("anyOf", [shape]) if kind != {"type": "null"}]
        yield parameter | {"schema": kinds[0]}


def json_schema(schema: Any) -> Any:
    """`schema` without what is Python's alone: elsewhere `$` in a pattern is the very end."""
    match schema:
        case dict():
            return {
                name: value.replace(r"(?!\n)", "") if name == "pattern" else json_schema(value)
                for name, value in schema.items()
            }
        case list():
            return [json_schema(value) for value in schema]
        case _:
            return schema
