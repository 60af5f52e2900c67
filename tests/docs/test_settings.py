"""`docs/settings.md` has every template parameter and every environment variable."""

import ast
import re
from typing import Any

import pytest

from tests.docs.documents import ROOT, names, section, table
from tests.docs.templates import environments, root

SETTINGS = "docs/settings.md"
ROWS = table(section(SETTINGS, "## Parameters and environment variables"), "parameter")
PARAMETERS = {names(row["parameter"])[0]: row for row in ROWS if names(row["parameter"])}
VARIABLES = {names(row["variable"])[0]: row for row in ROWS if names(row["variable"])}
EVERY_FUNCTION = {
    "RunsFunction",
    "PlanRefreshFunction",
    "RefreshTokensFunction",
    "RegisterResourcesFunction",
}
BY_CONDITION = {"TracerOn": "Tracer"}
"""The condition that stands for a parameter in the value of a variable."""


def _read_names(folders: list[str]) -> set[str]:
    """The constants that look like variables, in calls and subscripts about the environment."""
    found: set[str] = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call | ast.Subscript) and "environ" in ast.unparse(node):
                    found |= {
                        part.value
                        for part in ast.walk(node)
                        if isinstance(part, ast.Constant)
                        and isinstance(part.value, str)
                        and re.fullmatch(r"[A-Z]+(_[A-Z]+)+", part.value)
                    }
    return found


def _parameters_in(value: Any) -> set[str]:
    """The parameters that a value in the template refers to."""
    match value:
        case {"Ref": str(name)}:
            return {name} & set(root()["Parameters"])
        case {"Fn::If": [str(condition), *branches]} if condition in BY_CONDITION:
            return {BY_CONDITION[condition], *_parameters_in(branches)}
        case dict():
            return _parameters_in(list(value.values()))
        case list():
            return {name for part in value for name in _parameters_in(part)}
    return set()


def test_every_parameter_is_described_and_no_other() -> None:
    """An operator finds each parameter of the template, with what it means."""
    assert PARAMETERS.keys() == root()["Parameters"].keys()
    assert all(row["meaning"] for row in ROWS)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_default_of_a_parameter_equals_the_template(parameter: str) -> None:
    """The default in the table is the one that a deployment gets."""
    default = str(root()["Parameters"][parameter]["Default"])
    assert PARAMETERS[parameter]["default"] == (f"`{default}`" if default else "empty")


def test_every_variable_of_the_functions_is_described_and_no_other() -> None:
    """An operator finds each variable that the template sets, and the functions that get it."""
    functions: dict[str, set[str]] = {}
    for function, variables in environments().items():
        for variable in variables:
            functions.setdefault(variable, set()).add(function)
    listed = {
        name: EVERY_FUNCTION if row["functions"] == "all" else set(row["functions"].split(", "))
        for name, row in VARIABLES.items()
    }
    assert listed == functions


@pytest.mark.parametrize("variable", VARIABLES)
def test_variable_has_the_value_of_the_parameter_in_its_row(variable: str) -> None:
    """The parameter beside a variable is the one that the template gives it the value of."""
    given = set()
    for variables in environments().values():
        given |= _parameters_in(variables.get(variable))
    assert given == set(names(VARIABLES[variable]["parameter"]))


def test_variable_that_a_function_reads_is_described() -> None:
    """No function reads a variable of which the document says nothing."""
    lambdas_own = {"AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_RUNTIME_API"}
    read = _read_names(["functions", "layers/identity/byline"])
    assert "RUNS_TABLE" in read
    assert read - lambdas_own <= set(names((ROOT / SETTINGS).read_text()))


def test_variable_of_the_local_stack_is_described() -> None:
    """A developer finds each variable that changes the local stack, and no other."""
    rows = table(section(SETTINGS, "## Variables of the local stack"), "variable")
    listed = {name for row in rows for name in names(row["variable"])}
    sources = [*(ROOT / "local").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    read = {
        name for path in sources for name in re.findall(r"\"(LOCAL_[A-Z_]+)\"", path.read_text())
    }
    assert listed - {"STACK"} == read
