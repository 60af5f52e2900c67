"""The JSON Schema of documents, for editors."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from byline_client.apply.models import Document

_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of one document, before its variables are expanded."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[Document, Field(discriminator="kind")])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A document of `byline apply`",
        **_with_variables(adapter.json_schema()),
    }


def _with_variables(schema: Any) -> Any:
    """The schema with `${NAME}` allowed in each text that has a form."""
    if isinstance(schema, list):
        return [_with_variables(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "string" and ("pattern" in schema or "format" in schema):
        return {"anyOf": [schema, _VARIABLE]}
    return {name: _with_variables(each) for name, each in schema.items()}
