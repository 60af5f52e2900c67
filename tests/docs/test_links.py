"""Links and commands of the documents lead somewhere."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.documents import ROOT, anchors, code, documents, links

README = ROOT / "README.md"
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", documents(), ids=_name)
def test_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    """A reader who follows a link in a document arrives at the file and the heading it names."""
    broken = []
    for link in links(document):
        name, _, anchor = link.target.partition("#")
        target = document if not name else (document.parent / name).resolve()
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link.target)
    assert broken == []


@pytest.mark.parametrize("document", documents(), ids=_name)
def test_make_target_in_a_document_exists(document: Path) -> None:
    """Every `make` command that a document names can be run."""
    commands = [command for command in code(document) if command.startswith("make ")]
    words = {
        word for command in commands for word in shlex.split(re.split(r" &&|;", command)[0])[1:]
    }
    targets = {word for word in words if "=" not in word and word != "…"}
    assert targets - TARGETS == set()


@pytest.mark.parametrize("document", documents(), ids=_name)
def test_python_module_in_a_document_exists(document: Path) -> None:
    """Every `python -m` command that a document names can be run."""
    modules = [
        module for text in code(document) for module in re.findall(r"python -m ([\w.]+)", text)
    ]
    assert [module for module in modules if find_spec(module) is None] == []


def test_scene_that_the_readme_shows_is_one_of_the_demo() -> None:
    """The README shows titles that `make demo` prints."""
    [excerpt] = re.findall(r"^```text\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^[A-Z].*$", excerpt, re.MULTILINE)
    source = "".join(path.read_text() for path in (ROOT / "local").glob("demo*.py"))
    assert titles
    assert [title for title in titles if f'"{title}"' not in source] == []
