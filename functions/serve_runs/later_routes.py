"""The routes that are loaded at the first request for one of them, to shorten cold starts.

Each method imports a subject's package when it is called. The package for runners alone would make
a cold start 8 ms longer. With SnapStart all are loaded before the snapshot is taken.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from byline.aws import secrets_manager
from byline.caching import Clock
from byline.identity.caller import Principal
from byline.identity.identity import Identity
from byline.identity.trusted_issuers import TrustedIssuer
from byline.metrics import Metrics
from byline.registration.settings import RegistrationSettings
from serve_runs.access.admins import DefaultIssuers
from serve_runs.access.control import AccessControl
from serve_runs.audit.trail import AuditTrail
from serve_runs.profiles.store import Profiles
from serve_runs.runs.store import RunStore
from serve_runs.web.routing import Route, RouteGroup

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

    from byline.refresh.work_units import SecretNames
    from serve_runs.agents.store import AgentStore
    from serve_runs.role_bindings.new_projects import NewProjects
    from serve_runs.role_bindings.store import RoleStore
    from serve_runs.runners.store import RunnerStore
    from serve_runs.runs.executions import Executions
    from serve_runs.service_accounts.grants import Grants
    from serve_runs.service_accounts.store import ServiceAccountStore


class LaterRoutes(msgspec.Struct, frozen=True, kw_only=True):
    """Builds the routes of rarely used subjects from clients, stores and settings.

    `registration`: the settings of the authorization service. `issuers`: those of subjects given
    without one. `admins`: the principals in `ProjectAdmins`. `anonymous_may_call`: whether callers
    without a credential are accepted. `message_days`: how long messages are kept.
    `waiting_requests`: how many requests may wait for messages at once.
    `public_origin`: the address of the service, empty where no metadata is published.
    """

    client: "DynamoDBClient"
    runs: RunStore
    runs_table: str
    runners_table: str
    access_table: str
    secret_prefix: str
    refresh_queue_url: str
    secrets_kms_key: str
    secret_recovery_days: int
    registration: RegistrationSettings
    issuers: DefaultIssuers
    admins: frozenset[Principal]
    anonymous_may_call: bool
    identity: Identity
    access_control: AccessControl
    audit: AuditTrail
    profiles: Profiles
    metrics: Metrics
    now: Clock
    message_days: int
    waiting_requests: int
    public_origin: str
    trusted_issuers: Sequence[TrustedIssuer]

    def groups(self) -> tuple[RouteGroup, ...]:
        """The groups, each with the text that its paths contain."""
        return (
            RouteGroup("/runners", self._runners),
            RouteGroup("/tokens", self._tokens),
            RouteGroup("/role-bindings", self._role_bindings),
            RouteGroup("/roles", self._roles),
            RouteGroup("/access", self._access),
            RouteGroup("/service-accounts", self._service_accounts),
            RouteGroup("/agents", self._agents),
            RouteGroup("/audit", self._audit),
            RouteGroup("/credentials", self._credentials),
            RouteGroup("/messages", self._messages),
            RouteGroup("/.well-known/", self._metadata),
            RouteGroup("/people/", self._people),
        )

    def new_projects(self) -> "NewProjects":
        """The claims of new projects, for deployments with `ProjectCreation` = `anyone`."""
        from serve_runs.role_bindings.new_projects import NewProjects  # noqa: PLC0415

        return NewProjects(
            self.client,
            self._role_store(),
            audit=self.audit,
            runs_table=self.runs_table,
            runners_table=self.runners_table,
        )

    def empty_messages(self, project: str, run_id: str) -> None:
        """End the messages of a deleted run. Raises `RequestFailed` (`store_unavailable`)."""
        from serve_runs.messages.deletion import empty_messages  # noqa: PLC0415

        empty_messages(self.client, self.runs_table, project, run_id, now=self.now)

    def _runners(self) -> Sequence[Route]:
        from serve_runs.runners.routes import RunnerRoutes  # noqa: PLC0415

        return RunnerRoutes(
            client=self.client,
            table=self.runners_table,
            store=self._runner_store(),
            audit=self.audit,
            profiles=self.profiles,
            secrets=secrets_manager,
            names=self._secret_names(),
            refresh_queue_url=self.refresh_queue_url,
            now=self.now,
            executed_run=self._executions().executed_run,
        ).routes()

    def _tokens(self) -> Sequence[Route]:
        from serve_runs.runners.token_routes import TokenRoutes  # noqa: PLC0415

        return TokenRoutes(self.client, self.runners_table, self._secret_names(), self.now).routes()

    def _role_bindings(self) -> Sequence[Route]:
        from serve_runs.role_bindings.principals import Principals  # noqa: PLC0415
        from serve_runs.role_bindings.routes import RoleBindingRoutes  # noqa: PLC0415

        principals = Principals(self.issuers, self.profiles)
        return RoleBindingRoutes(
            self._role_store(), self.audit, principals, self.anonymous_may_call
        ).routes()

    def _roles(self) -> Sequence[Route]:
        from serve_runs.role_bindings.role_routes import RoleRoutes  # noqa: PLC0415

        return RoleRoutes().routes()

    def _access(self) -> Sequence[Route]:
        from serve_runs.role_bindings.access_routes import AccessRoutes  # noqa: PLC0415
        from serve_runs.role_bindings.principals import Principals  # noqa: PLC0415

        principals = Principals(self.issuers, self.profiles)
        return AccessRoutes(
            self.access_control, self._role_store(), principals, self.admins
        ).routes()

    def _service_accounts(self) -> Sequence[Route]:
        from serve_runs.service_accounts.routes import ServiceAccountRoutes  # noqa: PLC0415

        return ServiceAccountRoutes(
            self._account_store(), self.audit, self.identity, self._grants(), self.admins, self.now
        ).routes()

    def _agents(self) -> Sequence[Route]:
        from serve_runs.agents.routes import AgentRoutes  # noqa: PLC0415

        return AgentRoutes(self._agent_store(), self.audit, self.issuers, self.now).routes()

    def _audit(self) -> Sequence[Route]:
        from serve_runs.audit.routes import AuditRoutes  # noqa: PLC0415

        return AuditRoutes(
            self.client, self.access_table, self.profiles, self.issuers.user
        ).routes()

    def _credentials(self) -> Sequence[Route]:
        from serve_runs.credentials.routes import CredentialRoutes  # noqa: PLC0415
        from serve_runs.credentials.secrets import CredentialSecrets  # noqa: PLC0415
        from serve_runs.credentials.store import CredentialStore  # noqa: PLC0415

        store = CredentialStore(
            self.client,
            self.access_table,
            secrets=CredentialSecrets(
                secrets_manager,
                names=self._secret_names(),
                kms_key=self.secrets_kms_key,
                recovery_days=self.secret_recovery_days,
            ),
            audit=self.audit,
            now=self.now,
        )
        return CredentialRoutes(
            self.client, self.access_table, store, self.audit, self._executions(), self.profiles
        ).routes()

    def _messages(self) -> Sequence[Route]:
        from serve_runs.messages.places import WaitingPlaces  # noqa: PLC0415
        from serve_runs.messages.routes import MessageRoutes  # noqa: PLC0415
        from serve_runs.messages.store import MessageStore  # noqa: PLC0415

        store = MessageStore(
            self.client,
            self.runs_table,
            audit=self.audit,
            now=self.now,
            retention_days=self.message_days,
        )
        places = WaitingPlaces(
            self.client, self.runs_table, places=self.waiting_requests, now=self.now
        )
        return MessageRoutes(store, self._runner_store(), places, self.profiles).routes()

    def _executions(self) -> "Executions":
        from serve_runs.runs.executions import Executions  # noqa: PLC0415

        return Executions(self.runs, self._runner_store())

    def _metadata(self) -> Sequence[Route]:
        from serve_runs.callers.resource_metadata import ResourceMetadata  # noqa: PLC0415

        return ResourceMetadata(self.public_origin, self.trusted_issuers).routes()

    def _people(self) -> Sequence[Route]:
        from serve_runs.people.holdings import Holdings  # noqa: PLC0415
        from serve_runs.people.offboarding import Offboarding  # noqa: PLC0415
        from serve_runs.people.routes import PeopleRoutes  # noqa: PLC0415

        holdings = Holdings(
            self.client, access_table=self.access_table, runs_table=self.runs_table, now=self.now
        )
        offboarding = Offboarding(
            holdings=holdings,
            roles=self._role_store(),
            accounts=self._account_store(),
            agents=self._agent_store(),
            runs=self.runs,
            audit=self.audit,
            grants=self._grants(),
            now=self.now,
        )
        return PeopleRoutes(
            holdings, offboarding, self.admins, self.profiles, self.issuers.user
        ).routes()

    def _runner_store(self) -> "RunnerStore":
        from serve_runs.runners.store import RunnerStore  # noqa: PLC0415

        return RunnerStore(self.client, self.runners_table, audit=self.audit, now=self.now)

    def _role_store(self) -> "RoleStore":
        from serve_runs.role_bindings.store import RoleStore  # noqa: PLC0415

        return RoleStore(self.client, self.access_table, now=self.now)

    def _agent_store(self) -> "AgentStore":
        from serve_runs.agents.store import AgentStore  # noqa: PLC0415

        return AgentStore(self.client, self.access_table, now=self.now)

    def _account_store(self) -> "ServiceAccountStore":
        from serve_runs.service_accounts.store import ServiceAccountStore  # noqa: PLC0415

        return ServiceAccountStore(self.client, self.access_table, now=self.now)

    def _grants(self) -> "Grants | None":
        if not self.registration.url:
            return None
        from byline.registration.authorization_service import (  # noqa: PLC0415
            authorization_service,
        )
        from serve_runs.service_accounts.grants import Grants  # noqa: PLC0415

        return Grants(
            self.client,
            self.runs_table,
            service=authorization_service(self.registration, metrics=self.metrics),
            settings=self.registration,
            now=self.now,
        )

    def _secret_names(self) -> "SecretNames":
        from byline.refresh.work_units import SecretNames  # noqa: PLC0415

        return SecretNames(self.secret_prefix)
