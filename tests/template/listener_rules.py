"""The listener rule of the template that a request meets, by the conditions and default priorities.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from tests.template.stack import properties, resources, template

RULE = "AWS::ElasticLoadBalancingV2::ListenerRule"
HOST = "byline.example.com"


def rule_of(method: str, path: str, headers: Mapping[str, str], *, host: str = HOST) -> str | None:
    """The logical id of the first rule that the request meets, with `HostName` set to `HOST`.

    None where it meets no rule. `headers` have lower-case names.
    """
    for name in sorted(resources(RULE), key=_priority):
        conditions = [_enabled(each) for each in properties(RULE, name)["Conditions"]]
        if all(_holds(each, method, path, {**headers, "host": host}) for each in conditions):
            return name
    return None


def _priority(name: str) -> int:
    parameter = properties(RULE, name)["Priority"]["Ref"]
    default: int = template()["Parameters"][parameter]["Default"]
    return default


def _enabled(condition: Any) -> Any:
    """The condition with `HostName` set."""
    return condition["Fn::If"][1] if "Fn::If" in condition else condition


def _holds(condition: Any, method: str, path: str, headers: Mapping[str, str]) -> bool:
    match condition:
        case {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": values}}:
            return method in values
        case {"Field": "path-pattern", "PathPatternConfig": {"Values": values}}:
            return any(fnmatchcase(path, value) for value in values)
        case {"Field": "host-header", "HostHeaderConfig": {"Values": [{"Ref": "HostName"}]}}:
            return headers["host"] == HOST
        case {
            "Field": "http-header",
            "HttpHeaderConfig": {"HttpHeaderName": name, "Values": values},
        }:
            text = headers.get(name.lower(), "").lower()  # compared without regard to case
            return any(fnmatchcase(text, value.lower()) for value in values)
    raise AssertionError(f"{condition} is no condition that the template uses")
