"""All names follow one rule, and no two names collide."""

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.errors import Misconfigured
from byline.names import NAME_PATTERN, is_name, naming_rule
from byline.refresh.work_units import SecretNames
from byline.settings import secret_prefix

SECRETS = SecretNames("stage")
NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)
NEARLY_NAMES = st.text("aA0-/_. ", min_size=1, max_size=3)
"""Few enough to meet, were they taken for one another."""

TOKEN_IDS = st.from_regex(r"[0-9a-hjkmnp-tv-z]{26}", fullmatch=True)

type Place = tuple[str, ...]


def secret_path(place: Place) -> str:
    kind, project, name, *slot = place
    if kind == "client":
        return SECRETS.client(project, name)
    token_id, number = slot
    return SECRETS.token(project, name, token_id, int(number))


NEARLY_PREFIXES = st.lists(
    st.sampled_from(["a", "A", "0", "-", "/", "*", "clients", "tokens"]), min_size=1, max_size=4
).map("".join)
"""The same for prefixes, with the parts that follow a prefix."""

PLACES = st.one_of(
    st.tuples(st.just("client"), NAMES, NAMES),
    st.tuples(st.just("token"), NAMES, NAMES, TOKEN_IDS, st.integers(0, 71).map(str)),
)


@pytest.mark.parametrize("text", ["a", "0", "a-b", "a--b", "a" * 63, "gpu-1", "1"])
def test_label_in_lower_case_is_a_name(text: str) -> None:
    """A DNS label: up to 63 characters, hyphens inside."""
    assert is_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-a",
        "a-",
        "-",
        "a" * 64,
        "A",
        "a_b",
        "a.b",
        "a/b",
        "a b",
        "a\n",
        "\na",
        "é",
        "a#b",
        "ａ",
    ],
)
def test_anything_else_is_no_name(text: str) -> None:
    """Nothing is folded, trimmed or taken for something near it."""
    assert not is_name(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [("My_Project", "my-project"), (" gpu 1 ", "gpu-1"), ("a/../b", "a-b"), ("Été", "t")],
)
def test_refusal_names_the_legal_name_that_is_near(text: str, name: str) -> None:
    """The sender sees a legal name to use."""
    rule = naming_rule(text, of="project")
    assert rule.startswith("A project's name has 1 to 63 characters")
    assert rule.endswith(f"`{name}` would be one.")


@pytest.mark.parametrize("text", ["", "___", "A" * 64, "é"])
def test_refusal_makes_no_name_up(text: str) -> None:
    """Where nothing legal is near, none is named: cutting a name short could meet another."""
    assert "would be" not in naming_rule(text, of="runner")


@given(st.text(max_size=200))
def test_refusal_quotes_nothing_but_a_name(text: str) -> None:
    """Whatever was sent, the answer carries none of it but what is legal anyway."""
    for quoted in re.findall(r"`(.*?)`", naming_rule(text, of="client"), re.DOTALL):
        assert is_name(quoted)


@given(PLACES, PLACES)
def test_no_two_names_share_a_secret(one: Place, other: Place) -> None:
    """Different project, name, slot or kind: a different secret, in any case of letters."""
    same = secret_path(one).casefold() == secret_path(other).casefold()
    assert same == (one == other)


@given(NEARLY_NAMES, NEARLY_NAMES, NEARLY_NAMES, NEARLY_NAMES)
def test_no_two_texts_that_pass_for_names_share_a_secret(
    project: str, client: str, other_project: str, other_client: str
) -> None:
    """The same of whatever is accepted, should the rule ever be loosened."""
    one, other = (project, client), (other_project, other_client)
    if all(is_name(text) for text in (*one, *other)) and one != other:
        paths = {SECRETS.token(*place, "id", 0).casefold() for place in (one, other)}
        assert len(paths) == 2


@given(PLACES)
def test_secret_path_tells_its_names(place: Place) -> None:
    """It can be read back in one way only, so no two places can have the same one."""
    kind, *names = place
    assert secret_path(place).split("/") == ["stage", f"{kind}s", *names]


@given(NAMES, NAMES, TOKEN_IDS)
def test_no_name_looks_like_the_end_of_an_arn(project: str, client: str, token_id: str) -> None:
    """A partial ARN works because no secret of a token ends like AWS's random suffix."""
    assert not re.search(r"-[A-Za-z0-9]{6}$", SECRETS.token(project, client, token_id, 0))


@given(NEARLY_PREFIXES, NEARLY_PREFIXES)
def test_no_prefix_matches_the_secrets_of_another(one: str, other: str) -> None:
    """A policy that allows all secrets of one prefix allows none of another one."""
    names = []
    for prefix in (one, other):
        try:
            names.append(SecretNames(secret_prefix({"SECRET_PREFIX": prefix})))
        except Misconfigured:
            return
    if one == other:
        return
    for name in (names[1].client("p", "c"), names[1].token("p", "c", "id", 0)):
        assert not fnmatchcase(name, f"{one}/*")
