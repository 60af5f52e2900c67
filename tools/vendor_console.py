"""Copies the console's libraries from `requirements/console/node_modules` into its function.

    python -m tools.vendor_console

The copies are committed, so that a build needs no registry. A test compares them with the packages
of the lock file.
"""

from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "requirements/console/node_modules"
VENDORED = ROOT / "functions/serve_console/pages/vendor"

FILES: Mapping[str, str] = {
    "preact.js": "preact/dist/preact.module.js",
    "preact-hooks.js": "preact/hooks/dist/hooks.module.js",
    "htm.js": "htm/dist/htm.module.js",
    "LICENSE-preact": "preact/LICENSE",
    "LICENSE-htm": "htm/LICENSE",
}
"""The copies, and the files of packages that they are copies of."""


def main() -> None:
    """Replace the copies."""
    for copy, original in FILES.items():
        (VENDORED / copy).write_bytes((PACKAGES / original).read_bytes())


if __name__ == "__main__":
    main()
