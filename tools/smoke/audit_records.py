"""The role of RunsFunction cannot change an audit record, by IAM's own simulation.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

import json
from typing import Any

from byline.tables.rows import AUDIT
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed, NotChecked

CHANGES = ("dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem")
CONTROL = "dynamodb:UpdateItem"
LEADING_KEYS = "dynamodb:LeadingKeys"


def check(surroundings: Surroundings, _: Cleanup) -> str:
    """Simulate each change of a record, and of another row, which must be allowed."""
    stack = surroundings.stack
    client = stack.client("iam")
    table = stack.client("dynamodb").describe_table(TableName=stack.outputs["AccessTable"])
    arn = table["Table"]["TableArn"]

    def decisions(*actions: str, key: str) -> dict[str, str]:
        return _by_action(
            client.simulate_principal_policy(
                PolicySourceArn=stack.live["Role"],
                ActionNames=list(actions),
                ResourceArns=[arn],
                ContextEntries=_leading(key),
            )
        )

    record = f"{AUDIT}{surroundings.project}#run#smoke"
    for action, decision in decisions(*CHANGES, key=record).items():
        if decision != "explicitDeny":
            if not _evaluates_leading_keys(client):
                raise NotChecked(f"the IAM of this account does not evaluate {LEADING_KEYS}")
            raise Failed(f"explicitDeny for {action} of an audit record", decision)
    for action, key in (("dynamodb:PutItem", record), (CONTROL, f"project#{surroundings.project}")):
        if (decision := decisions(action, key=key)[action]) != "allowed":
            raise Failed(f"allowed for {action} of {key.partition('#')[0]}", decision)
    return ""


def _evaluates_leading_keys(client: Any) -> bool:
    """Whether the simulation knows the condition: it must deny what this policy denies."""
    allow = {"Effect": "Allow", "Action": CONTROL, "Resource": "*"}
    condition = {"ForAnyValue:StringLike": {LEADING_KEYS: ["smoke#*"]}}
    deny = {**allow, "Effect": "Deny", "Condition": condition}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})
    answer = client.simulate_custom_policy(
        PolicyInputList=[policy], ActionNames=[CONTROL], ContextEntries=_leading("smoke#1")
    )
    return _by_action(answer)[CONTROL] == "explicitDeny"


def _leading(key: str) -> list[dict[str, Any]]:
    return [
        {
            "ContextKeyName": LEADING_KEYS,
            "ContextKeyValues": [key],
            "ContextKeyType": "stringList",
        }
    ]


def _by_action(answer: Any) -> dict[str, str]:
    return {each["EvalActionName"]: each["EvalDecision"] for each in answer["EvaluationResults"]}
