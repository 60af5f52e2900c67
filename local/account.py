"""An AWS account on loopback that stacks are deployed into, and what they need around them.

with Account() as account:
    stack = account.deploy("byline", built=Path(".aws-sam/build"))
    with account.load_balancer(stack) as balancer:
        httpx.get(f"{balancer.url}/healthz")

ministack is AWS. The load balancer is ours: ministack's publishes no key for the tokens that it
signs, and knows no `jwt-validation`.
"""

import json
import socket
import time
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Self

from local.bearer_rule import ForwardRule
from local.browser_rule import BrowserRule
from local.guard import Clients
from local.listening import WebServer, listen, url_of
from local.load_balancer import LoadBalancer, TargetGroups
from local.load_balancer_signing import ARN, Signer, public_keys
from local.ministack import Ministack
from local.openid_client import OpenIDClient
from local.openid_provider import ADA, AUDIENCE, BROWSER_CLIENT, OpenIDProvider
from local.sam_deploy import Deployment
from local.stack import Ports


class Account:
    """The account, from entering the block to leaving it."""

    def __init__(self, ports: Ports | None = None) -> None:
        ports = ports or Ports()
        self._ports = (ports.aws, ports.provider, ports.keys)
        self.signer = Signer()
        self._stacks = count()

    def __enter__(self) -> Self:
        """Start. Raises `PortTaken`."""
        with ExitStack() as exits:
            # All ports first, so that a taken port is reported before anything runs.
            at_aws, at_provider, at_keys = [
                exits.enter_context(listen(port)) for port in self._ports
            ]
            self.aws = exits.enter_context(Ministack(at_aws))
            self.issuer, self.keys_url = url_of(at_provider), url_of(at_keys)
            self.provider = OpenIDProvider(self.issuer)
            pages = WebServer(self.provider.application, at_provider, clients=Clients.BROWSERS)
            exits.enter_context(pages)
            keys = {self.signer.kid: self.signer.public_key}
            exits.enter_context(WebServer(public_keys(keys), at_keys))
            secret = self.provider.browser_secret
            client = OpenIDClient(self.issuer, BROWSER_CLIENT, secret)
            self._openid = exits.enter_context(closing(client))
            self.listener_arn = self._create_listener()
            self._secret_arn = self._create_client_secret()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def deploy(self, name: str, *, built: Path, **parameters: str) -> Deployment:
        """Deploy a new stack. `parameters` are added to those of the surroundings, or replace them.

        Raises `DeployFailed`.
        """
        deployment = Deployment(name, aws=self.aws, built=built)
        deployment.deploy({**self.parameters(), **parameters})
        return deployment

    def load_balancer(
        self, stack: Deployment, listener: socket.socket | None = None
    ) -> LoadBalancer:
        """A load balancer in front of the alias of RunsFunction, on any free port by default."""
        variables = stack.variables
        return LoadBalancer(
            listener or listen(0),
            invoke=stack.invoke,
            target_groups=TargetGroups(
                browser=variables["BROWSER_TARGET_GROUP"],
                bearer=variables["BEARER_TARGET_GROUP"],
            ),
            browser_rule=BrowserRule(
                self._openid,
                self.signer,
                now=time.time,
                cookie_name=variables["SESSION_COOKIE_NAME"],
            ),
            bearer_rule=ForwardRule(),
        )

    def delete_retained(self, stack: str) -> None:
        """Delete the tables and log groups that the deleted `stack` retained, protected or not."""
        dynamodb, logs = self.aws.client("dynamodb"), self.aws.client("logs")
        for table in dynamodb.list_tables()["TableNames"]:
            if table.startswith(f"{stack}-"):
                dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
                dynamodb.delete_table(TableName=table)
        for group in logs.describe_log_groups()["logGroups"]:
            if f"/{stack}/" in group["logGroupName"]:
                logs.delete_log_group(logGroupName=group["logGroupName"])

    def give_client(self, stack: Deployment, project: str, name: str) -> None:
        """Store our provider's client `name` for the runners of `project`, as an operator does."""
        document = {
            "issuer": self.issuer,
            "client_id": name,
            "auth_method": "client_secret_basic",
            "client_secret": f"{name}-secret",
        }
        self.aws.client("secretsmanager").create_secret(
            Name=f"{stack.outputs['SecretPrefix']}/clients/{project}/{name}",
            SecretString=json.dumps(document),
        )

    def parameters(self) -> dict[str, str]:
        """The parameters of a first deployment, as an operator of this account gives them.

        Each call has other priorities of listener rules, for another stack.
        """
        endpoints = self._openid.discovery
        trusted = {
            "issuer": self.issuer,
            "audiences": [AUDIENCE],
            "profile": "generic",
            "userinfo": True,
        }
        # The rules of every stack on one listener need priorities of their own.
        rules = ("Bearer", "Browser", "Session", "Logout")
        first = 100 * (next(self._stacks) + 1)
        priorities = {f"{rule}RulePriority": str(first + place) for place, rule in enumerate(rules)}
        return {
            "ListenerArn": self.listener_arn,
            "HostName": "127.0.0.1",
            **priorities,
            "LoadBalancerArns": ARN,
            "AlbPublicKeysUrl": self.keys_url,
            "OidcIssuer": self.issuer,
            "OidcClientId": BROWSER_CLIENT,
            "OidcClientSecretArn": self._secret_arn,
            "OidcAuthorizationEndpoint": endpoints["authorization_endpoint"],
            "OidcTokenEndpoint": endpoints["token_endpoint"],
            "OidcUserInfoEndpoint": endpoints["userinfo_endpoint"],
            "OidcEndSessionEndpoint": endpoints.get("end_session_endpoint", ""),
            "TrustedIssuers": json.dumps([trusted]),
            "ProjectAdmins": ADA.subject,
            # ministack knows no alarms on metric math.
            "Alarms": "off",
        }

    def _create_listener(self) -> str:
        """An HTTPS listener for the rules of stacks. Returns its ARN. Nothing is sent to it."""
        elb, ec2 = self.aws.client("elbv2"), self.aws.client("ec2")
        subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
        balancer = elb.create_load_balancer(Name="shared", Subnets=subnets[:2])
        listener = elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTPS",
            Port=443,
            Certificates=[{"CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/1"}],
            DefaultActions=[
                {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
            ],
        )
        return str(listener["Listeners"][0]["ListenerArn"])

    def _create_client_secret(self) -> str:
        document = json.dumps({"client_secret": self.provider.browser_secret})
        secret = self.aws.client("secretsmanager").create_secret(
            Name="load-balancer-client", SecretString=document
        )
        return str(secret["ARN"])
