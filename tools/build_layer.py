"""Builds the identity layer: pinned packages, our modules and their byte code.

An error fails the build, not the function: an interpreter that sees nothing else imports every
module of the finished folder (tools/build_check.py).
"""

import argparse
import json
import os
import platform
import ssl
import subprocess
import sys
from gzip import decompress
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree
from typing import Any

from tools.build_bytecode import BuildFailed, compile_folder

LAYER = Path(__file__).parents[1] / "layers/identity"
CHECK = Path(__file__).with_name("build_check.py")
DEPLOYED_AS = "/opt/python"

SERVICES = ("dynamodb", "secretsmanager", "sqs", "sts", "xray")
"""The AWS services that the code calls. Only their models are shipped. X-Ray is among them because
its SDK, loaded with the tracer, creates a client on import."""

ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
"""The machine of a compiled package, by its name in wheels: `e_machine` in the ELF header."""

AMAZON_ROOTS = frozenset(
    {
        "Amazon Root CA 1",
        "Amazon Root CA 2",
        "Amazon Root CA 3",
        "Amazon Root CA 4",
        "Starfield Services Root Certificate Authority - G2",
    }
)
"""https://www.amazontrust.com/repository/"""


def build(artifact: Path, *, uv: str) -> str:
    """Fill `artifact` with the layer. Returns a summary for the log. Raises `BuildFailed`."""
    machine = _machine(os.environ.get("BYLINE_ARCHITECTURE") or "x86_64")
    is_checked = _can_import(machine)
    root = artifact / "python"
    rmtree(root, ignore_errors=True)
    install(root, machine, uv=uv)
    require_machine(root, machine)
    remove_unshipped(root)
    trim_botocore(root / "botocore/data")
    copytree(LAYER / "byline", root / "byline", ignore=ignore_patterns("__pycache__"))
    bundle = (root / "certifi/cacert.pem").read_text()
    (root / "byline/amazon_roots.pem").write_text(amazon_roots(bundle))
    modules = compile_folder(root, deployed_as=DEPLOYED_AS)
    if is_checked:
        _run(sys.executable, "-I", "-S", str(CHECK), str(root), *SERVICES)
    size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    outcome = "compiled and imported" if is_checked else "compiled, NOT IMPORTED"
    return f"layer for {machine}: {modules} modules, {outcome}; {size / 1e6:.1f} MB"


def _machine(architecture: str) -> str:
    """The name in wheels of one of Lambda's architectures. Raises `BuildFailed` for another."""
    machine = {"x86_64": "x86_64", "arm64": "aarch64"}.get(architecture)
    if machine is None:
        raise BuildFailed(f"BYLINE_ARCHITECTURE is {architecture}; set it to x86_64 or arm64")
    return machine


def _can_import(machine: str) -> bool:
    """Whether this machine can import what is shipped, which is for Lambda's platform.

    Raises `BuildFailed` if it cannot, unless Linux builds for a named architecture or
    BYLINE_UNCHECKED_BUILD allows it.
    """
    if (sys.platform, platform.machine()) == ("linux", machine):
        return True
    is_named = sys.platform == "linux" and "BYLINE_ARCHITECTURE" in os.environ
    if is_named or os.environ.get("BYLINE_UNCHECKED_BUILD") == "yes":
        return False
    raise BuildFailed(
        f"only Linux on {machine} can import what is shipped, and so check it."
        " On another Linux, name the ARCHITECTURE. Elsewhere BYLINE_UNCHECKED_BUILD=yes builds"
        " without, to try things out; deploy from Linux"
    )


def require_machine(root: Path, machine: str) -> None:
    """Raise `BuildFailed` for a compiled package in `root` that is for another machine.

    The check holds also where this machine cannot import what is shipped.
    """
    files = sorted(root.rglob("*.so*"))
    if not files:
        raise BuildFailed(f"no compiled package in {root}")
    for file in files:
        with file.open("rb") as binary:
            header = binary.read(20)
        if header[:4] != b"\x7fELF" or header[18] != ELF_MACHINES[machine]:
            raise BuildFailed(f"{file.name} is not for {machine}")


def install(root: Path, machine: str, *, uv: str) -> None:
    """Install the lock file's packages for Lambda: CPython 3.13, glibc of 2.28 or later."""
    _run(
        uv, "pip", "install", "--quiet", "--target", str(root), "--python", sys.executable,
        "--python-version", "3.13", "--python-platform", f"{machine}-manylinux_2_28",
        # Copies, not links: files are changed below, and uv's cache is shared.
        "--link-mode", "copy", "--only-binary", ":all:", "--no-deps", "--require-hashes",
        "-r", str(LAYER / "requirements.txt"),
    )  # fmt: skip
    # Their content depends on the machine and on files that are removed below.
    for record in [*root.glob("*.dist-info/RECORD"), *root.glob("*.dist-info/uv_*")]:
        record.unlink()
    (root / ".lock").unlink(missing_ok=True)


def remove_unshipped(root: Path) -> None:
    """Remove the files that layers/identity/unshipped.txt lists."""
    for line in (LAYER / "unshipped.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        paths = list(root.glob(line))
        if not paths:
            raise BuildFailed(f"unshipped.txt: {line} matches nothing")
        for path in paths:
            if path.is_dir():
                rmtree(path)
            else:
                path.unlink()


def trim_botocore(data: Path) -> None:
    """Keep the newest models of `SERVICES`, unpacked and without their documentation.

    botocore unpacks and parses a model for each client. This saves a quarter of that time.
    Without a service's endpoint rules botocore finds its endpoint once for each client, in
    endpoints.json, and not by evaluating the rules at each call.
    """
    for service in (path for path in data.iterdir() if path.is_dir()):
        if service.name not in SERVICES:
            rmtree(service)
            continue
        *older, newest = sorted(service.iterdir())
        for version in older:
            rmtree(version)
        for unread in (*newest.glob("examples-*"), *newest.glob("endpoint-rule-set-*")):
            unread.unlink()
        for packed in newest.glob("*.json.gz"):
            model = json.loads(decompress(packed.read_bytes()))
            _write_json(packed.with_suffix(""), _undocumented(model))
            packed.unlink()
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in SERVICES if name in services}
    _write_json(data / "endpoints.json", endpoints)


def amazon_roots(bundle: str) -> str:
    """The certificates of `AMAZON_ROOTS` in a CA bundle, as PEM by subject."""
    found: dict[str, str] = {}
    for part in bundle.split("-----BEGIN CERTIFICATE-----")[1:]:
        body = part.partition("-----END CERTIFICATE-----")[0]
        pem = f"-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=pem)
        [certificate] = context.get_ca_certs()
        subject: Any = certificate["subject"]  # a tuple of sets of (name, value), as tuples
        name = dict(pair for names in subject for pair in names).get("commonName")
        if name in AMAZON_ROOTS:
            found[name] = pem
    if missing := AMAZON_ROOTS - found.keys():
        raise BuildFailed(f"certifi has no {', '.join(sorted(missing))}")
    return "".join(found[name] for name in sorted(found))


def _undocumented(model: Any) -> Any:
    if isinstance(model, dict):
        return {
            name: _undocumented(value)
            for name, value in model.items()
            # A shape's member named "documentation" is no text and stays.
            if not (name == "documentation" and isinstance(value, str))
        }
    if isinstance(model, list):
        return [_undocumented(value) for value in model]
    return model


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":")))


def _run(*command: str) -> None:
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    if finished.returncode != 0:
        raise BuildFailed(f"{Path(command[0]).name} failed\n{finished.stdout}{finished.stderr}")


def main() -> None:
    """Build the layer from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--uv", required=True, help="path of the uv to install with")
    arguments = parser.parse_args()
    try:
        print(build(arguments.artifact, uv=arguments.uv))
    except BuildFailed as error:
        sys.exit(f"build: {error}")


if __name__ == "__main__":
    main()
