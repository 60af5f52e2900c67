"""Imports go downward only: between the functions, the layer, and the packages of each."""

from collections.abc import Sequence

import pytest

from tests.structure.modules import imported_at_once, imports_of, package_of, trees

FUNCTIONS = (
    "serve_runs",
    "serve_console",
    "plan_refresh",
    "refresh_tokens",
    "register_resources",
)

SERVE_RUNS: Sequence[frozenset[str]] = (
    frozenset({"errors", "retention"}),
    frozenset({"web", "idempotency"}),
    frozenset({"access"}),
    frozenset({"audit", "profiles"}),
    frozenset({"calls"}),
    frozenset({"role_bindings", "runners"}),
    frozenset({"runs", "service_accounts", "agents", "apply_sets"}),
    frozenset({"messages", "credentials", "callers"}),
    frozenset({"people"}),
    frozenset({"projects"}),
    frozenset({"later_stores"}),
    frozenset({"later_routes", "priming", "tracing"}),
    frozenset({"handler"}),
)
"""The floors of RunsFunction, the lowest first. A package imports its own floor never, lower floors
only. The routes of `audit` are above `calls`, as those of every subject."""

LAYER: Sequence[frozenset[str]] = (
    frozenset({"errors", "names", "caching", "init_phase", "retries", "retry_after"})
    | {"later_credentials"},
    frozenset({"tls"}),
    frozenset({"fetch"}),
    frozenset({"urls"}),
    frozenset({"aws", "settings"}),
    frozenset({"tables", "metrics"}),
    frozenset({"identity", "refresh", "registration"}),
)
"""The floors of the layer, the lowest first."""


def floor_of(part: str, floors: Sequence[frozenset[str]]) -> int:
    """The number of the floor that a package or module belongs to."""
    [number] = [number for number, floor in enumerate(floors) if part in floor]
    return number


def part_of(module: str) -> str:
    """The package of a module within its function or the layer."""
    parts = module.split(".")
    if module == "serve_runs.audit.routes":
        return "callers"  # above `calls`, as the routes of every subject
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize(
    "module", [name for name in trees() if name.partition(".")[0] in FUNCTIONS]
)
def test_function_imports_itself_and_the_layer_alone(module: str) -> None:
    """No function imports another: each is deployed without the others."""
    own = {package_of(module, depth=1), "byline"}
    ours = {package_of(name, depth=1) for name in imports_of(module)} & {*FUNCTIONS, "byline"}
    assert ours <= own


@pytest.mark.parametrize("module", [name for name in trees() if name.startswith("byline.")])
def test_layer_imports_no_function(module: str) -> None:
    """The layer knows none of the functions that share it."""
    assert not {package_of(name, depth=1) for name in imports_of(module)} & {*FUNCTIONS}


@pytest.mark.parametrize("module", [name for name in trees() if name.startswith("byline_client")])
def test_client_imports_nothing_of_the_service(module: str) -> None:
    """The client is installed alone."""
    own = {"byline", *FUNCTIONS}
    assert not {package_of(name, depth=1) for name in imports_of(module)} & own


@pytest.mark.parametrize(
    ("root", "floors"), [("serve_runs", SERVE_RUNS), ("byline", LAYER)], ids=["function", "layer"]
)
def test_packages_import_lower_floors_alone(root: str, floors: Sequence[frozenset[str]]) -> None:
    """A package imports itself and lower floors; web and table plumbing know no subject."""
    wrong = []
    for module in trees():
        own = part_of(module)
        if not module.startswith(f"{root}.") or not own:
            continue
        for imported in imports_of(module):
            part = part_of(imported)
            if not imported.startswith(f"{root}.") or part == own:
                continue
            if floor_of(part, floors) >= floor_of(own, floors):
                wrong.append(f"{module} imports {imported}")
    assert not wrong


def test_no_module_imports_in_a_circle() -> None:
    """Every module can be imported first."""
    seen: dict[str, bool] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path, module))
        if module not in seen:
            for imported in imported_at_once(module):
                if imported in trees() and imported != module:
                    visit(imported, (*path, module))
            seen[module] = True

    for module in trees():
        visit(module, ())
