"""Writes what the functions ship: a CycloneDX bill of materials, and all licence texts.

    python -m tools.bill_of_materials .aws-sam/build .aws-sam/materials

The packages of the layer are read from the build, not from the lock file. Wheels with compiled code
state what it contains (PEP 770); these components are in the bill too. The console's libraries are
copies in the repository, in the versions of their lock file.
https://cyclonedx.org/docs/1.6/json/, https://peps.python.org/pep-0770/
"""

import json
import sys
from collections.abc import Iterator
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import cast
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tools.release_notes import version
from tools.vendor_console import PACKAGES, VENDORED

BILL, LICENSES = "byline.cdx.json", "third-party-licenses.txt"
LAYER = "IdentityLayer/python"
CONSOLE_LOCK = PACKAGES.parent / "package-lock.json"
LICENSE_NAMES = ("LICEN", "NOTICE", "COPYING", "AUTHORS")


class BillFailed(Exception):
    """A package of the layer states no licence, or the bill breaks CycloneDX's schema."""


def main(build: Path, out: Path) -> None:
    """The command. Exits with 1 and a message where the bill cannot be made."""
    try:
        packages = shipped(build / LAYER)
        bill, texts = bill_of(packages), licence_texts(packages)
    except BillFailed as failure:
        sys.exit(f"bill of materials: {failure}")
    out.mkdir(parents=True, exist_ok=True)
    (out / BILL).write_text(bill)
    (out / LICENSES).write_text(texts)
    print(f"bill of materials: {len(json.loads(bill)['components'])} components, in {out}")


def shipped(layer: Path) -> list[Distribution]:
    """The packages in the layer's folder, by name. Raises `BillFailed` where there is none."""
    found = sorted(distributions(path=[str(layer)]), key=lambda each: each.name.lower())
    if not found:
        raise BillFailed(f"{layer} has no packages. Run `make build`.")
    return found


def bill_of(packages: list[Distribution]) -> str:
    """The bill as CycloneDX 1.6 JSON."""
    bom = Bom()
    bom.metadata.component = root = Component(
        name="byline", version=version(), type=ComponentType.APPLICATION, bom_ref="byline"
    )
    for package in packages:
        component = _component(package)
        contained = list(_contained(package))
        for part in contained:
            bom.components.add(part)
        bom.components.add(component)
        bom.register_dependency(component, contained)
    libraries = console_libraries()
    for library in libraries:
        bom.components.add(library)
    bom.register_dependency(root, [*map(_component, packages), *libraries])
    identity = "\n".join(sorted(str(each.purl) for each in bom.components))
    bom.serial_number = uuid5(NAMESPACE_URL, identity)
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise BillFailed(f"the bill breaks CycloneDX's schema: {error}")
    return text + "\n"


def console_libraries() -> list[Component]:
    """The libraries of the console's script, by its lock file."""
    packages = json.loads(CONSOLE_LOCK.read_text())["packages"]
    return [
        _library(path.removeprefix("node_modules/"), body["version"], body["license"])
        for path, body in packages.items()
        if path and not body.get("dev")
    ]


def _library(name: str, version: str, licence: str) -> Component:
    purl = PackageURL("npm", None, name, version)
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseFactory().make_from_string(licence)],
    )


def licence_texts(packages: list[Distribution]) -> str:
    """Every licence and notice that the packages and the libraries of the console ship."""
    parts = []
    for package in packages:
        texts = [text.strip() for _, text in _licence_files(package)]
        if not texts:
            raise BillFailed(f"{package.name} {package.version} ships no licence text.")
        parts.append(_entry(f"{package.name} {package.version}", texts))
    for library in console_libraries():
        text = (VENDORED / f"LICENSE-{library.name}").read_text().strip()
        parts.append(_entry(f"{library.name} {library.version}", [text]))
    return "\n\n\n".join(parts) + "\n"


def _entry(heading: str, texts: list[str]) -> str:
    return "\n\n".join([f"{heading}\n{'=' * len(heading)}", *texts])


def _component(package: Distribution) -> Component:
    name = package.name.lower().replace("_", "-")
    purl = PackageURL("pypi", None, name, package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseFactory().make_from_string(_licence(package))],
    )


def _licence(package: Distribution) -> str:
    """The licence that a package states: an SPDX expression, a classifier, or its text's title."""
    metadata = cast(Message, package.metadata)
    stated = [metadata.get(name) for name in ("License-Expression", "License")]
    for licence in stated:
        if licence and "\n" not in licence and licence != "Dual License":
            return licence
    prefix = "License :: OSI Approved :: "
    classifiers = [
        each.removeprefix(prefix)
        for each in metadata.get_all("Classifier", [])
        if each.startswith(prefix)
    ]
    if classifiers:
        return " OR ".join(classifiers)
    for _, text in _licence_files(package):
        return text.strip().partition("\n")[0].strip()
    raise BillFailed(f"{package.name} {package.version} states no licence.")


def _licence_files(package: Distribution) -> Iterator[tuple[str, str]]:
    for file in sorted(_folder(package).rglob("*")):
        if file.is_file() and file.name.upper().startswith(LICENSE_NAMES):
            yield file.name, file.read_text(errors="replace")


def _contained(package: Distribution) -> Iterator[Component]:
    """The components that the package's own bills name. Their licences may be missing."""
    for file in sorted((_folder(package) / "sboms").glob("*.json")):
        for stated in json.loads(file.read_text()).get("components", []):
            purl = PackageURL.from_string(stated["purl"])
            plain = PackageURL(purl.type, purl.namespace, purl.name, purl.version)
            expressions = [
                each["expression"] for each in stated.get("licenses", []) if "expression" in each
            ]
            yield Component(
                name=stated["name"],
                version=stated["version"],
                type=ComponentType.LIBRARY,
                purl=plain,
                bom_ref=f"{plain} in {package.name}",
                licenses=[LicenseFactory().make_with_expression(each) for each in expressions],
            )


def _folder(package: Distribution) -> Path:
    return Path(str(package.locate_file(""))) / f"{_normalised(package)}.dist-info"


def _normalised(package: Distribution) -> str:
    return f"{package.name.replace('-', '_').lower()}-{package.version}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
