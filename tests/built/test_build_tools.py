"""A fault of the build fails the build: nothing of it gets as far as a function."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.built.artifact import ROOT
from tools import build_layer
from tools.build_bytecode import BuildFailed, compile_folder
from tools.build_function import build

CHECK = [sys.executable, "-I", "-S", str(ROOT / "tools/build_check.py")]


def test_module_that_does_not_compile_fails_the_build(tmp_path: Path) -> None:
    """A syntax error is found here, not at a cold start."""
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "bad.py").write_text("x = = 1\n")
    with pytest.raises(BuildFailed, match=r"bad\.py"):
        compile_folder(tmp_path, deployed_as="/var/task")


def test_function_without_modules_fails_the_build(tmp_path: Path) -> None:
    """An empty function would deploy, and fail at its first request."""
    (tmp_path / "source").mkdir()
    with pytest.raises(BuildFailed, match="no modules"):
        build(tmp_path / "source", tmp_path / "artifact")


def test_bundle_without_one_of_amazons_roots_fails_the_build() -> None:
    """A bundle that lost a root would cost a failed connection at every cold start."""
    import certifi  # noqa: PLC0415 - for this test alone

    bundle = Path(certifi.where()).read_text()
    whole = build_layer.amazon_roots(bundle)
    assert whole.count("BEGIN CERTIFICATE") == len(build_layer.AMAZON_ROOTS)
    first = whole.partition("-----END CERTIFICATE-----")[0].splitlines()[1]
    with pytest.raises(BuildFailed, match="Amazon Root CA 1"):
        # Another certificate's text in the place of the first one's.
        build_layer.amazon_roots(
            "".join(part for part in _certificates(bundle) if first not in part)
        )


def test_machine_that_cannot_check_does_not_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that nobody could import is built only where somebody says that this is meant."""
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.delenv("BYLINE_UNCHECKED_BUILD", raising=False)
    with pytest.raises(BuildFailed, match="BYLINE_UNCHECKED_BUILD=yes"):
        build_layer.build(tmp_path / "layer", uv="never run")
    assert not (tmp_path / "layer").exists()


@pytest.fixture
def checked(tmp_path: Path) -> Path:
    """A folder that the check finds nothing wrong with."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "module.py").write_text("import json\n")
    compile_folder(tmp_path, deployed_as="/opt/python")
    return tmp_path


def test_folder_without_faults_passes_the_check(checked: Path) -> None:
    """What the next tests spoil was good."""
    assert _check(checked) == (0, "")


def test_module_that_does_not_import_fails_the_check(checked: Path) -> None:
    """A package that is missing is found here, with the module that needs it."""
    (checked / "package/module.py").write_text("import not_in_the_layer\n")
    compile_folder(checked, deployed_as="/opt/python")
    code, said = _check(checked)
    assert code == 1
    assert "package.module: ModuleNotFoundError: No module named 'not_in_the_layer'" in said


def test_module_without_byte_code_fails_the_check(checked: Path) -> None:
    """A module that would be compiled at every cold start is found here."""
    for file in checked.rglob("module*.pyc"):
        file.unlink()
    assert _check(checked) == (
        1,
        "package.module: ImportError: the module has no usable byte code\n",
    )


def test_client_that_cannot_be_made_fails_the_check(checked: Path) -> None:
    """A service whose model was trimmed away is found here."""
    code, said = _check(checked, "dynamodb")
    assert code == 1
    assert said.startswith("dynamodb: ")


def _check(folder: Path, *services: str) -> tuple[int, str]:
    finished = subprocess.run(
        [*CHECK, str(folder), *services], check=False, capture_output=True, text=True
    )
    return finished.returncode, finished.stderr


def _certificates(bundle: str) -> list[str]:
    end = "-----END CERTIFICATE-----"
    return [part + end for part in bundle.split(end)[:-1]]
