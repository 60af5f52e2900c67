"""Writes the results of a fleet into docs/simulation.md, as a section of its own with a chart."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from simulation.charts import draw
from simulation.goals import missed
from simulation.outcome import Outcome
from simulation.report import MINTS, TOKENS, table
from simulation.scenario import Scenario

PAGE = Path(__file__).parents[1] / "docs" / "simulation.md"


def write_section(scenario: Scenario, outcomes: Sequence[Outcome], *, today: date) -> None:
    """Write a fleet's section and chart. The sections of other fleets stay as they are."""
    picture = f"simulation-{scenario.name}.png"
    draw(outcomes, PAGE.with_name(picture))
    parts = (
        f"### {scenario.title}",
        f"Computed on {today:%-d %B %Y}. Goals that Byline missed: "
        f"{'; '.join(missed(outcomes[0])) or 'none'}.",
        f"![Charts: {scenario.title}]({picture})",
        table(TOKENS, outcomes),
        table(MINTS, outcomes),
    )
    PAGE.write_text(with_section(PAGE.read_text(), scenario.name, "\n\n".join(parts)))


def with_section(page: str, name: str, text: str) -> str:
    """The page with `text` as the section `name`, which is added at the end if it is new."""
    start, end = f"<!-- computed: {name} -->", f"<!-- end: {name} -->"
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    if not rest:
        before, after = f"{page.rstrip()}\n\n", "\n"
    return f"{before}{start}\n{text}\n{end}{after}"
