"""Lets all clients of a test process share the files that botocore reads once for each session.

Tests make thousands of clients, each with a session of its own. Reading the models of their
services took a third of the time of many tests.
"""

from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader, Loader


def share_models() -> None:
    """Share the files of botocore's data and the list of its services."""
    files: Any = JSONFileLoader
    files.exists = _by_path(files.exists)
    files.load_file = _by_path(files.load_file)
    loader: Any = Loader
    loader.list_available_services = _by_folders(loader.list_available_services)


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
