"""The bill of materials names what the layer and the console ship, with the licences."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.built.artifact import ROOT
from tools.bill_of_materials import (
    BILL,
    LICENSES,
    BillFailed,
    bill_of,
    licence_texts,
    main,
    shipped,
)
from tools.release_notes import version


@pytest.fixture(scope="module")
def materials(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make build` fills."""
    out = tmp_path_factory.mktemp("materials")
    main(built, out)
    return out


@pytest.fixture(scope="module")
def bill(materials: Path) -> dict[str, Any]:
    """The bill."""
    content: dict[str, Any] = json.loads((materials / BILL).read_text())
    return content


def locked() -> set[str]:
    """The pinned packages of the layer, as package URLs."""
    lines = (ROOT / "layers/identity/requirements.txt").read_text().splitlines()
    pins = [line.split(" ")[0].split(";")[0].strip() for line in lines if "==" in line]
    return {f"pkg:pypi/{pin.replace('==', '@').lower()}" for pin in pins}


def test_bill_names_each_pinned_package_of_the_layer(bill: dict[str, Any]) -> None:
    """The bill's Python packages are those of the layer's lock file, in their versions."""
    named = {each["purl"] for each in bill["components"] if each["purl"].startswith("pkg:pypi/")}
    assert named == locked()
    assert bill["metadata"]["component"]["version"] == version()


def test_bill_names_what_compiled_packages_contain(bill: dict[str, Any]) -> None:
    """OpenSSL of cryptography and the Cedar engine of cedarpy are in the bill."""
    purls = [each["purl"] for each in bill["components"]]
    assert any(purl.startswith("pkg:generic/openssl@") for purl in purls)
    assert any(purl.startswith("pkg:cargo/cedar-policy@") for purl in purls)


def test_bill_names_the_libraries_of_the_console(bill: dict[str, Any]) -> None:
    """In the versions of the committed copies, and nothing that only its tests use."""
    packages = json.loads((ROOT / "requirements/console/package.json").read_text())["dependencies"]
    named = {each["purl"] for each in bill["components"] if each["purl"].startswith("pkg:npm/")}
    assert named == {f"pkg:npm/{name}@{version}" for name, version in packages.items()}


def test_every_package_has_a_licence(bill: dict[str, Any], materials: Path) -> None:
    """Each package states a licence in the bill, and its text is shipped beside it."""
    texts = (materials / LICENSES).read_text()
    for component in bill["components"]:
        if component["purl"].startswith(("pkg:pypi/", "pkg:npm/")):
            assert component["licenses"], component["name"]
            assert f"{component['name']} {component['version']}\n===" in texts


def test_same_build_gives_the_same_serial_number(built: Path, bill: dict[str, Any]) -> None:
    """The bill's serial number follows from its components."""
    again = json.loads(bill_of(shipped(built / "IdentityLayer/python")))
    assert again["serialNumber"] == bill["serialNumber"]


def test_package_without_a_licence_text_fails_the_build(built: Path, tmp_path: Path) -> None:
    """A package that ships no licence text is named, and no bill is written."""
    shutil.copytree(built / "IdentityLayer/python", tmp_path / "IdentityLayer/python")
    [folder] = (tmp_path / "IdentityLayer/python").glob("urllib3-*.dist-info")
    shutil.rmtree(folder / "licenses")
    with pytest.raises(BillFailed, match=r"urllib3 .* ships no licence text"):
        licence_texts(shipped(tmp_path / "IdentityLayer/python"))
    with pytest.raises(SystemExit, match="urllib3"):
        main(tmp_path, tmp_path / "materials")
    assert not (tmp_path / "materials").exists()


def test_missing_build_is_named(tmp_path: Path) -> None:
    """Without a build, the command says what to run."""
    with pytest.raises(SystemExit, match="make build"):
        main(tmp_path, tmp_path / "materials")
