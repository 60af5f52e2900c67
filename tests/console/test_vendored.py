"""The console's libraries are the ones of its lock file."""

import json

import pytest

from tests.required import skip_or_fail
from tools.vendor_console import FILES, PACKAGES, VENDORED

LOCK = PACKAGES.parent / "package-lock.json"


def test_lock_pins_every_package_by_its_hash() -> None:
    """npm refuses a package whose content is another one."""
    packages = {
        name: body for name, body in json.loads(LOCK.read_text())["packages"].items() if name
    }
    shipped = {name.partition("/")[2] for name, body in packages.items() if not body.get("dev")}
    assert shipped == {original.partition("/")[0] for original in FILES.values()}
    assert all(body["integrity"].startswith("sha512-") for body in packages.values())
    assert not any("hasInstallScript" in body for body in packages.values())


def test_no_other_file_is_vendored() -> None:
    """Each committed copy has an original."""
    assert {file.name for file in VENDORED.iterdir()} == FILES.keys()


@pytest.mark.parametrize("copy", FILES)
def test_copy_equals_the_file_of_the_package(copy: str) -> None:
    """What the console serves is what npm installed from the lock file."""
    original = PACKAGES / FILES[copy]
    if not original.exists():
        skip_or_fail("node", "npm has not installed requirements/console")
    assert (VENDORED / copy).read_bytes() == original.read_bytes()
