"""The whole stack on loopback: AWS, an OpenID provider, a load balancer and the functions.

with Stack() as stack:
    httpx.get(f"{stack.url}/healthz")
"""

import json
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from copy import replace
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

from local.aws import ROOT, MotoServer
from local.bearer_rule import BearerRule, ForwardRule
from local.browser_rule import BrowserRule
from local.console import FUNCTION as CONSOLE_FUNCTION
from local.console import ConsoleRule, ConsoleTemplate
from local.guard import Clients
from local.lambda_runtime import Function, FunctionHost
from local.listening import WebServer, listen, url_of
from local.load_balancer import ListenerRule, LoadBalancer, TargetGroups
from local.load_balancer_events import Shape
from local.load_balancer_signing import ARN, Signer, public_keys
from local.openid_client import OpenIDClient
from local.openid_provider import ADA, AUDIENCE, BROWSER_CLIENT, CLI_CLIENT, OpenIDProvider
from local.outside_provider import PROFILE, OutsideProvider
from local.queue_poller import QueuePoller
from local.sample_keys import sample_issuer_keys, sample_load_balancer_keys
from local.stream_poller import StreamPoller
from local.template import Template
from local.ticker import Ticker
from local.triggers import queue_sources, schedules, stream_sources

INSTANCES = 2
"""The most processes of each function, so that one slow request does not stop the next."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports to listen on; 0 means any free port."""

    load_balancer: int = 0
    provider: int = 0
    aws: int = 0
    keys: int = 0

    @classmethod
    def from_first(cls, port: int) -> "Ports":
        """The load balancer on `port`, the others on the three ports after it."""
        return cls(port, port + 1, port + 2, port + 3)


class Stack:
    """The stack on loopback, from entering the block to leaving it.

    `outside`: the OpenID provider to use in place of our own. `authorization_service_url`: where
    runs are registered; empty switches registration off. `shape`: the shape of RunsFunction's
    events. `tick_seconds`: the period of all schedules, by default the template's own.
    `log_folder`: the folder of the functions' output, by default a temporary one. `environment`:
    more variables of all functions, as an operator may set them. `access_log` is
    called with a line for each request and for each failure in the background, and `progress` with
    a line for each step of the start.
    """

    url: str
    issuer: str
    audience: str
    functions: dict[str, FunctionHost]

    def __init__(  # noqa: PLR0913 - the options of two commands
        self,
        *,
        ports: Ports = Ports(),
        outside: OutsideProvider | None = None,
        authorization_service_url: str = "",
        shape: Shape = "multi-value",
        tick_seconds: float | None = None,
        log_folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        access_log: Callable[[str], None] = lambda _: None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ports = ports
        self._outside = outside
        self._authorization_service_url = authorization_service_url
        self._shape: Shape = shape
        self._tick_seconds = tick_seconds
        self._environment = environment or {}
        self._access_log = access_log
        self._progress = progress
        self.log_folder = log_folder
        self.signer = Signer()
        self.published_keys = sample_load_balancer_keys() | {
            self.signer.kid: self.signer.public_key
        }
        """The public keys of all load balancers of the region, as AWS publishes them, by key id."""
        self.provider: OpenIDProvider | None = None

    def __enter__(self) -> Self:
        """Start. Raises `PortTaken`, `InitFailed` and `ProviderFailed`."""
        with ExitStack() as exits:
            self._start(exits)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def load_balancer(self, listener: socket.socket, browser_rule: ListenerRule) -> LoadBalancer:
        """A load balancer in front of RunsFunction: the stack's own, or an attacker's."""
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

    def give_client(self, project: str, name: str, *, secret: str | None = None) -> None:
        """Store our provider's client `name` for the runners of `project`, as an operator does.

        `secret` replaces the client's own secret.
        """
        document = {
            "issuer": self.issuer,
            "client_id": name,
            "auth_method": "client_secret_basic",
            "client_secret": secret or f"{name}-secret",
        }
        self.aws.client("secretsmanager").create_secret(
            Name=f"{self.secret_prefix}/clients/{project}/{name}",
            SecretString=json.dumps(document),
        )

    @property
    def secret_prefix(self) -> str:
        """The first part of the names of the stack's secrets."""
        return self.functions["RefreshTokensFunction"].environment["SECRET_PREFIX"]

    def log_text(self) -> str:
        """The output of all functions so far."""
        assert self.log_folder is not None  # noqa: S101 - set by entering
        return "".join(log.read_text(errors="replace") for log in self.log_folder.glob("*.log"))

    def _start(self, exits: ExitStack) -> None:
        # All ports first, so that a taken port is reported before anything runs.
        listeners = [exits.enter_context(listen(port)) for port in astuple(self._ports)]
        at_load_balancer, at_provider, at_aws, at_keys = listeners
        self._progress("starting moto as AWS")
        self.aws = exits.enter_context(MotoServer(at_aws))
        self.keys_url = url_of(at_keys)
        exits.enter_context(WebServer(public_keys(self.published_keys), at_keys))
        self._progress("starting the OpenID provider")
        openid = exits.enter_context(closing(self._openid_client(exits, at_provider)))
        self._progress("creating the resources of template.yaml, once moto answers")
        template = Template.read(ROOT / "template.yaml")
        console = ConsoleTemplate.read()
        functions = self._deploy(template, openid, url_of(at_load_balancer))
        functions[CONSOLE_FUNCTION] = console.function
        self.functions = self._start_functions(exits, functions)
        self._start_triggers(exits, template)
        # With several issuers the load balancer verifies no Bearer token: RunsFunction does.
        self._bearer_rule = ForwardRule() if self.provider is not None else BearerRule(openid)
        cookie_name = self.functions["RunsFunction"].environment["SESSION_COOKIE_NAME"]
        rule = BrowserRule(openid, self.signer, now=time.time, cookie_name=cookie_name)
        balancer = self.load_balancer(at_load_balancer, rule)
        balancer.console = ConsoleRule(
            template=console,
            sign_in=rule.apply_to_console,
            invoke=self.functions[CONSOLE_FUNCTION].invoke,
        )
        self.url = exits.enter_context(balancer).url

    def _openid_client(self, exits: ExitStack, listener: socket.socket) -> OpenIDClient:
        if self._outside is not None:
            self.issuer, self.audience = self._outside.issuer, self._outside.audience
            client = OpenIDClient(self.issuer, self._outside.client_id, self._outside.client_secret)
            listener.close()
        else:
            self.issuer, self.audience = url_of(listener), AUDIENCE
            self.provider = OpenIDProvider(self.issuer, extra_keys=sample_issuer_keys())
            server = WebServer(self.provider.application, listener, clients=Clients.BROWSERS)
            exits.enter_context(server)
            client = OpenIDClient(self.issuer, BROWSER_CLIENT, self.provider.browser_secret)
        return client

    def _deploy(
        self, template: Template, openid: OpenIDClient, public_url: str
    ) -> dict[str, Function]:
        trusted = {
            "issuer": self.issuer,
            "audiences": [self.audience],
            "profile": self._outside.profile if self._outside is not None else PROFILE,
            "userinfo": True,
            **({"cli": {"client_id": CLI_CLIENT}} if self.provider else {}),
        }
        if self.provider is not None:
            ci = {"issuer": self.provider.ci.issuer, "audiences": [self.audience]}
            issuers = [trusted, {**ci, "profile": "github", "allow": {"repository": "acme/*"}}]
        else:
            issuers = [trusted]
        return template.deploy(
            self.aws.client("cloudformation"),
            parameters={
                "LoadBalancerArns": ARN,
                "PublicUrl": public_url,
                "OidcIssuer": self.issuer,
                "OidcClientId": openid.client_id,
                "OidcEndSessionEndpoint": openid.discovery.get("end_session_endpoint", ""),
                "TrustedIssuers": json.dumps(issuers),
                "AlbPublicKeysUrl": self.keys_url,
                "ProjectAdmins": f"{ADA.subject}, application:{self.issuer}#nightly-train",
                "ProjectCreation": "anyone",
                "AuthorizationServiceUrl": self._authorization_service_url,
            },
        )

    def _start_functions(
        self, exits: ExitStack, functions: Mapping[str, Function]
    ) -> dict[str, FunctionHost]:
        if self.log_folder is None:
            self.log_folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        self.log_folder.mkdir(parents=True, exist_ok=True)
        hosts = {}
        for name, function in functions.items():
            environment = {**function.environment, **self.aws.environment, **self._environment}
            here = replace(function, environment=environment)
            log = exits.enter_context((self.log_folder / f"{name}.log").open("wb"))
            hosts[name] = exits.enter_context(FunctionHost(here, instances=INSTANCES, log=log))
        self._progress(f"starting {', '.join(hosts)}")
        for host in hosts.values():
            host.wait_until_ready()
        return hosts

    def _start_triggers(self, exits: ExitStack, template: Template) -> None:
        sqs = self.aws.client("sqs")
        for source in queue_sources(template):
            poller = QueuePoller(
                sqs.get_queue_url(QueueName=source.queue)["QueueUrl"],
                sqs=sqs,
                invoke=self.functions[source.function].invoke,
                workers=source.concurrency,
                batch_size=source.batch_size,
                log=self._access_log,
            )
            exits.enter_context(poller)
        for stream in stream_sources(template):
            if stream.function not in self.functions:
                continue
            changes = StreamPoller(
                stream.table,
                streams=self.aws.client("dynamodbstreams"),
                invoke=self.functions[stream.function].invoke,
                filters=stream.filters,
                batch_size=stream.batch_size,
                retries=stream.retries,
                log=self._access_log,
            )
            exits.enter_context(changes)
        for schedule in schedules(template):
            if schedule.function not in self.functions:
                continue
            ticker = Ticker(
                schedule.name,
                seconds=self._tick_seconds or schedule.seconds,
                invoke=self.functions[schedule.function].invoke,
                log=self._access_log,
                payload=schedule.input,
            )
            exits.enter_context(ticker)
