"""Output: data on standard output, other text on standard error, tables on a terminal only."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from byline_client.documents import text_of

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def plain(text: str) -> str:
    """Text from elsewhere for a terminal: control and invisible characters are replaced.

    A name could otherwise move the cursor, change colours, or reverse the text after it.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_unsafe(each) else each for each in text)


def say(text: str) -> None:
    """Write a line for people to standard error."""
    sys.stderr.write("\n".join(plain(line) for line in text.split("\n")) + "\n")
    sys.stderr.flush()


def say_warnings(document: Mapping[str, Any]) -> None:
    """Write the warnings in an answer to standard error."""
    warnings = document.get("warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        say(f"byline: {text_of(warning, 'code')}: {text_of(warning, 'detail')}")


def put(text: str) -> None:
    """Write a line of data to standard output."""
    sys.stdout.write(plain(text) + "\n")
    sys.stdout.flush()


def put_styled(text: str, style: str) -> None:
    """Write a line of data to standard output, in a style of Rich on a terminal."""
    if not style or not sys.stdout.isatty():
        put(text)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    Console(highlight=False, soft_wrap=True).print(Text(plain(text), style))


def put_json(document: Any) -> None:
    """Write a JSON document to standard output. Characters beyond ASCII are escaped."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()


def put_rows(
    rows: Iterable[Mapping[str, str]], *, columns: Sequence[str], piped: Sequence[str] = ()
) -> None:
    """Write rows: a table on a terminal, otherwise a line for each row.

    The line has the columns `piped`, by default the first one, with tabs between them.
    """
    if not sys.stdout.isatty():
        for row in rows:
            # `plain` replaces a tab, so a value cannot add a column.
            sys.stdout.write("\t".join(plain(row[name]) for name in piped or columns[:1]) + "\n")
        sys.stdout.flush()
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper(), overflow="fold", no_wrap=column == columns[0])
    for row in rows:
        # Text, because Rich would read [brackets] in a string as markup.
        table.add_row(*(Text(plain(row[column])) for column in columns))
    Console(highlight=False).print(table)


def put_facts(facts: Mapping[str, str]) -> None:
    """Write facts with their names, a line each."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        put(f"{name:<{width}}  {value}")


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE
