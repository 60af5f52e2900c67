"""The caller, and `executed_by` in Flyte's JSON."""

from copy import replace

import pytest

from byline.identity.caller import Caller

ADA = Caller(
    kind="user",
    source="alb",
    issuer="https://login.example.com",
    subject="248289761001",
    token_subject="248289761001",
    name="ada",
    given_name="Ada",
    family_name="Lovelace",
    email="ada@example.com",
)
NIGHTLY = replace(ADA, kind="application", source="bearer", subject="svc-1", name="nightly-train")


def test_person_is_a_user() -> None:
    """A person's identity is written in full as a user, without an application."""
    assert ADA.executed_by == {
        "user": {
            "id": {"subject": "248289761001"},
            "spec": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
        }
    }


def test_machine_is_an_application() -> None:
    """A service account is written as an application with its name, without an e-mail."""
    assert NIGHTLY.executed_by == {
        "application": {"id": {"subject": "svc-1"}, "spec": {"name": "nightly-train"}}
    }


def test_unknown_kind_is_neither() -> None:
    """A verified subject of unknown kind gives no `executed_by`."""
    assert replace(ADA, kind="unknown").executed_by is None


def test_empty_fields_are_left_out() -> None:
    """Fields without a value are left out."""
    executed_by = replace(ADA, family_name="", email="").executed_by
    assert executed_by is not None
    assert executed_by["user"]["spec"] == {"firstName": "Ada"}


def test_caller_without_profile_has_its_subject_alone() -> None:
    """A caller with only a subject is written with the subject alone, without an empty `spec`."""
    without_profile = replace(ADA, given_name="", family_name="", email="")
    assert without_profile.executed_by == {"user": {"id": {"subject": "248289761001"}}}


def test_caller_cannot_be_changed() -> None:
    """A verified caller is immutable."""
    with pytest.raises(AttributeError):
        ADA.subject = "root"  # type: ignore[misc]


def test_answer_that_was_changed_changes_no_other() -> None:
    """A caller is cached and shared, so `executed_by` is a new object each time."""
    first = ADA.executed_by
    assert first is not None
    first["user"]["id"]["subject"] = "root"
    assert ADA.executed_by != first
