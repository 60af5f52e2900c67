"""A deployment whose callers have the same issuer in every run, so recorded rows stay theirs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from byline.aws import dynamodb, secrets_manager, sqs
from byline.refresh.work_units import SecretNames
from stand_ins.authorization_service import serve_authorization
from stand_ins.clock import Clock
from tests.identity import alb_tokens
from tests.refresh.deployment import Deployment, deployed
from tests.refresh.world import World, new_world
from tests.runs.identity_server import Credential, Web, serve_identities
from tests.runs.runs_api import Answer, RunsApi, build_function
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, TABLE

ISSUER = "https://issuer.example"
TABLES = (TABLE, RUNNERS_TABLE, ACCESS_TABLE)
PROJECT = "research"
PREFIX = "byline"
"""The prefix of the recorded secrets: at first it was the same for all stacks."""


@dataclass
class Service:
    """RunsFunction, the refresh functions and AWS. Ada is a person, nightly a service account."""

    api: RunsApi
    refresh: Deployment
    world: World
    web: Web

    @property
    def ada(self) -> Credential:
        """The project's admin, signed in by browser."""
        names = {"given_name": "Ada", "family_name": "Lovelace", "email": "ada@example.com"}
        return self.web.browser("ada", **names)

    @property
    def nightly(self) -> Credential:
        """A service account that acts for Ada."""
        return self.web.bearer("nightly", client="nightly")

    def credential(self, name: str) -> Credential:
        """The credential of a caller that a recording names."""
        return self.ada if name == "ada" else self.nightly

    def call(self, method: str, path: str, *, by: str = "ada", **what: Any) -> Answer:
        """Send a request; `path` is below the project."""
        return self.api.call(
            method, f"/v1/projects/{PROJECT}{path}", by=self.credential(by), **what
        )

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table, as DynamoDB gives them."""
        pages = self.world.dynamodb.get_paginator("scan").paginate(TableName=table)
        return [item for page in pages for item in page["Items"]]

    def work_off(self) -> None:
        """Tick, and deliver all messages of the refresh queue."""
        self.world.catch_up()
        self.refresh.tick()
        self.refresh.work_off()


@contextmanager
def service() -> Iterator[Service]:
    """A deployment with empty tables until the block ends."""
    with (
        serve_identities() as server,
        serve_authorization() as authorization,
        new_world(clock=Clock(0), names=SecretNames(PREFIX)) as world,
    ):
        web = replace(server, url=ISSUER)
        world.catch_up()
        world.give_client(project=PROJECT)
        with deployed(world) as refresh:
            issuer = {
                "issuer": ISSUER,
                "audiences": ["byline"],
                "profile": "generic",
                "jwks_uri": f"{server.url}/keys",
            }
            function = build_function(
                {
                    **alb_tokens.ENVIRONMENT,
                    "OIDC_ISSUER": ISSUER,
                    "TRUSTED_ISSUERS": json.dumps([issuer]),
                    "ALB_PUBLIC_KEYS_URL": server.url,
                    "PROJECT_ADMINS": "ada",
                    "AUTHORIZATION_SERVICE_URL": authorization.url,
                    "RUNS_TABLE": TABLE,
                    "RUNNERS_TABLE": RUNNERS_TABLE,
                    "ACCESS_TABLE": ACCESS_TABLE,
                    "REFRESH_QUEUE_URL": refresh.queue_url,
                    "SECRET_PREFIX": PREFIX,
                    "POWERTOOLS_SERVICE_NAME": "byline",
                    "AWS_ENDPOINT_URL": world.aws.url,
                }
            )
            try:
                yield Service(RunsApi(function), refresh, world, web)
            finally:
                for client in (dynamodb, sqs, secrets_manager):
                    client.cache_clear()
