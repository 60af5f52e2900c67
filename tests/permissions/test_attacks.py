"""IAM refuses what a function could be made to do, and calls from outside the stack."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.permissions.accesses import FORCED_DELETION
from tests.permissions.attacks import ADMINISTRATION, DELETED_CREDENTIAL, TOKENS, attacks
from tests.permissions.evaluator import Decision, Request, decide, of_role, request_of
from tests.permissions.policies import (
    ACCOUNT,
    DELETES_AT_ONCE,
    OTHER_ACCOUNT,
    arn,
    deployment,
    identity_policy,
    invocation_policy,
    trust_policy,
)
from tests.template.stack import resources, template

ATTACKS = dict(attacks())
ROLES = tuple(resources("AWS::IAM::Role"))
FUNCTION = arn("lambda", "function:RunsFunction")
ALIAS = f"{FUNCTION}:live"
LOAD_BALANCER = "elasticloadbalancing.amazonaws.com"
PERSON = f"arn:aws:iam::{ACCOUNT}:role/Developer"


@pytest.fixture(scope="module")
def decided(evaluator: None) -> Mapping[str, tuple[list[Decision], list[Decision]]]:
    """The decisions on each attack, and on the request beside it, by the attack's name."""
    del evaluator
    requests = [each for pair in ATTACKS.values() for side in pair for each in side]
    decisions = iter(decide(requests))
    return {
        name: ([next(decisions) for _ in allowed], [next(decisions) for _ in refused])
        for name, (allowed, refused) in ATTACKS.items()
    }


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_by_a_function_is_refused(
    name: str, decided: Mapping[str, tuple[list[Decision], list[Decision]]]
) -> None:
    """The role refuses the attack, and allows the request that differs from it in one thing."""
    allowed, attack = decided[name]
    assert all(decision.is_allowed for decision in allowed)
    assert not all(decision.is_allowed for decision in attack)


def test_credential_is_deleted_at_once_only_where_the_operator_says_so(evaluator: None) -> None:
    """With SecretRecoveryDays=0 the role allows what RunsFunction does then, to credentials."""
    del evaluator
    forced = replace(DELETED_CREDENTIAL, conditions=((FORCED_DELETION, "true"),))
    requests = [
        request_of(forced),
        *(
            replace(request_of(each), identity=DELETES_AT_ONCE)
            for each in (forced, replace(forced, resource=TOKENS))
        ),
    ]
    policies = {DELETES_AT_ONCE: identity_policy("RunsRole", recovery_days="0")}
    allowed = [decision.is_allowed for decision in decide(requests, policies)]
    assert allowed == [False, True, False]


def without_a_condition() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each role's policy without one condition of it: a name for that, the role, and the policy."""
    for role in ROLES:
        policy = identity_policy(role)
        for statement in policy["Statement"]:
            for operator in statement.get("Condition", {}):
                conditions = {**statement["Condition"]}
                del conditions[operator]
                weaker = {**statement, "Condition": conditions}
                statements = [weaker if each is statement else each for each in policy["Statement"]]
                yield (
                    f"{role} {statement['Sid']} {operator}",
                    role,
                    {**policy, "Statement": statements},
                )


def test_every_condition_refuses_an_attack(evaluator: None) -> None:
    """Without one condition of a statement, IAM allows an attack, or refuses what it allowed."""
    del evaluator
    requests = {
        name: [
            replace(request, identity=name)
            for allowed, refused in ATTACKS.values()
            for request in (*allowed, *refused)
            if request.identity == role
        ]
        for name, role, _ in without_a_condition()
    }
    flat = [request for each in requests.values() for request in each]
    policies = {name: policy for name, _, policy in without_a_condition()}
    weaker = decide(flat, policies)
    roles = {name: role for name, role, _ in without_a_condition()}
    right = decide([replace(request, identity=roles[request.identity]) for request in flat])
    changed = {
        request.identity
        for request, now, before in zip(flat, weaker, right, strict=True)
        if now.is_allowed != before.is_allowed
    }
    assert policies.keys() - changed == set()


def test_administration_is_refused(evaluator: None) -> None:
    """No role may change the stack, read all rows or secrets, or invoke the API."""
    del evaluator
    requests = [
        of_role(role, action, resource)
        for role in ROLES
        for action, resource in ADMINISTRATION.items()
    ]
    decisions = zip(requests, decide(requests), strict=True)
    assert not [request for request, decision in decisions if decision.is_allowed]


def target_group(kind: str, *, account: str = ACCOUNT) -> str:
    """The ARN of a target group of the stack, or of its namesake in another account."""
    name = deployment().properties(kind)["Name"]
    return arn("elasticloadbalancing", f"targetgroup/{name}/0123456789abcdef", account=account)


def invocation(source: str, *, account: str = ACCOUNT, by: str = LOAD_BALANCER) -> Request:
    """An invocation of the alias by a service, for a resource and its account."""
    context = {"aws:SourceArn": source, "aws:SourceAccount": account}
    return Request(by, "lambda:InvokeFunction", ALIAS, context, resource_policy=ALIAS)


def test_only_the_two_target_groups_invoke_the_api(evaluator: None) -> None:
    """Lambda refuses other target groups, accounts and services, people, and the bare function."""
    del evaluator
    browser, bearer = target_group("BrowserTargetGroup"), target_group("BearerTargetGroup")
    allowed = [invocation(browser), invocation(bearer)]
    other = arn("elasticloadbalancing", "targetgroup/other/0123456789abcdef")
    foreign = target_group("BrowserTargetGroup", account=OTHER_ACCOUNT)
    refused = [
        invocation(other),
        invocation(foreign, account=OTHER_ACCOUNT),
        invocation(browser, account=OTHER_ACCOUNT),
        invocation(browser, by="apigateway.amazonaws.com"),
        replace(allowed[0], context={}),
        replace(allowed[0], context={"aws:SourceAccount": ACCOUNT}),
        replace(allowed[0], principal=PERSON, context={}),
        replace(allowed[0], principal=PERSON.replace(ACCOUNT, OTHER_ACCOUNT)),
        replace(allowed[0], resource=FUNCTION),
        replace(allowed[0], action="lambda:InvokeFunctionUrl"),
    ]
    decisions = decide([*allowed, *refused], {ALIAS: invocation_policy(ALIAS)})
    assert [decision.is_allowed for decision in decisions] == [True] * 2 + [False] * len(refused)


def test_only_its_own_service_assumes_a_role(evaluator: None) -> None:
    """Another service, a person, another account's schedule, or another function is refused."""
    del evaluator
    policies = {f"trust of {role}": trust_policy(role) for role in ROLES}
    allowed, refused = [], []
    for role in ROLES:
        right, *wrong = assumptions(role)
        allowed.append(right)
        refused.extend(wrong)
    decisions = decide([*allowed, *refused], policies)
    expected = [True] * len(allowed) + [False] * len(refused)
    assert [decision.is_allowed for decision in decisions] == expected


def assumptions(role: str) -> Iterator[Request]:
    """The service's own request for a session of a role, then those that are refused."""
    [trust] = trust_policy(role)["Statement"]
    service = trust["Principal"]["Service"]
    own = Request(
        service,
        "sts:AssumeRole",
        f"arn:aws:iam::{ACCOUNT}:role/{role}",
        {"aws:SourceAccount": ACCOUNT},
        resource_policy=f"trust of {role}",
    )
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/RunsRole/session"
    yield own
    yield replace(own, principal="ec2.amazonaws.com")
    yield replace(own, principal=PERSON)
    yield replace(own, principal=PERSON.replace(ACCOUNT, OTHER_ACCOUNT))
    yield replace(own, principal=session, identity="RunsRole")
    if service == "scheduler.amazonaws.com":
        yield replace(own, context={"aws:SourceAccount": OTHER_ACCOUNT})
        yield replace(own, context={})


def test_no_resource_policy_grants_more() -> None:
    """Tables, queues, secrets and topics have no policies, so only the account's roles count."""
    kinds = {body["Type"] for body in template()["Resources"].values()} - {
        "AWS::IAM::ManagedPolicy"
    }
    assert not {kind for kind in kinds if kind.endswith("Policy")}
