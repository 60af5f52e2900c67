"""The results page: each fleet's section is replaced alone."""

from simulation.page import with_section


def test_a_new_section_goes_to_the_end_of_the_page() -> None:
    """A fleet that is simulated for the first time gets a section after all others."""
    page = with_section("# Page\n", "100x900", "figures")
    assert page == "# Page\n\n<!-- computed: 100x900 -->\nfigures\n<!-- end: 100x900 -->\n"


def test_a_section_that_is_computed_again_replaces_only_itself() -> None:
    """The results of other fleets, and the text around them, stay as they are."""
    page = with_section(with_section("# Page\n", "100x900", "old"), "1000x900", "other")
    assert with_section(page, "100x900", "new") == page.replace("old", "new")
