"""The web console on one machine: its function, and the listener rule of `console.yaml`."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from local.aws import ROOT
from local.lambda_runtime import Function
from local.load_balancer_events import Reply, Request
from local.load_balancer_forward import forward
from local.template import Json, Template

FUNCTION = "ServeConsoleFunction"
TARGET_GROUP = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/byline-console/0"


@dataclass(frozen=True, slots=True)
class ConsoleTemplate:
    """`console.yaml`, as far as this machine has what it creates."""

    function: Function
    methods: tuple[str, ...]
    paths: tuple[str, ...]

    @classmethod
    def read(cls) -> "ConsoleTemplate":
        """Read the function, and the conditions of the rule but that of the host name."""
        template = Template.read(ROOT / "console.yaml")
        [rule] = template.resources("AWS::ElasticLoadBalancingV2::ListenerRule").values()
        conditions: Json = {each.get("Field"): each for each in rule["Properties"]["Conditions"]}
        return cls(
            template.function_without_settings(FUNCTION),
            methods=tuple(conditions["http-request-method"]["HttpRequestMethodConfig"]["Values"]),
            paths=tuple(conditions["path-pattern"]["PathPatternConfig"]["Values"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleRule:
    """The rule with its target. `sign_in` is what it does before it forwards."""

    template: ConsoleTemplate
    sign_in: Callable[[Request], Request | Reply]
    invoke: Callable[[Any], Any]

    def matches(self, request: Request) -> bool:
        """Whether the load balancer applies the rule to the request."""
        return request.method in self.template.methods and any(
            fnmatchcase(request.path, pattern) for pattern in self.template.paths
        )

    def answer(self, request: Request) -> Reply:
        """The reply to a request that matches."""
        return forward(
            self.sign_in(request), invoke=self.invoke, arn=TARGET_GROUP, shape="multi-value"
        )
