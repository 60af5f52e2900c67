"""Imports everything in a built layer, in an interpreter that sees only the layer.

    python -I -S tools/build_check.py FOLDER SERVICE...

Exits with 1 and the list of faults where a module does not import, has no byte code of its own, or
where a client of a SERVICE cannot be made from the models in the layer.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path


def names(root: Path) -> list[str]:
    """The dotted names of the modules in `root`, without `__main__`, which would run."""
    found = []
    for file in [*root.rglob("*.py"), *root.rglob("*.so")]:
        *packages, module = file.relative_to(root).parts
        stem = module.partition(".")[0]
        if stem != "__main__":
            found.append(".".join([*packages, stem] if stem != "__init__" else packages))
    return sorted(found)


def refuse_to_compile(*_: object, **__: object) -> object:
    """In the place of the import system's compiler: a module should have come as byte code."""
    raise ImportError("the module has no usable byte code")


def check(root: Path, services: list[str]) -> list[str]:
    """The errors of the layer in `root`."""
    sys.path.append(str(root))
    sys.dont_write_bytecode = True
    SourceFileLoader.source_to_code = refuse_to_compile  # type: ignore[method-assign,assignment]
    checks: list[tuple[Callable[[str], object], str]]
    checks = [(import_module, name) for name in names(root)]
    checks += [(make_client, service) for service in services]
    faults = []
    for work, subject in checks:
        try:
            work(subject)
        except Exception as error:
            faults.append(f"{subject}: {type(error).__name__}: {error}")
    return faults


def make_client(service: str) -> None:
    """Create a client from the layer's models, without a call."""
    session = import_module("botocore.session").get_session()
    secrets = {"aws_access_key_id": "-", "aws_secret_access_key": "-"}
    session.create_client(service, region_name="us-east-1", **secrets)


if __name__ == "__main__":
    if faults := check(Path(sys.argv[1]).resolve(), sys.argv[2:]):
        sys.exit("\n".join(faults))
