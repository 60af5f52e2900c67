"""X-Ray segments of requests and of their AWS calls, without answers and without errors' messages.

Without the tracer this module is not imported, because it would make cold starts longer.
"""

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Tracer
from aws_xray_sdk.core import xray_recorder  # type: ignore[import-untyped]
from aws_xray_sdk.core.emitters.udp_emitter import (  # type: ignore[import-untyped]
    UDPEmitter,
)


def traced(handler: Callable[..., Any]) -> Callable[..., Any]:
    """`handler`, with a segment of each of its calls and of each call to AWS."""
    xray_recorder.configure(emitter=_Emitter())
    tracer = Tracer(service="byline", patch_modules=["botocore"])
    traced_handler: Callable[..., Any] = tracer.capture_lambda_handler(
        handler, capture_response=False, capture_error=False
    )
    return traced_handler


class _Emitter(UDPEmitter):  # type: ignore[misc]
    """Sends segments to X-Ray's daemon. Of an error they have the class and the stack.

    The message of an error of AWS may quote what was sent, and a secret in it.
    """

    def send_entity(self, entity: Any) -> None:
        _drop_messages(entity)
        super().send_entity(entity)


def _drop_messages(entity: Any) -> None:
    # A cause that is not a dict is the id of an exception in another segment.
    if isinstance(entity.cause, dict):
        for exception in entity.cause.get("exceptions", ()):
            exception.message = None
    for part in entity.subsegments:
        _drop_messages(part)
