"""`make smoke` of the template's role: an audit record cannot be changed, and other rows can.

The evaluator takes the place of IAM's simulation, which no AWS on this machine has with conditions.
"""

import json
from functools import partial
from typing import Any

import pytest

from tests.deploy.smoke_fakes import FakeStack, around, verdict_of
from tests.permissions.evaluator import Request, decide, of_role
from tests.permissions.policies import arn, identity_policy
from tools.smoke import audit_records
from tools.smoke.verdicts import Verdict

ROLE = "RunsRole"
TABLE = arn("dynamodb", "table/AccessTable")
RESULTS = {
    "Allowed": "allowed",
    "ExplicitlyDenied": "explicitDeny",
    "ImplicitlyDenied": "implicitDeny",
}

pytestmark = pytest.mark.usefixtures("evaluator")


class Simulation:
    """IAM with one role. `knows_keys`: whether it evaluates `dynamodb:LeadingKeys`."""

    def __init__(self, policy: Any, *, knows_keys: bool = True) -> None:
        self._policy = policy
        self._knows_keys = knows_keys

    @staticmethod
    def describe_table(**_: str) -> Any:
        return {"Table": {"TableArn": TABLE}}

    def simulate_principal_policy(self, **request: Any) -> Any:
        return self._answer(self._policy, **request)

    def simulate_custom_policy(self, **request: Any) -> Any:
        [policy] = request["PolicyInputList"]
        return self._answer(json.loads(policy), **request)

    def _answer(self, policy: Any, **request: Any) -> Any:
        [entry] = request["ContextEntries"]
        assert entry["ContextKeyType"] == "stringList"
        context = {entry["ContextKeyName"]: entry["ContextKeyValues"]} if self._knows_keys else {}
        actions = request["ActionNames"]
        requests: list[Request] = [of_role(ROLE, action, TABLE, context) for action in actions]
        decisions = decide(requests, {ROLE: policy})
        return {
            "EvaluationResults": [
                {"EvalActionName": action, "EvalDecision": RESULTS[decision.result]}
                for action, decision in zip(actions, decisions, strict=True)
            ]
        }


def audited(policy: Any, *, knows_keys: bool = True) -> Verdict:
    """The verdict about a role with this policy."""
    simulation = Simulation(policy, knows_keys=knows_keys)
    stack = FakeStack(iam=simulation, dynamodb=simulation)
    return verdict_of(partial(audit_records.check, around(stack)))


def without(*sids: str) -> Any:
    """The policy of the template's role without these statements."""
    policy = identity_policy(ROLE)
    kept = [each for each in policy["Statement"] if each["Sid"] not in sids]
    assert len(kept) == len(policy["Statement"]) - len(sids)
    return {**policy, "Statement": kept}


def test_role_of_the_template_passes() -> None:
    """The role may write records and change roles, and is denied any change of a record."""
    assert audited(without()) == Verdict("check", "ok", "")


def test_role_without_the_denial_fails() -> None:
    """The check names the action that is not denied."""
    verdict = audited(without("AuditIsAppendOnly"))
    expected = (
        "expected explicitDeny for dynamodb:UpdateItem of an audit record; seen: implicitDeny"
    )
    assert (verdict.outcome, verdict.detail) == ("FAILED", expected)


@pytest.mark.parametrize(
    ("sid", "action", "row"),
    [
        ("Access", "dynamodb:PutItem", "audit"),
        ("AccessChanges", "dynamodb:UpdateItem", "project"),
    ],
)
def test_role_that_is_denied_everything_fails(sid: str, action: str, row: str) -> None:
    """A denial of every write is no proof, because then nothing works."""
    verdict = audited(without(sid))
    expected = f"expected allowed for {action} of {row}; seen: implicitDeny"
    assert (verdict.outcome, verdict.detail) == ("FAILED", expected)


def test_simulation_without_leading_keys_is_not_checked() -> None:
    """Where the simulation ignores the condition, its answer means nothing."""
    assert audited(without(), knows_keys=False).outcome == "not checked"
