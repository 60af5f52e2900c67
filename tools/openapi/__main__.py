"""Write docs/openapi.json and docs/reasons.md, or both into the folder that is named."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    """The command."""
    sys.path[:0] = [str(ROOT / "layers" / "identity"), str(ROOT / "functions")]
    # Any values: the routes do not depend on them.
    os.environ.update(
        RUNS_TABLE="RunsTable",
        RUNNERS_TABLE="RunnersTable",
        ACCESS_TABLE="AccessTable",
        REFRESH_QUEUE_URL="-",
        SECRET_PREFIX="byline",
        POWERTOOLS_SERVICE_NAME="-",
        AWS_DEFAULT_REGION="us-east-1",
    )
    from serve_runs.handler import build  # noqa: PLC0415
    from tools.openapi import document, reasons  # noqa: PLC0415

    folder = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs"
    (folder / "openapi.json").write_text(document.text(build(os.environ).routes.load_all()))
    (folder / "reasons.md").write_text(reasons.text())


main()
