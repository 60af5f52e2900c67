"""The benchmark's report: verdicts by budget, the table, and the document it writes to."""

import re
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.results import Promise, Series

ROOT = Path(__file__).parents[2]


def promise(*milliseconds: float) -> Promise:
    """A promise: Byline took `milliseconds` in each round, and the baseline ten."""
    return Promise(
        what="a create",
        against="a bare one",
        byline=Series(milliseconds, "ms"),
        baseline=Series([9, 10, 11], "ms"),
        budget=1.2,
        aim=1.1,
    )


@pytest.mark.parametrize(
    ("median", "verdict"),
    [
        (11.0, "aim reached"),
        (11.01, "within budget"),
        (12.0, "within budget"),
        (12.01, "**over budget**"),
    ],
)
def test_median_equal_to_the_budget_keeps_the_promise(median: float, verdict: str) -> None:
    """The median decides: one slow round has no effect, and a median over the budget does."""
    found = promise(1, median, 1_000)
    assert found.verdict == verdict
    assert found.is_kept == (verdict != "**over budget**")


def test_table_shows_figures_with_their_spread_and_the_ratio() -> None:
    """A row has both medians, their spread and the ratio between them."""
    table = report.promise_table([promise(11, 12, 13)])
    assert "| 12.0 ms (11.0–13.0) | a bare one | 10.0 ms (9.00–11.0) | **1.20 ×** |" in table


def test_new_measurements_replace_the_old_and_keep_the_text(tmp_path: Path) -> None:
    """Only the text between the two markers changes."""
    document = tmp_path / "benchmarks.md"
    document.write_text(
        "Words.\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nMore words.\n"
    )
    report.write(r"new \1", document)
    assert document.read_text() == (
        "Words.\n<!-- measured: begin -->\n\nnew \\1\n\n<!-- measured: end -->\nMore words.\n"
    )


def test_document_without_markers_is_an_error(tmp_path: Path) -> None:
    """A document without markers raises an error, so that no measurement is lost."""
    document = tmp_path / "benchmarks.md"
    document.write_text("Words.\n")
    with pytest.raises(ValueError, match="0 places"):
        report.write("new", document)


def test_readme_has_the_ratios_that_were_measured() -> None:
    """The three ratios of README are those of docs/benchmarks.md, rounded."""
    measured = (ROOT / "docs/benchmarks.md").read_text()
    cold, warm = (
        float(re.findall(rf"^\| {what}.*\*\*([\d.]+) ×\*\*", measured, re.MULTILINE)[0])
        for what in ("cold start: init and the first create", "a warm create, CPU")
    )
    with_roles, floor = (
        float(re.findall(rf"^\| {what} \| ([\d.]+) ms CPU", measured, re.MULTILINE)[0])
        for what in (
            "Byline, for a caller whose role is read",
            "raw verification and bare `put_item`",
        )
    )
    readme = (ROOT / "README.md").read_text().partition("**Cold starts and warm")[2]
    told = re.findall(r"([\d.]+) ×", readme.partition("[Benchmarks]")[0])
    assert told == [f"{ratio:.1f}" for ratio in (cold, warm, with_roles / floor)]
