"""Write the computed part of docs/cost.md, or print it for other assumptions.

python -m tools.cost                              write docs/cost.md
python -m tools.cost name=value [name=value …]    print the tables for these assumptions
"""

import sys
from dataclasses import asdict, replace

from tools.cost.page import PAGE, computed, with_computed
from tools.cost.usage import Assumptions


def main(changes: list[str]) -> None:
    """The command."""
    if not changes:
        PAGE.write_text(with_computed(PAGE.read_text()))
        return
    kinds = {name: type(value) for name, value in asdict(Assumptions()).items()}
    given = {}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in kinds:
            sys.exit(f"{name} is no assumption. Assumptions: {', '.join(kinds)}.")
        try:
            given[name] = kinds[name](value)
        except ValueError:
            sys.exit(f"{name}={value}: not a number.")
    sys.stdout.write(computed(replace(Assumptions(), **given)))


main(sys.argv[1:])
