"""The roles are sufficient and minimal: they allow all recorded calls, and these use all of them.

An evaluator that others maintain decides as IAM does. `calls.json` holds the calls that the
functions make in tests. The calls that AWS itself makes with the roles follow from the triggers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.permissions.accesses import FORCED_DELETION, Access
from tests.permissions.aws_requests import requests_of_aws
from tests.permissions.evaluator import Decision, Request, decide, request_of
from tests.permissions.policies import DELETES_AT_ONCE, identity_policy
from tests.permissions.recording import recorded
from tests.template.stack import listed, resources

type Decided = Sequence[tuple[Request, Decision]]
type Permission = tuple[str, str, str, str]
"""A role, the id of its statement, an action and a resource."""


@pytest.fixture(scope="module")
def decided(evaluator: None) -> Decided:
    """All requests that the stack makes, each with its decision."""
    del evaluator
    requests = [*map(request_in_its_stack, recorded()), *requests_of_aws()]
    policies = {DELETES_AT_ONCE: identity_policy("RunsRole", recovery_days="0")}
    return list(zip(requests, decide(requests, policies), strict=True))


def request_in_its_stack(access: Access) -> Request:
    """The request, in a stack with the parameter without which RunsFunction does not make it."""
    request = request_of(access)
    is_at_once = (FORCED_DELETION, "true") in access.conditions
    if request.identity == "RunsRole" and is_at_once:
        return replace(request, identity=DELETES_AT_ONCE)
    return request


def allowing(role: str) -> Iterator[dict[str, Any]]:
    """The statements of a role that allow something."""
    return (each for each in identity_policy(role)["Statement"] if each["Effect"] == "Allow")


def test_every_call_is_allowed(decided: Decided) -> None:
    """A role allows each call that its function makes, and that AWS makes for the function."""
    assert not [(request, decision) for request, decision in decided if not decision.is_allowed]


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_every_permission_is_used(role: str, decided: Decided) -> None:
    """A role allows no action on a resource that no call needs."""
    granted: set[Permission] = {
        (role, statement["Sid"], action, resource)
        for statement in allowing(role)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    used = {
        permission
        for permission in granted
        if any(uses(permission, request, decision) for request, decision in decided)
    }
    assert granted - used == set()


def uses(permission: Permission, request: Request, decision: Decision) -> bool:
    """Whether this permission allows the request."""
    role, statement, action, resource = permission
    return (
        request.identity == role
        and request.action == action
        and statement in decision.statements
        and fnmatchcase(request.resource, resource)
    )


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_every_value_of_a_condition_is_used(role: str, decided: Decided) -> None:
    """A role names no key prefix and no attribute that no call needs."""
    unused = {
        (statement["Sid"], key, value)
        for statement in allowing(role)
        for operator, condition in statement.get("Condition", {}).items()
        if operator.startswith("ForAllValues:") and "Not" not in operator
        for key, values in condition.items()
        for value in listed(values)
        if not any(
            request.identity == role
            and statement["Sid"] in decision.statements
            and any(fnmatchcase(each, value) for each in request.context.get(key, []))
            for request, decision in decided
        )
    }
    assert unused == set()


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_missing_condition_key_allows_nothing(role: str) -> None:
    """`ForAllValues` is true for a request without the key, so `Null` refuses such a request.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
    """
    for statement in allowing(role):
        conditions = statement.get("Condition", {})
        for operator, condition in conditions.items():
            if operator.startswith("ForAllValues:"):
                assert condition.keys() <= conditions["Null"].keys(), statement["Sid"]
                assert set(conditions["Null"].values()) == {"false"}
