"""The action `forward` of a listener rule, with a function as the target."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from local.function_instance import FunctionFailed
from local.load_balancer_events import (
    BadAnswer,
    Reply,
    Request,
    Shape,
    plain,
    to_event,
    to_reply,
)


def forward(
    outcome: Request | Reply, *, invoke: Callable[[Any], Any], arn: str, shape: Shape
) -> Reply:
    """The reply of the function `invoke` behind the target group `arn`, 502 where it fails.

    `outcome`: what the actions before made of the request; a reply ends the rule.
    """
    if isinstance(outcome, Reply):
        return outcome
    try:
        return to_reply(invoke(to_event(outcome, arn, shape=shape)), shape=shape)
    except (FunctionFailed, BadAnswer) as failure:
        return plain(HTTPStatus.BAD_GATEWAY, type(failure).__name__)
