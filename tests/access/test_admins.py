"""The principals of `PROJECT_ADMINS`, and the issuers of subjects that are given without one."""

import json

import pytest

from byline.errors import Misconfigured
from byline.identity.caller import ANONYMOUS, Principal
from byline.identity.settings import IdentitySettings
from serve_runs.access.admins import default_issuers, read_admins
from tests.identity import alb_tokens

BROWSERS = "https://login.example.com"
MACHINES = "https://machines.example.com"
OTHERS = "https://others.example.com"


def admins(text: str, *trusted: str, browsers: str = BROWSERS) -> frozenset[Principal]:
    """The admins of a deployment that trusts these issuers for Bearer tokens."""
    environment = {
        **alb_tokens.ENVIRONMENT,
        "OIDC_ISSUER": browsers,
        "TRUSTED_ISSUERS": json.dumps(
            [{"issuer": name, "audiences": ["byline"], "profile": "generic"} for name in trusted]
        ),
    }
    if not browsers:
        del environment["LOAD_BALANCER_ARNS"], environment["OIDC_CLIENT_ID"]
    settings = IdentitySettings.from_environment(environment)
    return read_admins(text, issuers=default_issuers(settings))


def test_admins_are_read_with_kind_and_issuer() -> None:
    """Kind and issuer may be left out; a subject may contain a colon."""
    expected = {
        Principal("user", BROWSERS, "ada"),
        Principal("user", OTHERS, "a:b"),
        Principal("application", MACHINES, "nightly"),
        ANONYMOUS,
    }
    text = f"ada, user:{OTHERS}#a:b, application:{MACHINES}#nightly, anonymous,"
    assert admins(text, MACHINES, OTHERS) == expected


def test_person_without_an_issuer_is_of_the_issuer_that_browsers_sign_in_with() -> None:
    """Without browsers, the person is of the only trusted issuer."""
    assert admins("ada", MACHINES) == {Principal("user", BROWSERS, "ada")}
    assert admins("ada", MACHINES, browsers="") == {Principal("user", MACHINES, "ada")}


def test_application_without_an_issuer_is_of_the_only_issuer_of_bearer_tokens() -> None:
    """No application signs in with a browser, so the issuer of browsers is never assumed."""
    assert admins("application:ci", MACHINES) == {Principal("application", MACHINES, "ci")}


@pytest.mark.parametrize(
    ("entry", "trusted"),
    [
        pytest.param("application:ci", (), id="no issuer of Bearer tokens"),
        pytest.param("application:ci", (BROWSERS, MACHINES), id="two, one that of browsers"),
    ],
)
def test_application_without_an_issuer_fails_the_cold_start_where_none_is_certain(
    entry: str, trusted: tuple[str, ...]
) -> None:
    """The function does not start with an admin that may be another application."""
    with pytest.raises(Misconfigured, match=r"PROJECT_ADMINS.*'ci' needs its issuer"):
        admins(entry, *trusted)


@pytest.mark.parametrize(
    "entry",
    ["a\u200bda", "a\u202eda", f"user:{OTHERS}\u2060#ada", "application:gpu\u00adci", "user: ada"],
)
def test_admin_with_an_invisible_character_fails_the_cold_start(entry: str) -> None:
    """The message names the character, which a reader of the setting does not see."""
    with pytest.raises(Misconfigured, match=r"PROJECT_ADMINS.*(U\+[0-9A-F]{4}|a space)"):
        admins(entry, MACHINES)


@pytest.mark.parametrize("entry", ["#ada", f"{OTHERS}#", "user:#"])
def test_admin_without_subject_or_issuer_fails_the_cold_start(entry: str) -> None:
    """An incomplete entry would be an admin that nobody is."""
    with pytest.raises(Misconfigured, match="lacks a subject or an issuer"):
        admins(entry, MACHINES)
