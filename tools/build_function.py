"""Builds one function: its own modules with their byte code, and the policies that it decides by.

Everything else is in the layer.
"""

import argparse
import sys
from pathlib import Path
from shutil import copy2, copytree

from tools.build_bytecode import BuildFailed, compile_folder

DEPLOYED_AS = "/var/task"
POLICIES = "policies"


def build(source: Path, artifact: Path) -> str:
    """Put what `source` has to ship into `artifact`; return what was done, for people."""
    modules = sorted(source.glob("*.py"))
    if not modules:
        raise BuildFailed(f"no modules in {source}")
    artifact.mkdir(parents=True, exist_ok=True)
    for module in modules:
        copy2(module, artifact)
    if (source / POLICIES).is_dir():
        copytree(source / POLICIES, artifact / POLICIES)
    compile_folder(artifact, deployed_as=DEPLOYED_AS)
    return f"{artifact.name}: {len(modules)} modules, compiled"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("artifact", type=Path)
    arguments = parser.parse_args()
    try:
        print(build(arguments.source, arguments.artifact))
    except BuildFailed as error:
        sys.exit(f"build: {error}")


if __name__ == "__main__":
    main()
