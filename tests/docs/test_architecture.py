"""The page of the architecture names modules and packages that exist, and all functions."""

import re

from tests.docs.documents import ROOT

PAGE = (ROOT / "docs/architecture.md").read_text()
ROOTS = (ROOT, ROOT / "functions")


def test_every_module_and_folder_on_the_page_exists() -> None:
    """A contributor who looks for a module that the page names finds it."""
    named = re.findall(r"`([\w./]+(?:\.py|\.yaml|/))`", PAGE)
    packages = ROOT / "functions/serve_runs"
    missing = [
        name for name in named if not any((root / name).exists() for root in (*ROOTS, packages))
    ]
    assert named
    assert missing == []


def test_every_package_of_a_function_is_on_the_page() -> None:
    """A new package gets its place in one of the three ways, or beside them."""
    packages = [
        path.parent
        for path in (ROOT / "functions").rglob("__init__.py")
        if path.parent.parent != ROOT / "functions"
    ]
    assert packages
    assert [path.name for path in packages if f"{path.name}" not in PAGE] == []


def test_every_package_of_the_layer_is_on_the_page() -> None:
    """The table of packages names each subject of the layer."""
    packages = (ROOT / "layers/identity/byline").glob("*/__init__.py")
    names = [path.parent.name for path in packages]
    assert names
    assert [name for name in names if f"byline.{name}" not in PAGE] == []
