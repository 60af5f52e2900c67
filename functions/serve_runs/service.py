"""What all routes of RunsFunction stand on: who is calling, how it is answered, what is logged."""

import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import ALBResolver, Response
from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from byline.aws import dynamodb
from byline.errors import Rejected
from byline.identity.caller import Caller
from byline.identity.identity import Identity
from byline.identity.settings import IdentitySettings
from byline.settings import required
from serve_runs.access.admins import read_admins
from serve_runs.access.context import Act, Person
from serve_runs.access.control import Access, AccessControl
from serve_runs.access.rows import AccessRows
from serve_runs.audit.records import AuditTrail
from serve_runs.profiles.store import People
from serve_runs.web.failures import answer_failure, profile_unavailable
from serve_runs.web.problems import method_not_allowed, not_found
from serve_runs.web.requests import refuse_cross_site

logger = Logger(service="byline")
settings = IdentitySettings.from_environment(os.environ)
identity = Identity(settings)
runners_table = required(os.environ, "RUNNERS_TABLE")
access_table = required(os.environ, "ACCESS_TABLE")
refresh_queue_url = required(os.environ, "REFRESH_QUEUE_URL")
access_control = AccessControl(
    AccessRows(dynamodb(), access_table),
    admins=read_admins(os.environ.get("PROJECT_ADMINS", ""), settings=settings),
    callers_are_verified=settings.trust == "verify",
)
audit = AuditTrail(dynamodb(), access_table, now=time.time)
people = People(dynamodb(), access_table, now=time.time, failed=profile_unavailable)
app = ALBResolver()

if settings.trust != "verify":
    logger.warning(
        "callers are not verified: whoever reaches this function can be anybody",
        identity_trust=settings.trust,
    )


def loaded_routes() -> Sequence[Route]:
    """What is answered so far. Powertools has no public way to ask."""
    return (*app._static_routes, *app._dynamic_routes)


def caller_of_read() -> Caller | None:
    """Who is asking; None for nobody, where nobody may ask."""
    caller = identity.identify(app.current_event)
    if caller is not None and settings.trust == "verify":
        # What anybody can claim is no news of anybody.
        people.saw(caller)
    return caller


def caller_of_change() -> Caller | None:
    """The same for a change, which no other site's page may make a browser send."""
    caller = caller_of_read()
    if caller is not None and caller.source == "alb":
        refuse_cross_site(app.current_event)
    return caller


def known_caller() -> Caller:
    """Who is asking, where that must be somebody."""
    caller = caller_of_read()
    if caller is None:
        raise Rejected("no_credentials", "the request carries no credential that counts")
    return caller


def access_of(caller: Caller | None, project: str) -> Access:
    """What the caller may do in a project, by its roles as they are now."""
    return access_control.of(caller, project)


def act_of(caller: Caller | None, access: Access) -> Act:
    """What this request does: in the caller's name, on behalf of whom it acts for."""
    link = access.acts_for
    person = None if link is None else Person(link.person.text, link.identity)
    return Act(caller, request_id(), person)


def request_id() -> str:
    """The request's id: in `instance` of problems, in logs, and in the rows that it wrote."""
    return app.lambda_context.aws_request_id


def json_answer(status: int, document: Any, headers: dict[str, str] | None = None) -> Response[str]:
    """An answer with a body."""
    return Response(
        status_code=status,
        content_type="application/json",
        body=msgspec.json.encode(document).decode(),
        # Answers differ by caller: no cache on the way may keep one.
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def no_content() -> Response[str]:
    """The answer to a deletion."""
    return Response(status_code=204, body="", headers={"Cache-Control": "no-store"})


def log_act(message: str, actor: Caller | None, **what: Any) -> None:
    """Log what somebody did to what."""
    logger.info(message, actor=actor and actor.subject, actor_issuer=actor and actor.issuer, **what)


def _answer_failure(error: Exception) -> Response[str]:
    return answer_failure(error, request_id=request_id())


def _answer_unknown_route(_: NotFoundError) -> Response[str]:
    path = app.current_event.path
    allowed = sorted({route.method for route in loaded_routes() if route.rule.match(path)})
    return _answer_failure(method_not_allowed(allowed) if allowed else not_found())


app.exception_handler(Exception)(_answer_failure)
app.not_found(_answer_unknown_route)
