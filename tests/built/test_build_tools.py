"""The tools of the build: each fault fails the build, so that no faulty artifact is deployed."""

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
    """A syntax error fails the build with the name of the module."""
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "bad.py").write_text("x = = 1\n")
    with pytest.raises(BuildFailed, match=r"bad\.py"):
        compile_folder(tmp_path, deployed_as="/var/task")


def test_folder_without_a_package_fails_the_build(tmp_path: Path) -> None:
    """A folder without a package fails the build."""
    (tmp_path / "source").mkdir()
    with pytest.raises(BuildFailed, match=r"__init__\.py is missing"):
        build(tmp_path / "source", tmp_path / "artifact")


def test_bundle_without_one_of_amazons_roots_fails_the_build() -> None:
    """A missing root certificate fails the build with the name of the certificate."""
    import certifi  # noqa: PLC0415 - for this test alone

    bundle = Path(certifi.where()).read_text()
    whole = build_layer.amazon_roots(bundle)
    assert whole.count("BEGIN CERTIFICATE") == len(build_layer.AMAZON_ROOTS)
    first = whole.partition("-----END CERTIFICATE-----")[0].splitlines()[1]
    with pytest.raises(BuildFailed, match="Amazon Root CA 1"):
        # The bundle without the first of these certificates.
        build_layer.amazon_roots(
            "".join(part for part in _certificates(bundle) if first not in part)
        )


def test_build_on_another_platform_fails_without_an_explicit_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that cannot import the layer refuses to build it, and names the setting."""
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.delenv("BYLINE_UNCHECKED_BUILD", raising=False)
    with pytest.raises(BuildFailed, match="BYLINE_UNCHECKED_BUILD=yes"):
        build_layer.build(tmp_path / "layer", uv="never run")
    assert not (tmp_path / "layer").exists()


def test_unknown_architecture_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build names the setting and both architectures."""
    monkeypatch.setenv("BYLINE_ARCHITECTURE", "riscv")
    with pytest.raises(BuildFailed, match="x86_64 or arm64"):
        build_layer.build(tmp_path / "layer", uv="never run")


def test_compiled_package_of_another_architecture_fails_the_build(tmp_path: Path) -> None:
    """A layer holds compiled packages for the chosen architecture only."""
    header = bytearray(20)
    header[:4], header[18] = b"\x7fELF", build_layer.ELF_MACHINES["x86_64"]
    (tmp_path / "package.so").write_bytes(header)
    build_layer.require_machine(tmp_path, "x86_64")
    with pytest.raises(BuildFailed, match="is not for aarch64"):
        build_layer.require_machine(tmp_path, "aarch64")


def test_layer_without_compiled_packages_fails_the_build(tmp_path: Path) -> None:
    """Without a compiled package nothing was installed, so nothing was checked."""
    with pytest.raises(BuildFailed, match="no compiled package"):
        build_layer.require_machine(tmp_path, "x86_64")


@pytest.fixture
def checked(tmp_path: Path) -> Path:
    """A folder that passes the check."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "module.py").write_text("import json\n")
    compile_folder(tmp_path, deployed_as="/opt/python")
    return tmp_path


def test_folder_without_faults_passes_the_check(checked: Path) -> None:
    """The folder that the next tests spoil passes the check."""
    assert _check(checked) == (0, "")


def test_module_that_does_not_import_fails_the_check(checked: Path) -> None:
    """The check names the missing package and the module that imports it."""
    (checked / "package/module.py").write_text("import not_in_the_layer\n")
    compile_folder(checked, deployed_as="/opt/python")
    code, errors = _check(checked)
    assert code == 1
    assert "package.module: ModuleNotFoundError: No module named 'not_in_the_layer'" in errors


def test_module_without_byte_code_fails_the_check(checked: Path) -> None:
    """The check names a module that Lambda would compile at each cold start."""
    for file in checked.rglob("module*.pyc"):
        file.unlink()
    assert _check(checked) == (
        1,
        "package.module: ImportError: the module has no usable byte code\n",
    )


def test_service_without_its_model_fails_the_check(checked: Path) -> None:
    """The check names a service whose client cannot be made because its model is missing."""
    code, errors = _check(checked, "dynamodb")
    assert code == 1
    assert errors.startswith("dynamodb: ")


def _check(folder: Path, *services: str) -> tuple[int, str]:
    finished = subprocess.run(
        [*CHECK, str(folder), *services], check=False, capture_output=True, text=True
    )
    return finished.returncode, finished.stderr


def _certificates(bundle: str) -> list[str]:
    end = "-----END CERTIFICATE-----"
    return [part + end for part in bundle.split(end)[:-1]]
