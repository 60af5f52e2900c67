"""Writes the computed tables of docs/scale.md, or prints them with `--print`."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/scale.md"
COMPUTED = re.compile(r"(<!-- computed: begin[^>]*-->\n).*?(<!-- computed: end -->)", re.DOTALL)


def main() -> None:
    """The command."""
    sys.path[:0] = [str(ROOT / "layers" / "identity"), str(ROOT / "functions")]
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    from tools.scale.lives import measure  # noqa: PLC0415
    from tools.scale.walls import text  # noqa: PLC0415

    tables = text(measure())
    if sys.argv[1:] == ["--print"]:
        print(tables)
    else:
        PAGE.write_text(COMPUTED.sub(rf"\g<1>\n{tables}\n\g<2>", PAGE.read_text()))


main()
