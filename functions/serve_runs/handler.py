"""RunsFunction: answers every request that the load balancer forwards.

load balancer → one credential, verified → caller → policies → one conditional write → answer.
`build` composes the function; `calls` has the steps of each request.
"""

from byline.init_phase import end_init  # stops the garbage collector, so it is imported first

# isort: split
import os
import time
from collections.abc import Mapping

from aws_lambda_powertools import Logger
from ulid import ULID

from byline.aws import dynamodb, error_name
from byline.identity.identity import Identity
from byline.identity.settings import IdentitySettings
from byline.metrics import Metrics, failing_without_text
from byline.registration.outbox import Outbox
from byline.registration.settings import RegistrationSettings
from byline.settings import choice, public_origin, required, secret_prefix, whole_number
from serve_runs.access.admins import default_issuers, read_admins
from serve_runs.access.control import AccessControl
from serve_runs.audit.trail import AuditTrail
from serve_runs.callers.routes import CallerRoutes
from serve_runs.callers.sign_out import SignOut
from serve_runs.calls import Api
from serve_runs.later_routes import LaterRoutes
from serve_runs.later_stores import LaterStores
from serve_runs.profiles.store import Profiles
from serve_runs.runs.parents import ParentRuns
from serve_runs.runs.routes import RunRoutes
from serve_runs.runs.store import RunStore
from serve_runs.web.problems import Problems

logger = Logger(service="byline")

RECOVERY_DAYS = ("7", "0", *map(str, range(8, 31)))
"""What AWS accepts as the recovery window of a deleted secret, the default first. 0: none."""


def build(environ: Mapping[str, str]) -> Api:
    """The API of a deployment, with its clients, stores and routes. Raises `Misconfigured`."""
    settings = IdentitySettings.from_environment(environ)
    runs_table = required(environ, "RUNS_TABLE")
    runners_table = required(environ, "RUNNERS_TABLE")
    access_table = required(environ, "ACCESS_TABLE")
    run_days, message_days, audit_days = (
        whole_number(environ, f"{rows}_RETENTION_DAYS", default=default, least=0)
        for rows, default in (("RUN", 0), ("MESSAGE", 90), ("AUDIT", 0))
    )
    origin = public_origin(environ)
    registration = RegistrationSettings.from_environment(environ)
    is_verified = settings.trust == "verify"
    if not is_verified:
        logger.warning(
            "callers are not verified: a client that reaches this function can claim any identity",
            identity_trust=settings.trust,
        )
    client, now = dynamodb(), time.time
    metrics = Metrics(required(environ, "POWERTOOLS_SERVICE_NAME"))

    def profile_failed(error: Exception) -> None:
        metrics.count("ProfileUnavailable")
        logger.warning("profile unavailable", error=error_name(error))

    identity = Identity(settings)
    audit = AuditTrail(
        client,
        access_table,
        now=now,
        retention_days=audit_days,
        callers_are_verified=is_verified,
    )
    issuers = default_issuers(settings)
    profiles = Profiles(client, access_table, now=now, failed=profile_failed)
    admins = read_admins(environ.get("PROJECT_ADMINS", ""), issuers=issuers)
    access_control = AccessControl(
        client,
        access_table,
        admins=admins,
        callers_are_verified=is_verified,
        now=now,
    )
    runs = RunStore(
        client,
        runs_table,
        audit=audit,
        now=now,
        new_id=ULID,
        outbox=Outbox(registration.projects) if registration.url else None,
        retention_days=run_days,
    )
    stores = LaterStores(
        client=client,
        runs=runs,
        runs_table=runs_table,
        runners_table=runners_table,
        access_table=access_table,
        secret_prefix=secret_prefix(environ),
        secrets_kms_key=environ.get("SECRETS_KMS_KEY", ""),
        secret_recovery_days=int(choice(environ, "SECRET_RECOVERY_DAYS", of=RECOVERY_DAYS)),
        registration=registration,
        audit=audit,
        metrics=metrics,
        now=now,
        message_days=message_days,
    )
    anyone = choice(environ, "PROJECT_CREATION", of=("admins", "anyone")) == "anyone"
    later = LaterRoutes(
        stores=stores,
        refresh_queue_url=required(environ, "REFRESH_QUEUE_URL"),
        issuers=issuers,
        admins=admins,
        anonymous_may_call=settings.anonymous == "allow",
        anyone_may_create=anyone,
        identity=identity,
        access_control=access_control,
        profiles=profiles,
        waiting_requests=whole_number(environ, "WAITING_REQUESTS", default=100, least=1),
        public_origin=origin,
        trusted_issuers=settings.trusted_issuers,
    )
    run_routes = RunRoutes(
        client,
        runs_table,
        store=runs,
        parents=ParentRuns(runs, client, runners_table=runners_table),
        profiles=profiles,
        new_projects=later.new_projects() if anyone else None,
        empty_messages=later.empty_messages,
        default_issuer=issuers.user,
        now=now,
    )
    api = Api(
        (
            *CallerRoutes(client, access_table, now).routes(),
            *SignOut.from_environment(environ).routes(),
            *run_routes.routes(),
        ),
        later.groups(),
        identity=identity,
        access_control=access_control,
        # Unverified callers do not update profiles.
        profiles=profiles if is_verified else None,
        metrics=metrics,
        problems=Problems(metrics, public_origin=origin),
    )
    if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        from serve_runs.priming import prime  # noqa: PLC0415

        api.routes.load_all()
        prime(api.handle, identity=identity)
    return api


handler = failing_without_text(build(os.environ).handle)

if os.environ.get("POWERTOOLS_TRACE_DISABLED") == "false":
    # Off by default, because the tracer patches botocore: a cold start takes about 280 ms longer.
    from serve_runs.tracing import traced

    handler = traced(handler)

end_init()
