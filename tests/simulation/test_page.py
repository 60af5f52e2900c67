"""The results page: each fleet's section is replaced alone."""

from simulation.__main__ import FLEETS
from simulation.page import PAGE, with_section


def test_a_new_section_goes_to_the_end_of_the_page() -> None:
    """A fleet that is simulated for the first time gets a section after all others."""
    page = with_section("# Page\n", "100x900", "figures")
    assert page == "# Page\n\n<!-- computed: 100x900 -->\nfigures\n<!-- end: 100x900 -->\n"


def test_a_section_that_is_computed_again_replaces_only_itself() -> None:
    """The results of other fleets, and the text around them, stay as they are."""
    page = with_section(with_section("# Page\n", "100x900", "old"), "1000x900", "other")
    assert with_section(page, "100x900", "new") == page.replace("old", "new")


def test_the_page_has_a_section_and_a_chart_of_each_default_fleet() -> None:
    """What `make simulate` writes by default is on the page, and every chart is shown."""
    page = PAGE.read_text()
    assert all(f"<!-- computed: {name} -->" in page for name in FLEETS)
    charts = [path.name for path in PAGE.parent.glob("simulation-*.png")]
    assert len(charts) >= len(FLEETS)
    assert all(f"({chart})" in page for chart in charts)
