"""The check that RunsFunction's role cannot change an audit record, with a simulation of IAM.

ministack's simulation evaluates no condition, so the template's own role is not evaluated here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.deploy.smoke_fakes import FakeStack, around, verdict_of
from tools.smoke import audit_records
from tools.smoke.verdicts import Verdict


class Simulation:
    """IAM's simulation with these decisions by action and leading key."""

    def __init__(self, decide: Callable[[str, str], str], *, knows_keys: bool = True) -> None:
        self._decide = decide
        self._knows_keys = knows_keys

    def describe_table(self, **_: str) -> Any:
        return {"Table": {"TableArn": "arn:aws:dynamodb:us-east-1:123456789012:table/access"}}

    def simulate_principal_policy(self, **request: Any) -> Any:
        [entry] = request["ContextEntries"]
        [key] = entry["ContextKeyValues"]
        return self._results({name: self._decide(name, key) for name in request["ActionNames"]})

    def simulate_custom_policy(self, **request: Any) -> Any:
        decision = "explicitDeny" if self._knows_keys else "allowed"
        return self._results(dict.fromkeys(request["ActionNames"], decision))

    @staticmethod
    def _results(decisions: dict[str, str]) -> Any:
        return {
            "EvaluationResults": [
                {"EvalActionName": name, "EvalDecision": decision}
                for name, decision in decisions.items()
            ]
        }


def audited(simulation: Simulation) -> Verdict:
    """The verdict about the role that `simulation` knows."""
    stack = FakeStack(iam=simulation, dynamodb=simulation)
    return verdict_of(partial(audit_records.check, around(stack)))


def as_deployed(action: str, key: str) -> str:
    """The decisions of the template's role."""
    is_record = key.startswith("audit#")
    return "explicitDeny" if is_record and action != "dynamodb:PutItem" else "allowed"


def test_explicit_denial_of_changes_passes() -> None:
    """A role that may write records and other rows, and change no record, is in order."""
    assert audited(Simulation(as_deployed)).outcome == "ok"


@pytest.mark.parametrize("action", audit_records.CHANGES)
def test_role_that_may_change_a_record_fails(action: str) -> None:
    """The check names the action that is not denied."""
    verdict = audited(
        Simulation(
            lambda name, is_record: "allowed" if name == action else as_deployed(name, is_record)
        )
    )
    expected = f"expected explicitDeny for {action} of an audit record; seen: allowed"
    assert (verdict.outcome, verdict.detail) == ("FAILED", expected)


def test_role_that_is_denied_everything_fails() -> None:
    """A denial of every write is no proof, because then nothing works."""
    verdict = audited(Simulation(lambda *_: "explicitDeny"))
    assert (verdict.outcome, verdict.detail) == (
        "FAILED",
        "expected allowed for dynamodb:PutItem of audit; seen: explicitDeny",
    )


def test_simulation_without_leading_keys_is_not_checked() -> None:
    """Where the simulation ignores the condition, its answer means nothing."""
    verdict = audited(Simulation(lambda *_: "allowed", knows_keys=False))
    assert verdict.outcome == "not checked"
