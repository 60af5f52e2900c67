"""Lets all clients of a test process share what botocore reads and computes once for each session.

Tests make thousands of clients, each with a session of its own: reading the model of its service
and the names of botocore's events took a third of the time of many tests.
"""

from functools import cache
from typing import Any

from botocore.hooks import EventAliaser
from botocore.loaders import JSONFileLoader, Loader


def share_models() -> None:
    """Share the files of botocore's data, the services in it and the aliases of events."""
    files: Any = JSONFileLoader
    files.exists = _by_path(files.exists)
    files.load_file = _by_path(files.load_file)
    loader: Any = Loader
    loader.list_available_services = _by_folders(loader.list_available_services)
    events: Any = EventAliaser
    events.__init__ = _with_shared_aliases(events.__init__)


def _by_path(method: Any) -> Any:
    found = cache(lambda path: method(JSONFileLoader(), path))
    return lambda _, path: found(path)


def _by_folders(method: Any) -> Any:
    found: dict[tuple[str, ...], list[str]] = {}

    def services(loader: Any, type_name: str) -> list[str]:
        key = (type_name, *loader.search_paths)
        if key not in found:
            found[key] = method(loader, type_name)
        return [*found[key]]

    return services


def _with_shared_aliases(make: Any) -> Any:
    aliases: dict[str, str] = {}

    def init(events: Any, event_emitter: Any, event_aliases: Any = None) -> None:
        make(events, event_emitter, event_aliases)
        if event_aliases is None:
            events._alias_name_cache = aliases

    return init
