"""moto as one WSGI application, without what costs most of its time.

moto looks for each of the ten members of each attribute value under several names. For each request
it lists its own folder, and the methods of the class that answers. Together that is more than half
of a request to DynamoDB.
"""

from functools import cache
from typing import Any

from moto.backends import list_of_moto_modules
from moto.core import responses, utils
from moto.core.model import StructureShape
from moto.core.serialize import SERVICE_SPECIFIC_SERIALIZERS, JSONSerializer
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

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


class _Application(DomainDispatcherApplication):
    def get_backend_for_host(self, host: str | None) -> Any:
        return host if host in _modules() else super().get_backend_for_host(host)


@cache
def _modules() -> frozenset[str]:
    return frozenset(list_of_moto_modules())


def moto_application() -> DomainDispatcherApplication:
    """All services of moto. The header `x-moto-account-id` names the account."""
    methods = cache(utils.method_names_from_class)
    responses.method_names_from_class = methods  # type: ignore[attr-defined]
    SERVICE_SPECIFIC_SERIALIZERS["dynamodb"] = {"json": _DynamoDbSerializer}
    return _Application(create_backend_app)
