"""The product's modules and what each imports, read from the syntax trees of their sources."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMPORT_ROOTS = (ROOT / "functions", ROOT / "layers/identity", ROOT / "client")


@cache
def trees() -> Mapping[str, ast.Module]:
    """The syntax tree of every module of functions, layer and client, by its dotted name."""
    return {
        _name(path.relative_to(root)): ast.parse(path.read_text())
        for root in IMPORT_ROOTS
        for path in sorted(root.rglob("*.py"))
    }


def imports_of(module: str) -> Iterator[str]:
    """The product's modules that `module` imports, within functions and for types alone too."""
    yield from _imported(ast.walk(trees()[module]))


def imported_at_once(module: str) -> Iterator[str]:
    """Those that it imports as soon as it is imported itself."""
    yield from _imported(trees()[module].body)


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in trees() else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def package_of(module: str, *, depth: int) -> str:
    """The first `depth` parts of a module's name."""
    return ".".join(module.split(".")[:depth])


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
