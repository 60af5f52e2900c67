"""Everything together: AWS, an OpenID provider, a load balancer, and the functions of the template.

with Stack() as stack:
    httpx.get(f"{stack.url}/healthz")
"""

import json
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Self

import boto3

from local.aws import ROOT, AwsServer
from local.bearer_rule import BearerRule
from local.browser_rule import BrowserRule
from local.lambda_runtime import REGION, FunctionHost
from local.listening import WebServer, listen, url_of
from local.load_balancer import LoadBalancer, Rule, TargetGroups
from local.load_balancer_events import Shape
from local.load_balancer_signing import ARN, Signer, public_keys
from local.openid_client import OpenIDClient
from local.openid_provider import AUDIENCE, BROWSER_CLIENT, OpenIDProvider
from local.sample_keys import sample_issuer_keys, sample_load_balancer_keys
from local.template import Template

INSTANCES = 2
"""Of each function, so that one slow request does not stop the next."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen; 0 is a free port."""

    load_balancer: int = 0
    provider: int = 0
    aws: int = 0
    keys: int = 0

    @classmethod
    def from_first(cls, port: int) -> "Ports":
        """The load balancer on `port`, the rest on the ports after it."""
        return cls(port, port + 1, port + 2, port + 3)


@dataclass(frozen=True, slots=True)
class OutsideProvider:
    """An OpenID provider that takes the place of ours."""

    issuer: str
    client_id: str
    client_secret: str
    audience: str = AUDIENCE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "OutsideProvider | None":
        """None where none is set. Raises `ValueError` where only some of it is."""
        names = ("LOCAL_OIDC_ISSUER", "LOCAL_OIDC_CLIENT_ID", "LOCAL_OIDC_CLIENT_SECRET")
        values = [environment.get(name, "") for name in names]
        if not any(values):
            return None
        missing = [name for name, value in zip(names, values, strict=True) if not value]
        if missing:
            raise ValueError(
                f"{' and '.join(missing)} must be set too, for a provider from outside"
            )
        issuer, client_id, client_secret = values
        audience = environment.get("LOCAL_AUDIENCE") or AUDIENCE
        return cls(issuer, client_id, client_secret, audience)


class Stack:
    """The stack on loopback, from entering the block to leaving it.

    `outside`: sign in there instead of at our own provider; `shape`: of the function's events;
    `log_folder`: where the functions' output goes, a temporary folder if none is given;
    `access_log`: gets a line for each request.
    """

    url: str
    issuer: str
    audience: str
    functions: dict[str, FunctionHost]

    def __init__(
        self,
        *,
        ports: Ports = Ports(),
        outside: OutsideProvider | None = None,
        shape: Shape = "multi-value",
        log_folder: Path | None = None,
        access_log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ports = ports
        self._outside = outside
        self._shape: Shape = shape
        self._access_log = access_log
        self.log_folder = log_folder
        self.signer = Signer()
        self.published_keys = sample_load_balancer_keys() | {
            self.signer.kid: self.signer.public_key
        }
        """Of all load balancers of the region, as AWS publishes them: ours and anybody's."""
        self.provider: OpenIDProvider | None = None

    def __enter__(self) -> Self:
        """Start. Raises `PortTaken`, `InitFailed` and `ProviderFailed`."""
        with ExitStack() as exits:
            self._start(exits)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def load_balancer(self, listener: socket.socket, browser_rule: Rule) -> LoadBalancer:
        """A load balancer before RunsFunction: the stack's own, or one that somebody else made."""
        runs = self.functions["RunsFunction"]
        return LoadBalancer(
            listener,
            invoke=runs.invoke,
            target_groups=TargetGroups(
                browser=runs.environment["BROWSER_TARGET_GROUP"],
                bearer=runs.environment["BEARER_TARGET_GROUP"],
            ),
            browser_rule=browser_rule,
            bearer_rule=self._bearer_rule,
            shape=self._shape,
            log=self._access_log,
        )

    def log_text(self) -> str:
        """All that the functions printed so far."""
        assert self.log_folder is not None  # noqa: S101 - set by entering
        return "".join(log.read_text(errors="replace") for log in self.log_folder.glob("*.log"))

    def _start(self, exits: ExitStack) -> None:
        # All ports first: what is taken is told before anything runs.
        listeners = [exits.enter_context(listen(port)) for port in astuple(self._ports)]
        at_load_balancer, at_provider, at_aws, at_keys = listeners
        self.aws = exits.enter_context(AwsServer(at_aws))
        self.keys_url = url_of(at_keys)
        exits.enter_context(WebServer(public_keys(self.published_keys), at_keys))
        openid = exits.enter_context(closing(self._openid_client(exits, at_provider)))
        self.functions = self._start_functions(exits, openid)
        self._bearer_rule = BearerRule(openid)
        rule = BrowserRule(openid, self.signer, now=time.time)
        self.url = exits.enter_context(self.load_balancer(at_load_balancer, rule)).url

    def _openid_client(self, exits: ExitStack, listener: socket.socket) -> OpenIDClient:
        if self._outside is not None:
            self.issuer, self.audience = self._outside.issuer, self._outside.audience
            client = OpenIDClient(self.issuer, self._outside.client_id, self._outside.client_secret)
            listener.close()
        else:
            self.issuer, self.audience = url_of(listener), AUDIENCE
            self.provider = OpenIDProvider(self.issuer, extra_keys=sample_issuer_keys())
            exits.enter_context(WebServer(self.provider.application, listener))
            client = OpenIDClient(self.issuer, BROWSER_CLIENT, self.provider.browser_secret)
        return client

    def _start_functions(self, exits: ExitStack, openid: OpenIDClient) -> dict[str, FunctionHost]:
        trusted = {
            "issuer": self.issuer,
            "audiences": [self.audience],
            "profile": "generic",
            "userinfo": True,
        }
        cloudformation = boto3.client(
            "cloudformation",
            endpoint_url=self.aws.url,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        functions = Template.read(ROOT / "template.yaml").deploy(
            cloudformation,
            parameters={
                "LoadBalancerArns": ARN,
                "OidcIssuer": self.issuer,
                "OidcClientId": openid.client_id,
                "TrustedIssuers": json.dumps([trusted]),
                "AlbPublicKeysUrl": self.keys_url,
            },
        )
        if self.log_folder is None:
            self.log_folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        self.log_folder.mkdir(parents=True, exist_ok=True)
        hosts = {}
        for name, function in functions.items():
            here = replace(function, environment={**function.environment, **self.aws.environment})
            log = exits.enter_context((self.log_folder / f"{name}.log").open("wb"))
            hosts[name] = exits.enter_context(FunctionHost(here, instances=INSTANCES, log=log))
        for host in hosts.values():
            host.wait_until_ready()
        return hosts
