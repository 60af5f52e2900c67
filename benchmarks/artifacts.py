"""Builds the measured functions, each as it would be deployed."""

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import copy2, copytree, rmtree

from tools.build_bytecode import compile_folder

ROOT = Path(__file__).parents[1]
BUILT = ROOT / ".aws-sam/benchmarks"
CA_BUNDLES = ("amazon_roots.pem", "cacert.pem")


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The built folders, as Lambda has them in /var/task and /opt/python.

    `usual_way_compiled` is `usual_way` with byte code. `python` is an interpreter with the runtime
    interface client, and no other package that a function could import by accident.
    """

    function: Path
    refresh_function: Path
    plan_function: Path
    console_function: Path
    layer: Path
    boto3_only: Path
    raw_floor: Path
    usual_way: Path
    usual_way_compiled: Path
    python: Path


def build(root_certificate: bytes) -> Artifacts:
    """Build everything, and add `root_certificate` to each CA bundle of the artifacts.

    So each function loads the bundle that it would load on AWS, and one certificate more.
    """
    rmtree(BUILT, ignore_errors=True)
    byline, baselines = BUILT / "byline", BUILT / "baselines"
    _sam_build(ROOT / "template.yaml", byline)
    _sam_build(ROOT / "benchmarks/baselines/template.yaml", baselines)
    artifacts = Artifacts(
        function=byline / "RunsFunction",
        refresh_function=byline / "RefreshTokensFunction",
        plan_function=byline / "PlanRefreshFunction",
        console_function=byline / "WebConsole/ServeConsoleFunction",
        layer=byline / "IdentityLayer/python",
        boto3_only=baselines / "Boto3Only",
        raw_floor=baselines / "RawFloor",
        usual_way=baselines / "UsualWay",
        usual_way_compiled=baselines / "UsualWayCompiled",
        python=_runtime(BUILT / "runtime"),
    )
    copytree(artifacts.usual_way, artifacts.usual_way_compiled)
    for folder in (artifacts.boto3_only, artifacts.raw_floor, artifacts.usual_way_compiled):
        compile_folder(folder, deployed_as="/var/task")
    for bundle in (*byline.rglob("*.pem"), *baselines.rglob("*.pem")):
        if bundle.name in CA_BUNDLES:
            _append(bundle, root_certificate)
    return artifacts


def _sam_build(template: Path, artifacts: Path) -> None:
    _run(ROOT / ".venv-sam/bin/sam", "build", "--template", template, "--build-dir", artifacts)


def _runtime(folder: Path) -> Path:
    """The interpreter of a new environment with the runtime interface client, as Lambda has it."""
    python = folder / "bin/python"
    uv = _run(ROOT / "tools/setup", "--uv")
    _run(uv, "venv", "--quiet", "--python", sys.executable, folder)
    client = f"awslambdaric=={version('awslambdaric')}"
    _run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, client)
    (packages,) = folder.glob("lib/python*/site-packages")
    copy2(ROOT / "benchmarks/runtime/sitecustomize.py", packages)
    _run(python, "-m", "compileall", "-q", packages / "sitecustomize.py")
    return python


def _append(bundle: Path, certificate: bytes) -> None:
    contents = bundle.read_bytes()
    bundle.unlink()  # it may be a link into the installer's cache, which is shared
    bundle.write_bytes(contents + b"\n" + certificate)


def _run(*command: str | Path) -> str:
    # SAM's builder of Python functions looks on the PATH for an interpreter with pip.
    python = Path(_output(ROOT / "tools/setup", "--python"))
    return _output(*command, path=f"{python.parent}{os.pathsep}{os.environ['PATH']}")


def _output(*command: str | Path, path: str = os.environ["PATH"]) -> str:
    finished = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
    )
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed\n{finished.stdout}{finished.stderr}")
    return finished.stdout.strip()
