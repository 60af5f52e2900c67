"""Names and docstrings: one class of a name, a docstring for each public function."""

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.structure.modules import trees


def public_definitions(module: str) -> Iterator[tuple[str, ast.AST]]:
    """The public functions, classes and methods of a module, by their qualified names."""

    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            if isinstance(child, kinds) and child.name[0] != "_":
                yield f"{prefix}.{child.name}", child
                if isinstance(child, ast.ClassDef):
                    yield from visit(child, f"{prefix}.{child.name}")

    return visit(trees()[module], module)


def test_no_two_classes_have_one_name() -> None:
    """A reader who meets a class name knows which class is meant."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
            elif isinstance(node, ast.TypeAlias):
                places[node.name.id].append(module)
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_every_module_and_public_definition_has_a_docstring() -> None:
    """Its first line says what the definition returns or does."""
    without = [
        name
        for module, tree in trees().items()
        for name, node in [(module, tree), *public_definitions(module)]
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not ast.get_docstring(node)
    ]
    assert not without


def test_modules_stay_short() -> None:
    """A module has at most 280 lines. A longer one holds more than one subject."""
    long = {module: tree.body[-1].end_lineno for module, tree in trees().items() if tree.body}
    assert not {module: lines for module, lines in long.items() if lines and lines > 280}


def test_no_private_attribute_of_a_library_is_used() -> None:
    """Private names are the module's own, but for botocore's `_verify`, which a test pins."""
    own = {"_verify"}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
            elif isinstance(node, ast.Assign):
                own |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    used = {
        (module, node.attr)
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr[0] == "_" and node.attr[:2] != "__"
    }
    assert not {(module, name) for module, name in used if name not in own}
