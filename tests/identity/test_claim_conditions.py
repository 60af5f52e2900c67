"""Conditions on claims, as operators write them in `TRUSTED_ISSUERS`."""

from typing import Any

import pytest

from byline.identity.claim_conditions import (
    claim_at,
    fault_of_conditions,
    fault_of_path,
    fault_of_template,
    filled,
    hold,
)

CLAIMS: dict[str, Any] = {
    "sub": "ada",
    "azp": "Nightly",
    "star": "*",
    "name": "service-account-nightly",
    "ref": "refs/heads/main",
    "verified": True,
    "auth_time": 1_800_000_000,
    "zero": 0,
    "groups": ["staff", "ml"],
    "nothing": None,
    "empty": "",
    "kubernetes.io": {"namespace": "train", "serviceaccount": {"name": "gpu"}},
    "https://sts.example/": {"account": "1"},
}


@pytest.mark.parametrize(
    "condition",
    [
        {"sub": "ada"},
        {"sub": "*"},
        {"sub": "a*"},
        {"sub": "*a"},
        {"sub": "a*d*a"},
        {"sub": ["grace", "ada"]},
        {"sub": "!grace"},
        {"sub": ["*", "!grace"]},
        {"absent": "!grace"},
        {"absent": None},
        {"name": "(?i)service-account-{azp}"},
        {"name": "!service-account-{azp}"},
        {"name": "!service-account-{absent}"},
        {"verified": True},
        {"verified": "*"},
        {"auth_time": "*"},
        {"zero": "*"},
        {"auth_time": "1800000000"},
        {"groups": "ml"},
        {"groups": ["!admins"]},
        {"kubernetes.io": {"namespace": "tr*", "serviceaccount": {"name": "gpu"}}},
        {"kubernetes.io > serviceaccount > name": "gpu"},
        {"https://sts.example/": {"account": "1"}},
        {"sub": "ada", "ref": "refs/heads/*"},
    ],
)
def test_condition_that_the_claims_meet_holds(condition: dict[str, Any]) -> None:
    """Every kind of test passes for a claim that meets it."""
    assert hold([condition], CLAIMS)
    assert hold([{"sub": "grace"}, condition], CLAIMS)
    assert not fault_of_conditions([condition])


@pytest.mark.parametrize(
    "condition",
    [
        {"sub": "Ada"},
        {"sub": "ad"},
        {"sub": "d*"},
        {"sub": "*d"},
        {"sub": "ada*a"},
        {"sub": "a*x*a"},
        {"sub": "!ada"},
        {"sub": ["a*", "!ada"]},
        {"sub": None},
        {"sub": True},
        {"sub": "{star}"},
        {"sub": "{absent}"},
        {"sub": "{absent}ada"},
        {"star": "{sub}"},
        {"absent": "*"},
        {"nothing": "*"},
        {"nothing": None},
        {"empty": "*"},
        {"name": "service-account-{azp}"},
        {"verified": "true"},
        {"verified": "True"},
        {"verified": False},
        {"zero": False},
        {"auth_time": True},
        {"groups": "admins"},
        {"groups": ["!ml"]},
        {"kubernetes.io": "train"},
        {"kubernetes.io": {"namespace": "train", "serviceaccount": {"name": "cpu"}}},
        {"sub > name": "ada"},
        {"sub": {"name": "ada"}},
        {"sub": "ada", "ref": "refs/tags/*"},
    ],
)
def test_condition_that_the_claims_do_not_meet_does_not_hold(condition: dict[str, Any]) -> None:
    """Nothing is guessed: another case, another type, and a claim that is absent do not pass."""
    assert not hold([condition], CLAIMS)


def test_wildcard_in_a_claim_is_a_plain_character() -> None:
    """The author of a token cannot widen a condition: `*` in a claim stands for itself."""
    assert not hold([{"sub": "{client}"}], {"sub": "ada", "client": "*"})
    assert not hold([{"sub": "{client}@clients"}], {"sub": "ada@clients", "client": "*"})
    assert hold([{"sub": "{client}"}], {"sub": "*", "client": "*"})


def test_no_condition_holds_for_nobody() -> None:
    """Without alternatives nothing is proved."""
    assert not hold([], CLAIMS)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{sub}", "ada"),
        ("{kubernetes.io > namespace}/{kubernetes.io > serviceaccount > name}", "train/gpu"),
        ("{sub} @ {short ref}", "ada @ main"),
        ("{ref}", "refs/heads/main"),
        ("{short sub}", "ada"),
        ("{sub} of {absent}", ""),
        ("{verified}", ""),
    ],
)
def test_template_is_filled_only_with_all_of_its_claims(template: str, text: str) -> None:
    """A name is the template with its claims, or empty where one is missing or not text."""
    assert filled(template, CLAIMS) == text


def test_claim_whose_name_contains_the_step_is_found_first() -> None:
    """A path is the name of a claim before it is a path."""
    assert claim_at({"a > b": "1", "a": {"b": "2"}}, "a > b") == "1"


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ("sub", "must be an object"),
        ({}, "has an empty object, which every token passes"),
        ({"sub": []}, "at `sub` needs a text"),
        ({"sub": 5}, "at `sub` needs a text"),
        ({"sub": ["ada", 5]}, "at `sub` needs a text"),
        ({"sub": ""}, "at `sub` must not be empty"),
        ({"sub": "!"}, "at `sub` must not be empty"),
        ({"sub": "{azp"}, "at `sub` has a `{` or `}`"),
        ({"sub": {}}, "at `sub` has an empty object"),
        ({"": "ada"}, "at `` must name a claim"),
        ({"a > ": "ada"}, "at `a > ` must name a claim"),
    ],
)
def test_illegal_condition_is_explained(condition: Any, fault: str) -> None:
    """The message says where in the condition the fault is."""
    assert fault_of_conditions([condition]).startswith(fault)


def test_legal_paths_and_templates_have_no_fault() -> None:
    """A claim may have any name, and a template any text around its claims."""
    assert not fault_of_path("https://acme.example/tenant > name")
    assert not fault_of_template("job {run_id} of {short ref}")
    assert fault_of_template("job {run_id")
