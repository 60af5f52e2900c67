"""The routes that are loaded at the first request for one of them, to shorten cold starts.

Each method imports a subject's package when it is called. The package for runners alone would make
a cold start 8 ms longer. With SnapStart all are loaded before the snapshot is taken.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from byline.aws import secrets_manager
from byline.identity.caller import Principal
from byline.identity.identity import Identity
from byline.identity.trusted_issuers import TrustedIssuer
from serve_runs.access.admins import DefaultIssuers
from serve_runs.access.control import AccessControl
from serve_runs.later_stores import LaterStores
from serve_runs.profiles.store import Profiles
from serve_runs.web.routing import Route, RouteGroup

if TYPE_CHECKING:
    from serve_runs.role_bindings.new_projects import NewProjects


class LaterRoutes(msgspec.Struct, frozen=True, kw_only=True):
    """Builds the routes of rarely used subjects from stores and settings.

    `issuers`: those of subjects given without one. `admins`: the principals in `ProjectAdmins`.
    `anonymous_may_call`: whether callers without a credential are accepted.
    `anyone_may_create`: whether projects are created by more than `ProjectAdmins`.
    `waiting_requests`: how many requests may wait for messages at once.
    `public_origin`: the address of the service, empty where no metadata is published.
    """

    stores: LaterStores
    refresh_queue_url: str
    issuers: DefaultIssuers
    admins: frozenset[Principal]
    anonymous_may_call: bool
    anyone_may_create: bool
    identity: Identity
    access_control: AccessControl
    profiles: Profiles
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
            RouteGroup("/apply-sets/", self._apply_sets),
            RouteGroup("/audit", self._audit),
            RouteGroup("/credentials", self._credentials),
            RouteGroup("/messages", self._messages),
            RouteGroup("/heartbeat", self._heartbeats),
            RouteGroup("/.well-known/", self._metadata),
            RouteGroup("/people/", self._people),
            RouteGroup("/v1/projects", self._projects, most_slashes=3),
        )

    def new_projects(self) -> "NewProjects":
        """The claims of new projects, for deployments with `ProjectCreation` = `anyone`."""
        from serve_runs.role_bindings.new_projects import NewProjects  # noqa: PLC0415

        return NewProjects(
            self.stores.client,
            self.stores.roles(),
            audit=self.stores.audit,
            runs_table=self.stores.runs_table,
            runners_table=self.stores.runners_table,
        )

    def empty_messages(self, project: str, run_id: str) -> None:
        """End the messages of a deleted run. Raises `RequestFailed` (`store_unavailable`)."""
        from serve_runs.messages.deletion import empty_messages  # noqa: PLC0415

        empty_messages(
            self.stores.client, self.stores.runs_table, project, run_id, now=self.stores.now
        )

    def _runners(self) -> Sequence[Route]:
        from serve_runs.runners.routes import RunnerRoutes  # noqa: PLC0415

        return RunnerRoutes(
            client=self.stores.client,
            table=self.stores.runners_table,
            store=self.stores.runners(),
            audit=self.stores.audit,
            profiles=self.profiles,
            secrets=secrets_manager,
            names=self.stores.secret_names(),
            refresh_queue_url=self.refresh_queue_url,
            now=self.stores.now,
            executed_run=self.stores.executions().executed_run,
        ).routes()

    def _tokens(self) -> Sequence[Route]:
        from serve_runs.runners.token_routes import TokenRoutes  # noqa: PLC0415

        return TokenRoutes(
            self.stores.client,
            self.stores.runners_table,
            self.stores.secret_names(),
            self.stores.now,
        ).routes()

    def _role_bindings(self) -> Sequence[Route]:
        from serve_runs.role_bindings.principals import Principals  # noqa: PLC0415
        from serve_runs.role_bindings.routes import RoleBindingRoutes  # noqa: PLC0415

        principals = Principals(self.issuers, self.profiles)
        return RoleBindingRoutes(
            self.stores.roles(), self.stores.audit, principals, self.anonymous_may_call
        ).routes()

    def _roles(self) -> Sequence[Route]:
        from serve_runs.role_bindings.role_routes import RoleRoutes  # noqa: PLC0415

        return RoleRoutes().routes()

    def _access(self) -> Sequence[Route]:
        from serve_runs.role_bindings.access_routes import AccessRoutes  # noqa: PLC0415
        from serve_runs.role_bindings.principals import Principals  # noqa: PLC0415

        principals = Principals(self.issuers, self.profiles)
        return AccessRoutes(
            self.access_control, self.stores.roles(), principals, self.admins
        ).routes()

    def _service_accounts(self) -> Sequence[Route]:
        from serve_runs.service_accounts.routes import ServiceAccountRoutes  # noqa: PLC0415

        return ServiceAccountRoutes(
            self.stores.service_accounts(),
            self.stores.audit,
            self.identity,
            self.stores.grants(),
            self.admins,
            self.stores.now,
        ).routes()

    def _agents(self) -> Sequence[Route]:
        from serve_runs.agents.routes import AgentRoutes  # noqa: PLC0415

        return AgentRoutes(
            self.stores.agents(), self.stores.audit, self.issuers, self.stores.now
        ).routes()

    def _apply_sets(self) -> Sequence[Route]:
        from serve_runs.apply_sets.routes import ApplySetRoutes  # noqa: PLC0415

        return ApplySetRoutes(self.stores.apply_sets(), self.stores.audit).routes()

    def _audit(self) -> Sequence[Route]:
        from serve_runs.audit.routes import AuditRoutes  # noqa: PLC0415

        return AuditRoutes(
            self.stores.client, self.stores.access_table, self.profiles, self.issuers.user
        ).routes()

    def _credentials(self) -> Sequence[Route]:
        from serve_runs.credentials.routes import CredentialRoutes  # noqa: PLC0415

        stores = self.stores
        return CredentialRoutes(
            stores.client,
            stores.access_table,
            stores.credentials(),
            stores.audit,
            stores.executions(),
            self.profiles,
        ).routes()

    def _messages(self) -> Sequence[Route]:
        from serve_runs.messages.places import WaitingPlaces  # noqa: PLC0415
        from serve_runs.messages.routes import MessageRoutes  # noqa: PLC0415

        places = WaitingPlaces(
            self.stores.client,
            self.stores.runs_table,
            places=self.waiting_requests,
            now=self.stores.now,
        )
        return MessageRoutes(
            self.stores.messages(), self.stores.runners(), places, self.profiles
        ).routes()

    def _heartbeats(self) -> Sequence[Route]:
        from serve_runs.runs.heartbeats import HeartbeatRoutes  # noqa: PLC0415

        stores = self.stores
        return HeartbeatRoutes(stores.client, stores.runs_table, stores.runs, stores.now).routes()

    def _metadata(self) -> Sequence[Route]:
        from serve_runs.callers.resource_metadata import ResourceMetadata  # noqa: PLC0415

        return ResourceMetadata(self.public_origin, self.trusted_issuers).routes()

    def _people(self) -> Sequence[Route]:
        from serve_runs.people.offboarding import Offboarding  # noqa: PLC0415
        from serve_runs.people.routes import PeopleRoutes  # noqa: PLC0415

        holdings = self.stores.holdings()
        offboarding = Offboarding(
            holdings=holdings, endings=self.stores.endings(), now=self.stores.now
        )
        return PeopleRoutes(
            holdings, offboarding, self.admins, self.profiles, self.issuers.user
        ).routes()

    def _projects(self) -> Sequence[Route]:
        from serve_runs.projects.creation import Creation  # noqa: PLC0415
        from serve_runs.projects.routes import ProjectRoutes  # noqa: PLC0415
        from serve_runs.runners.refresh_queue import announce  # noqa: PLC0415

        stores, now = self.stores, self.stores.now
        store = stores.projects()
        creation = Creation(
            client=stores.client,
            store=store,
            roles=stores.roles(),
            new_projects=self.new_projects(),
            contents=stores.contents(),
            audit=stores.audit,
        )
        deletion = stores.deletion(
            store,
            lambda token: announce(token, queue_url=self.refresh_queue_url, now=now()),
        )
        return ProjectRoutes(
            store, creation, deletion, self.admins, self.anyone_may_create
        ).routes()
