"""Asks an evaluator of IAM policies, which others maintain, to decide requests.

https://github.com/cloud-copilot/iam-simulate
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.permissions.accesses import Access
from tests.permissions.policies import ACCOUNT, AUDIENCE, STACK, arn, identity_policy, role_of

PROGRAM = Path(__file__).with_name("evaluate.mjs")
INSTALLED = PROGRAM.with_name("node_modules") / "@cloud-copilot/iam-simulate"

SAMPLE = "apollo"
"""What stands for the part of a key that an `Access` leaves out."""
SUFFIX = "-a1B2c3"
"""Secrets Manager ends the ARN of each secret in six characters of its own."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that IAM decides.

    `identity` names the policy of the principal, and `resource_policy` that of the resource; each
    may be empty.
    """

    principal: str
    action: str
    resource: str
    context: dict[str, Any] = field(default_factory=dict)
    identity: str = ""
    resource_policy: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`Allowed`, `ExplicitlyDenied` or `ImplicitlyDenied`, and the ids of the statements."""

    result: str
    statements: tuple[str, ...]

    @property
    def is_allowed(self) -> bool:
        """Whether IAM allows the request."""
        return self.result == "Allowed"


def request_of(access: Access) -> Request:
    """The request that IAM decides when a function makes this access."""
    service = access.action.partition(":")[0]
    kind = {"dynamodb": "table/", "secretsmanager": f"secret:{STACK}/"}.get(service, "")
    name = access.resource.replace("*", SAMPLE)
    ending = SUFFIX if service == "secretsmanager" else ""
    context: dict[str, Any] = dict(access.conditions)
    if access.keys:
        context["dynamodb:LeadingKeys"] = [key.replace("*", SAMPLE) for key in access.keys]
    if access.attributes:
        context["dynamodb:Attributes"] = sorted(access.attributes)
    if service == "sts":
        context["sts:IdentityTokenAudience"] = [AUDIENCE]
        return of_role(role_of(access.function), access.action, "*", context)
    return of_role(
        role_of(access.function), access.action, arn(service, f"{kind}{name}{ending}"), context
    )


def of_role(
    role: str, action: str, resource: str, context: dict[str, Any] | None = None
) -> Request:
    """A request of a session of one of the template's roles."""
    principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/session"
    return Request(principal, action, resource, context or {}, identity=role)


def decide(requests: Sequence[Request], policies: dict[str, Any] | None = None) -> list[Decision]:
    """The decisions on all requests, in one run of the evaluator.

    `policies`: those that requests name, beside the identity policies of the template's roles.
    """
    known = dict(policies or {})
    roles = {request.identity for request in requests if request.identity} - known.keys()
    known |= {role: identity_policy(role) for role in roles}
    document = {
        "policies": known,
        "requests": [
            {
                "principal": request.principal,
                "action": request.action,
                "resource": request.resource,
                "context": request.context,
                "identity": request.identity,
                "resourcePolicy": request.resource_policy,
            }
            for request in requests
        ],
    }
    answer = subprocess.run(
        ["node", PROGRAM, ACCOUNT],
        input=json.dumps(document),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return [
        Decision(each["result"], tuple(each["statements"])) for each in json.loads(answer.stdout)
    ]
