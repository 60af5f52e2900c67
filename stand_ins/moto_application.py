"""moto as one WSGI application, without what costs most of its time and memory.

moto looks for each of the ten members of each attribute value under several names. For each request
it lists its own folder, and the methods of the class that answers. Together that is more than half
of a request to DynamoDB. For each transaction it copies whole tables, to restore them after a
refusal. To compare two texts it asks of each whether it is a number, a set, a list or a map. It
parses each condition anew, and asks ten times for each part of an update what kind of part it is.
For its dashboard it keeps every row, secret and message that it ever made, until it is reset.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, wraps
from types import SimpleNamespace
from typing import Any

from moto.backends import get_backend, list_of_moto_modules
from moto.core import responses, utils
from moto.core.common_models import BaseModel
from moto.core.model import StructureShape
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.serialize import SERVICE_SPECIFIC_SERIALIZERS, JSONSerializer
from moto.dynamodb import models as dynamodb
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing import ast_nodes
from moto.dynamodb.responses import DynamoHandler
from moto.moto_server.werkzeug_app import (
    BackendRequest,
    DomainDispatcherApplication,
    create_backend_app,
)
from werkzeug.wrappers import Response

AS_STORED = frozenset({"S", "N", "BOOL", "NULL", "SS", "NS"})
"""The types of attribute values that moto keeps as they are sent. Other ones it serializes."""


class _DynamoDbSerializer(JSONSerializer):
    def _serialize_type_structure(
        self, serialized: Any, value: Any, shape: StructureShape, key: str
    ) -> None:
        if shape.name == "AttributeValue" and type(value) is dict and value.keys() <= AS_STORED:
            serialized[key] = value
        else:
            super()._serialize_type_structure(serialized, value, shape, key)


def _restoring_rows(
    transact: Callable[[dynamodb.DynamoDBBackend, list[dict[str, Any]]], None],
) -> Callable[[dynamodb.DynamoDBBackend, list[dict[str, Any]]], None]:
    """A transaction of moto that restores the rows that it names, not whole tables."""

    @wraps(transact)
    def transact_write_items(
        backend: dynamodb.DynamoDBBackend, transact_items: list[dict[str, Any]]
    ) -> None:
        undo = [*_undo(backend.tables, transact_items)]
        try:
            transact(backend, transact_items)
        except Exception:
            for restore in undo:
                restore()
            raise

    return transact_write_items


def _undo(
    tables: Mapping[str, Table], actions: Sequence[Mapping[str, Any]]
) -> Iterator[Callable[[], None]]:
    """What restores each row of a transaction, and the stream of its table."""
    for action in actions:
        for request in action.values():
            table = tables.get(request.get("TableName", ""))
            key = request.get("Key") or request.get("Item") or {}
            # An action without a table or without the whole key writes nothing.
            if table is not None and key.keys() >= {*filter(None, table.table_key_attrs)}:
                yield _restore_row(table, key)
                if table.stream_shard is not None:
                    yield _restore_stream(table.stream_shard.items)


def _restore_row(table: Table, key: Mapping[str, Any]) -> Callable[[], None]:
    hash_key = DynamoType(key[table.hash_key_attr])
    sort_key = DynamoType(key[table.range_key_attr]) if table.range_key_attr else None
    before = copy.deepcopy(table.get_item(hash_key, sort_key))

    def restore() -> None:
        rows: Any = table.items
        rows, name = (rows, hash_key) if sort_key is None else (rows[hash_key], sort_key)
        if before is None:
            rows.pop(name, None)
        else:
            rows[name] = before

    return restore


def _restore_stream(records: list[Any]) -> Callable[[], None]:
    length = len(records)

    def restore() -> None:
        del records[length:]

    return restore


def _copy_without_tables(value: Any) -> Any:
    """A deep copy. A table is not copied, because `_restoring_rows` restores its rows."""
    return value if isinstance(value, Table) else copy.deepcopy(value)


def _cached_tokens(
    lex: Callable[[ConditionExpressionParser], deque[Any]],
) -> Callable[[ConditionExpressionParser], deque[Any]]:
    """moto's tokens of a condition, which depend on its text alone."""

    @cache
    def tokens(text: str) -> tuple[Any, ...]:
        return tuple(lex(ConditionExpressionParser(text, None, None)))

    return lambda parser: deque(tokens(parser.condition_expression or ""))


_KINDS: dict[tuple[type, type], bool] = {}


def _traverse(self: Any, node: Any, child_id: int = -1) -> Any:
    """moto's `traverse_node_recursively`, which asks once for each class of nodes.

    `isinstance` is slow for moto's abstract classes.
    """
    asked = type(self), type(node)
    if asked not in _KINDS:
        _KINDS[asked] = isinstance(node, self.nodes_to_be_processed())
    parent = getattr(node, "parent", None)
    for index, child in enumerate(getattr(node, "children", None) or ()):
        self.pre_processing_of_child(node, index)
        self.traverse_node_recursively(child, index)
    if _KINDS[asked]:
        node = self.process(node)
        node.parent = parent
        if parent:
            parent.children[child_id] = node
    return node


class _Application(DomainDispatcherApplication):
    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer one request. One to DynamoDB does not pass Flask, which looks for its route."""
        if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_"):
            return super().__call__(environ, start_response)
        request = BackendRequest(environ)
        status, headers, body = DynamoHandler.dispatch(request, request.raw_url, request.headers)
        return Response(body, status, headers)(environ, start_response)

    def get_backend_for_host(self, host: str | None) -> Any:
        return host if host in _modules() else super().get_backend_for_host(host)


@cache
def _modules() -> frozenset[str]:
    return frozenset(list_of_moto_modules())


def moto_application() -> DomainDispatcherApplication:
    """All services of moto. The header `x-moto-account-id` names the account."""
    speed_up()
    return _Application(create_backend_app)


def backend_of(service: str) -> Any:
    """moto's own data structures of a service, in its default account."""
    return get_backend(service)[DEFAULT_ACCOUNT_ID]["us-east-1"]  # type: ignore[call-overload]


@cache
def speed_up() -> None:
    """Let moto answer faster in this process, also without the application."""
    methods = cache(utils.method_names_from_class)
    responses.method_names_from_class = methods  # type: ignore[attr-defined]
    SERVICE_SPECIFIC_SERIALIZERS["dynamodb"] = {"json": _DynamoDbSerializer}
    backend: Any = dynamodb.DynamoDBBackend
    backend.transact_write_items = _restoring_rows(backend.transact_write_items)
    module: Any = dynamodb
    module.copy = SimpleNamespace(deepcopy=_copy_without_tables)
    value: Any = DynamoType
    of_any_type = value.cast_value.fget
    value.cast_value = property(
        lambda value: value.value if value.type == "S" else of_any_type(value)
    )
    condition: Any = ConditionExpressionParser
    condition._lex_condition_expression = _cached_tokens(condition._lex_condition_expression)
    traverser: Any = ast_nodes.DepthFirstTraverser  # type: ignore[attr-defined]
    traverser.traverse_node_recursively = _traverse
    model: Any = BaseModel
    model.__new__ = lambda cls, *_, **__: object.__new__(cls)
