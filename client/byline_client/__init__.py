"""Byline's client: the command `byline`, and a Python library.

    import byline_client

    with byline_client.run("nightly", project="research") as run:
        run.message("epoch 1 is done")

A name is imported when it is used, so that a program pays only for the parts that it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from byline_client.version import VERSION

if TYPE_CHECKING:
    from byline_client.errors import ClientError as ClientError
    from byline_client.runner_tokens import RunnerAuth as RunnerAuth
    from byline_client.runs import RecordedRun as RecordedRun

    run = RecordedRun

__version__ = VERSION

_PLACES = {
    "ClientError": ("byline_client.errors", "ClientError"),
    "RecordedRun": ("byline_client.runs", "RecordedRun"),
    "RunnerAuth": ("byline_client.runner_tokens", "RunnerAuth"),
    "run": ("byline_client.runs", "RecordedRun"),  # reads as a call
}


def __getattr__(name: str) -> Any:
    """The public name, imported at its first use."""
    if name not in _PLACES:
        raise AttributeError(f"byline_client has no {name}")
    module, member = _PLACES[name]
    return getattr(import_module(module), member)
