"""Compiles byte code that a Lambda runtime uses without a check.

Without it everything in the artifact is compiled again at every cold start: a zip does not keep the
times by which Python tells whether byte code is stale, and /var/task cannot be written to. So the
byte code carries no time and is never checked against its source (PEP 552, unchecked-hash).
"""

import py_compile
from importlib.util import cache_from_source
from pathlib import Path
from shutil import rmtree


class BuildFailed(Exception):
    """The build failed. Its artifact must not be deployed."""


def compile_folder(folder: Path, *, deployed_as: str) -> int:
    """Compile every module in `folder`. Returns their number.

    `deployed_as` is the folder's path in Lambda, which tracebacks show: with it the byte code is
    the same wherever it is built. Raises `BuildFailed` for a module that does not compile.
    """
    for stale in sorted(folder.rglob("__pycache__")):
        rmtree(stale)
    modules = sorted(folder.rglob("*.py"))
    for module in modules:
        try:
            py_compile.compile(
                str(module),
                cfile=cache_from_source(str(module), optimization=""),
                dfile=f"{deployed_as}/{module.relative_to(folder)}",
                doraise=True,
                # The level of a runtime without PYTHONOPTIMIZE, which looks for exactly this file.
                optimize=0,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError as error:
            raise BuildFailed(str(error)) from None
    return len(modules)
