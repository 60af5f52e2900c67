"""RunsFunction: answers every request that the load balancer forwards.

load balancer → one credential, verified → caller → policies → one conditional write → answer.
`build` shows what the function is made of; `calls` what happens with each request.
"""

from byline.init_phase import end_init  # stops the garbage collector, so it is imported first

# isort: split
import os
import time
from collections.abc import Mapping, Sequence

from aws_lambda_powertools import Logger
from ulid import ULID

from byline.aws import dynamodb, error_name, secrets_manager
from byline.identity.identity import Identity
from byline.identity.settings import IdentitySettings
from byline.metrics import Metrics
from byline.registration.outbox import outbox_entry
from byline.settings import base_url, choice, required
from serve_runs.access.admins import default_issuer, read_admins
from serve_runs.access.control import AccessControl
from serve_runs.access.store import RoleReader
from serve_runs.audit.trail import AuditTrail
from serve_runs.callers.routes import CallerRoutes
from serve_runs.calls import Api
from serve_runs.profiles.store import Profiles
from serve_runs.runs.parents import ParentRuns
from serve_runs.runs.routes import RunRoutes
from serve_runs.runs.store import RunStore
from serve_runs.web.routing import Route, RouteGroup

logger = Logger(service="byline")


def build(environ: Mapping[str, str]) -> Api:
    """The API of a deployment: its clients, stores and routes, made once.

    Routes of rarely used subjects are loaded with the first request for one, unless a snapshot is
    taken. Raises `Misconfigured`.
    """
    settings = IdentitySettings.from_environment(environ)
    runs_table = required(environ, "RUNS_TABLE")
    runners_table = required(environ, "RUNNERS_TABLE")
    access_table = required(environ, "ACCESS_TABLE")
    refresh_queue_url = required(environ, "REFRESH_QUEUE_URL")
    authorization_service = base_url(environ, "AUTHORIZATION_SERVICE_URL")
    issuer = default_issuer(settings)
    client, now, metrics = dynamodb(), time.time, Metrics()

    if settings.trust != "verify":
        logger.warning(
            "callers are not verified: any client that reaches this function can claim any identity",
            identity_trust=settings.trust,
        )

    def profile_failed(error: Exception) -> None:
        metrics.count("ProfileUnavailable")
        logger.warning("profile unavailable", error=error_name(error))

    identity = Identity(settings)
    audit = AuditTrail(client, access_table, now=now)
    profiles = Profiles(client, access_table, now=now, failed=profile_failed)
    access_control = AccessControl(
        RoleReader(client, access_table),
        admins=read_admins(environ.get("PROJECT_ADMINS", ""), settings=settings),
        callers_are_verified=settings.trust == "verify",
    )
    runs = RunStore(
        client,
        runs_table,
        audit=audit,
        now=now,
        new_id=lambda: str(ULID()),
        outbox=outbox_entry if authorization_service else None,
    )
    new_projects = None
    if choice(environ, "PROJECT_CREATION", of=("admins", "anyone")) == "anyone":
        from serve_runs.role_bindings.new_projects import NewProjects  # noqa: PLC0415
        from serve_runs.role_bindings.store import RoleStore  # noqa: PLC0415

        new_projects = NewProjects(
            client,
            RoleStore(client, access_table, now=now),
            audit=audit,
            runs_table=runs_table,
            runners_table=runners_table,
        )

    # Each imports its package when it is called: about runners alone a cold start is 8 ms longer.
    def runner_routes() -> Sequence[Route]:
        from serve_runs.runners.routes import RunnerRoutes  # noqa: PLC0415
        from serve_runs.runners.store import RunnerStore  # noqa: PLC0415

        store = RunnerStore(client, runners_table, audit=audit, now=now)
        return RunnerRoutes(store, audit, secrets_manager, refresh_queue_url, now).routes()

    def role_binding_routes() -> Sequence[Route]:
        from serve_runs.role_bindings.routes import RoleBindingRoutes  # noqa: PLC0415
        from serve_runs.role_bindings.store import RoleStore  # noqa: PLC0415

        store = RoleStore(client, access_table, now=now)
        return RoleBindingRoutes(store, audit, issuer).routes()

    def service_account_routes() -> Sequence[Route]:
        from serve_runs.service_accounts.routes import ServiceAccountRoutes  # noqa: PLC0415
        from serve_runs.service_accounts.store import ServiceAccountStore  # noqa: PLC0415

        grants = None
        if authorization_service:
            from serve_runs.service_accounts.grants import Grants  # noqa: PLC0415

            grants = Grants(authorization_service, metrics=metrics)
        store = ServiceAccountStore(client, access_table, now=now)
        return ServiceAccountRoutes(store, audit, identity, access_control, grants).routes()

    def audit_routes() -> Sequence[Route]:
        from serve_runs.audit.routes import AuditRoutes  # noqa: PLC0415

        return AuditRoutes(client, access_table, profiles, issuer).routes()

    def credential_routes() -> Sequence[Route]:
        from serve_runs.credentials.routes import CredentialRoutes  # noqa: PLC0415
        from serve_runs.credentials.secrets import CredentialSecrets  # noqa: PLC0415
        from serve_runs.credentials.store import CredentialStore  # noqa: PLC0415

        secrets = CredentialSecrets(secrets_manager)
        store = CredentialStore(client, access_table, secrets=secrets, audit=audit, now=now)
        return CredentialRoutes(store, audit).routes()

    def message_routes() -> Sequence[Route]:
        from serve_runs.messages.routes import MessageRoutes  # noqa: PLC0415
        from serve_runs.messages.store import MessageStore  # noqa: PLC0415
        from serve_runs.runners.store import RunnerStore  # noqa: PLC0415

        store = MessageStore(client, runs_table, now=now)
        runners = RunnerStore(client, runners_table, audit=audit, now=now)
        return MessageRoutes(store, runners).routes()

    parents = ParentRuns(runs, client, runners_table=runners_table)
    run_routes = RunRoutes(client, runs_table, runs, parents, profiles, new_projects)
    api = Api(
        (*CallerRoutes(access_control).routes(), *run_routes.routes()),
        (
            RouteGroup("/runners", runner_routes),
            RouteGroup("/role-bindings", role_binding_routes),
            RouteGroup("/service-accounts", service_account_routes),
            RouteGroup("/audit", audit_routes),
            RouteGroup("/credentials", credential_routes),
            RouteGroup("/messages", message_routes),
        ),
        identity=identity,
        access_control=access_control,
        # Claims that anybody could make must not change profiles.
        profiles=profiles if settings.trust == "verify" else None,
        metrics=metrics,
    )
    if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        from serve_runs.priming import prime  # noqa: PLC0415

        api.routes.load_all()
        prime(api.handle, identity=identity)
    return api


handler = build(os.environ).handle

if os.environ.get("POWERTOOLS_TRACE_DISABLED") == "false":
    # An operator's choice: the tracer patches botocore, which costs a cold start about 280 ms.
    from aws_lambda_powertools import Tracer

    handler = Tracer(patch_modules=["botocore"]).capture_lambda_handler(
        handler, capture_response=False
    )

end_init()
