"""The stores of rarely used subjects, each imported at its first use.

Several subjects' routes work with the same store. `later_routes` says why they are loaded late.
"""

from typing import TYPE_CHECKING

import msgspec

from byline.aws import secrets_manager
from byline.caching import Clock
from byline.metrics import Metrics
from byline.registration.settings import RegistrationSettings
from serve_runs.audit.trail import AuditTrail
from serve_runs.runs.store import RunStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb.client import DynamoDBClient

    from byline.refresh.token_rows import TokenRow
    from byline.refresh.work_units import SecretNames
    from serve_runs.agents.store import AgentStore
    from serve_runs.apply_sets.store import ApplySetStore
    from serve_runs.credentials.store import CredentialStore
    from serve_runs.messages.store import MessageStore
    from serve_runs.people.endings import Endings
    from serve_runs.people.holdings import Holdings
    from serve_runs.projects.contents import Contents
    from serve_runs.projects.deletion import Deletion
    from serve_runs.projects.store import ProjectStore
    from serve_runs.role_bindings.store import RoleStore
    from serve_runs.runners.store import RunnerStore
    from serve_runs.runs.executions import Executions
    from serve_runs.service_accounts.grants import Grants
    from serve_runs.service_accounts.store import ServiceAccountStore


class LaterStores(msgspec.Struct, frozen=True, kw_only=True):
    """Builds stores from clients and settings.

    `registration`: the settings of the authorization service. `message_days`: how long messages
    are kept. `secret_recovery_days`: how long deleted secrets can be restored.
    """

    client: "DynamoDBClient"
    runs: RunStore
    runs_table: str
    runners_table: str
    access_table: str
    secret_prefix: str
    secrets_kms_key: str
    secret_recovery_days: int
    registration: RegistrationSettings
    audit: AuditTrail
    metrics: Metrics
    now: Clock
    message_days: int

    def executions(self) -> "Executions":
        """The executions of runs, for rights that come from a run."""
        from serve_runs.runs.executions import Executions  # noqa: PLC0415

        return Executions(self.runs, self.runners())

    def runners(self) -> "RunnerStore":
        """Runners, in RunnersTable."""
        from serve_runs.runners.store import RunnerStore  # noqa: PLC0415

        return RunnerStore(self.client, self.runners_table, audit=self.audit, now=self.now)

    def roles(self) -> "RoleStore":
        """Role bindings, in AccessTable."""
        from serve_runs.role_bindings.store import RoleStore  # noqa: PLC0415

        return RoleStore(self.client, self.access_table, now=self.now)

    def agents(self) -> "AgentStore":
        """Agents and whom they act for, in AccessTable."""
        from serve_runs.agents.store import AgentStore  # noqa: PLC0415

        return AgentStore(self.client, self.access_table, now=self.now)

    def apply_sets(self) -> "ApplySetStore":
        """The members of apply sets, in AccessTable."""
        from serve_runs.apply_sets.store import ApplySetStore  # noqa: PLC0415

        return ApplySetStore(self.client, self.access_table, now=self.now)

    def service_accounts(self) -> "ServiceAccountStore":
        """Registrations of service accounts, in AccessTable."""
        from serve_runs.service_accounts.store import ServiceAccountStore  # noqa: PLC0415

        return ServiceAccountStore(self.client, self.access_table, now=self.now)

    def holdings(self) -> "Holdings":
        """What principals have in all projects, in AccessTable and RunsTable."""
        from serve_runs.people.holdings import Holdings  # noqa: PLC0415

        return Holdings(
            self.client, access_table=self.access_table, runs_table=self.runs_table, now=self.now
        )

    def endings(self) -> "Endings":
        """The end of roles, registrations, agents' permissions and runs."""
        from serve_runs.people.endings import Endings  # noqa: PLC0415

        return Endings(
            roles=self.roles(),
            accounts=self.service_accounts(),
            agents=self.agents(),
            credentials=self.credentials(),
            runs=self.runs,
            audit=self.audit,
            grants=self.grants(),
        )

    def projects(self) -> "ProjectStore":
        """Projects: their own rows in AccessTable, and those of principals."""
        from serve_runs.projects.store import ProjectStore  # noqa: PLC0415

        return ProjectStore(
            self.client,
            self.access_table,
            holdings=self.holdings(),
            audit=self.audit,
            now=self.now,
        )

    def contents(self) -> "Contents":
        """What projects have, in all tables."""
        from serve_runs.projects.contents import Contents  # noqa: PLC0415

        return Contents(
            self.client,
            access_table=self.access_table,
            runs_table=self.runs_table,
            runners_table=self.runners_table,
            now=self.now,
        )

    def deletion(self, store: "ProjectStore", announce: "Callable[[TokenRow], None]") -> "Deletion":
        """The deletion of projects, in all tables. `announce` tells of a token without runners."""
        from serve_runs.projects.deletion import Deletion  # noqa: PLC0415

        return Deletion(
            store=store,
            contents=self.contents(),
            endings=self.endings(),
            runners=self.runners(),
            apply_sets=self.apply_sets(),
            announce=announce,
            now=self.now,
        )

    def grants(self) -> "Grants":
        """Grants of the authorization service, which are off without its address."""
        from serve_runs.service_accounts.grants import Grants  # noqa: PLC0415

        service = None
        if self.registration.url:
            from byline.registration.authorization_service import (  # noqa: PLC0415
                authorization_service,
            )

            service = authorization_service(self.registration, metrics=self.metrics)
        return Grants(
            self.client,
            self.runs_table,
            service=service,
            settings=self.registration,
            now=self.now,
        )

    def secret_names(self) -> "SecretNames":
        """The names of the secrets of this deployment."""
        from byline.refresh.work_units import SecretNames  # noqa: PLC0415

        return SecretNames(self.secret_prefix)

    def credentials(self) -> "CredentialStore":
        """Credentials: rows in AccessTable, texts in Secrets Manager."""
        from serve_runs.credentials.secrets import CredentialSecrets  # noqa: PLC0415
        from serve_runs.credentials.store import CredentialStore  # noqa: PLC0415

        return CredentialStore(
            self.client,
            self.access_table,
            secrets=CredentialSecrets(
                secrets_manager,
                names=self.secret_names(),
                kms_key=self.secrets_kms_key,
                recovery_days=self.secret_recovery_days,
            ),
            audit=self.audit,
            now=self.now,
        )

    def messages(self) -> "MessageStore":
        """Messages of runs, in RunsTable."""
        from serve_runs.messages.store import MessageStore  # noqa: PLC0415

        return MessageStore(
            self.client,
            self.runs_table,
            audit=self.audit,
            now=self.now,
            retention_days=self.message_days,
        )
