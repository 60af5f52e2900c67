"""The tables of docs/benchmarks.md."""

import platform
import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count
from pathlib import Path

from benchmarks.artifacts import ROOT
from benchmarks.results import Promise, Series

DOCUMENT = ROOT / "docs/benchmarks.md"

VERSIONS = (
    "aws-lambda-powertools",
    "awslambdaric",
    "boto3",
    "botocore",
    "cryptography",
    "httpx",
    "msgspec",
    "pydantic",
    "PyJWT",
    "urllib3",
)

_MEASURED = re.compile(r"(<!-- measured: begin[^>]*-->\n).*(<!-- measured: end -->)", re.DOTALL)


def circumstances(command: str) -> str:
    """The date, the machine and the versions of the measurement, as a sentence."""
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    return (
        f"`{command}` on {datetime.now(UTC):%-d %B %Y}: {_processor()}, {cpu_count()} CPUs,"
        f" {platform.system()} {platform.release()}; Python {platform.python_version()},"
        f" {ssl.OPENSSL_VERSION}; {versions}."
    )


def promise_table(promises: Sequence[Promise]) -> str:
    """The table of budgets, with the measurements and the verdicts."""
    return _table(
        ["what", "Byline", "against", "baseline", "ratio", "budget", "aim", "verdict"],
        [
            [
                promise.what,
                _with_spread(promise.byline),
                promise.against,
                _with_spread(promise.baseline),
                f"**{promise.ratio:.2f} ×**",
                f"{promise.budget} ×",
                f"{promise.aim} ×",
                promise.verdict,
            ]
            for promise in promises
        ],
    )


def spread_table(subject: str, rows: Mapping[str, Mapping[str, Series]]) -> str:
    """A table of several quantities of each subject, with their quartiles."""
    columns = list(next(iter(rows.values())))
    return _table(
        [subject, *columns],
        [
            [title, *(_with_spread(row[column]) for column in columns)]
            for title, row in rows.items()
        ],
    )


def median_table(subject: str, rows: Mapping[str, Series]) -> str:
    """A table of one quantity of each subject."""
    return _table([subject, "median"], [[title, _figure(series)] for title, series in rows.items()])


def write(measured: str, document: Path = DOCUMENT) -> None:
    """Replace the measurements in the document, and leave the rest as it is.

    Raises `ValueError` if the document does not have exactly one place for them.
    """
    # A function, because a backslash in a replacement text would be an escape.
    written, places = _MEASURED.subn(
        lambda found: f"{found[1]}\n{measured}\n\n{found[2]}", document.read_text()
    )
    if places != 1:
        raise ValueError(f"{document.name} has {places} places for measurements")
    document.write_text(written)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _with_spread(series: Series) -> str:
    low, high = (_rounded(quartile) for quartile in series.quartiles)
    return f"{_figure(series)} ({low}–{high})"


def _figure(series: Series) -> str:
    return f"{_rounded(series.median)} {series.unit}"


def _rounded(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _processor() -> str:
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return str(names[0]) if names else platform.machine()
