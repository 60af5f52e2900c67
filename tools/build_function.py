"""Builds one function: its package with byte code and policies. The layer has the rest."""

import argparse
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

from tools.build_bytecode import BuildFailed, compile_folder

DEPLOYED_AS = "/var/task"


def build(package: Path, artifact: Path) -> str:
    """Copy `package` into the folder `artifact` and compile it. Returns a summary for the log.

    Raises `BuildFailed` if the package has no modules, or if one does not compile.
    """
    if not (package / "__init__.py").is_file():
        raise BuildFailed(f"no modules in {package}: __init__.py is missing")
    ignored = ignore_patterns("__pycache__")
    copytree(package, artifact / package.name, ignore=ignored, dirs_exist_ok=True)
    modules = compile_folder(artifact, deployed_as=DEPLOYED_AS)
    return f"{artifact.name}: {modules} modules, compiled"


def main() -> None:
    """Build the function from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("artifact", type=Path)
    arguments = parser.parse_args()
    try:
        print(build(arguments.package, arguments.artifact))
    except BuildFailed as error:
        sys.exit(f"build: {error}")


if __name__ == "__main__":
    main()
