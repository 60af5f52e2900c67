"""The artifacts: their files, their byte code and their size."""

import json
import marshal
import re
import ssl
import subprocess
import sys
from hashlib import sha256
from importlib.util import MAGIC_NUMBER, cache_from_source
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import botocore
import pytest

from tests.built.artifact import FUNCTIONS, ROOT
from tools.build_layer import AMAZON_ROOTS, SERVICES

pytestmark = pytest.mark.built

UNCHECKED_HASH = 0b01
"""The flags of byte code that Python never checks against its source (PEP 552)."""

DEPLOYED_AS = {"IdentityLayer/python": "/opt/python", **dict.fromkeys(FUNCTIONS, "/var/task")}


@pytest.mark.parametrize("artifact", DEPLOYED_AS)
def test_every_module_has_byte_code_that_is_never_checked(built: Path, artifact: str) -> None:
    """Each module has one file of byte code for this Python, and no file time makes it stale."""
    folder = built / artifact
    modules = sorted(folder.rglob("*.py"))
    compiled = {Path(cache_from_source(str(module), optimization="")): module for module in modules}
    assert compiled.keys() == set(folder.rglob("*.pyc"))
    for file, module in compiled.items():
        content = file.read_bytes()
        assert content[:4] == MAGIC_NUMBER
        assert int.from_bytes(content[4:8], "little") == UNCHECKED_HASH
        code = marshal.loads(content[16:])  # noqa: S302 - our own build's
        assert code.co_filename == f"{DEPLOYED_AS[artifact]}/{module.relative_to(folder)}"


@pytest.mark.parametrize(("function", "package"), FUNCTIONS.items())
def test_artifact_of_a_function_has_its_package_alone(
    built: Path, function: str, package: str
) -> None:
    """An artifact has the function's own package, without tests or build files."""
    source = ROOT / "functions" / package

    def files(folder: Path) -> set[str]:
        found = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
        return {str(file.relative_to(folder)) for file in found}

    assert {file.name for file in (built / function).iterdir()} == {package}
    assert files(built / function / package) == files(source)


def test_artifact_has_the_policies_unchanged(built: Path) -> None:
    """The artifact of RunsFunction has every policy file with the same text as the source."""
    source = ROOT / "functions/serve_runs/access/policies"
    shipped = built / "RunsFunction/serve_runs/access/policies"
    texts = {file.name: file.read_text() for file in source.iterdir()}
    assert {file.name: file.read_text() for file in shipped.iterdir()} == texts


def test_layer_built_twice_has_the_same_bytes(layer: Path, tmp_path: Path) -> None:
    """The same sources give the same bytes, so a deploy without changes replaces nothing."""
    subprocess.run([ROOT / "tools/build", "layer", tmp_path], check=True, capture_output=True)

    def contents(folder: Path) -> dict[str, str]:
        files = (file for file in sorted(folder.rglob("*")) if file.is_file())
        return {str(file.relative_to(folder)): _digest(file) for file in files}

    assert contents(tmp_path / "python") == contents(layer)


def test_layer_has_only_the_models_of_called_services(layer: Path) -> None:
    """The layer has the botocore models of the code's own clients and of the tracer."""
    source = (layer / "byline/aws.py").read_text()
    called = set(re.findall(r'_client\("([a-z0-9-]+)"', source))
    assert called
    assert called | {"xray"} == set(SERVICES)
    models = {folder.name for folder in (layer / "botocore/data").iterdir() if folder.is_dir()}
    assert models == set(SERVICES)


def test_layer_calls_the_endpoints_that_botocores_rules_give(layer: Path) -> None:
    """Without the endpoint rules each service has the same endpoint, in every region of AWS."""

    def endpoints(packages: Path) -> dict[str, list[str]]:
        """The URL and the signed region of a call of each service in each region."""
        command = (sys.executable, "-I", "-S", Path(__file__).with_name("endpoints.py"), packages)
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        found: dict[str, list[str]] = json.loads(answer.stdout)
        return found

    assert not list((layer / "botocore/data").rglob("endpoint-rule-set-*"))
    expected = endpoints(Path(botocore.__file__).parents[1])
    assert {place.partition(" ")[0] for place in expected} == {*SERVICES} - {"xray"}
    assert len(expected) > 4 * 40
    assert expected["dynamodb eu-central-1"] == [
        "https://dynamodb.eu-central-1.amazonaws.com/",
        "eu-central-1",
    ]
    assert endpoints(layer) == expected


def test_layer_trusts_only_amazons_roots_for_aws(layer: Path) -> None:
    """The CA bundle for AWS's hosts has Amazon's root certificates and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=layer / "byline/amazon_roots.pem")
    names = re.findall(
        r"'commonName', '([^']+)'", str([c["subject"] for c in context.get_ca_certs()])
    )
    assert sorted(names) == sorted(AMAZON_ROOTS)


def test_artifacts_stay_far_below_the_size_limit_of_lambda(built: Path) -> None:
    """All functions and the layer together stay below 20 MB zipped and 50 MB unpacked.

    Lambda's limit for one function with its layers is 50 MB zipped and 250 MB unpacked.

    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    """
    unpacked, zipped = 0, 0
    for name in ("IdentityLayer", *FUNCTIONS):
        archive = BytesIO()
        with ZipFile(archive, "w", ZIP_DEFLATED) as archived:
            for file in (file for file in (built / name).rglob("*") if file.is_file()):
                archived.write(file, file.relative_to(built / name))
                unpacked += file.stat().st_size
        zipped += archive.tell()
    assert zipped < 20_000_000  # Cedar's engine takes 5 MB
    assert unpacked < 50_000_000


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()
