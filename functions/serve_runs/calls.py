"""The API behind the handler, and the call that it passes to a route.

event → one credential, verified → names in the path → the route's function → answer. Every route
passes through `Api._answer_route`, so no route can skip the verification of the caller.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import ALBResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.typing import LambdaContext

from byline.errors import Rejected
from byline.identity.caller import Caller
from byline.identity.identity import Identity
from byline.metrics import Metrics
from serve_runs.access.control import Access, AccessControl
from serve_runs.audit.trail import ActionContext, RepresentedPerson
from serve_runs.errors import RequestFailed, not_found
from serve_runs.profiles.store import Profiles
from serve_runs.web.problems import Problems, method_not_allowed, problem
from serve_runs.web.requests import (
    is_cross_site,
    path_name,
    path_part,
    read_body,
    read_query,
    refuse_members,
)
from serve_runs.web.routing import Route, RouteGroup, RouteTable

logger = Logger(service="byline")

FIXED_HEADERS: Mapping[str, str] = {
    # Answers differ by caller, so no cache may store one.
    "Cache-Control": "no-store",
    # An answer is data: no browser may run it, show it in another page, or read it for one.
    # https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Paths hold the names of projects and people's runs.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_MULTI_VALUE = {name: [value] for name, value in FIXED_HEADERS.items()}


class Call:
    """A call of a route: its event, caller, project and access.

    `caller` is None for an anonymous caller, where settings allow one. `project` is the project in
    the path, empty where the path has none.
    """

    def __init__(
        self,
        event: dict[str, Any],
        context: LambdaContext,
        *,
        identity: Identity,
        caller: Caller | None,
        project: str,
        access_control: AccessControl,
    ) -> None:
        self.event = event
        self.context = context
        self.caller = caller
        self.project = project
        self._identity = identity
        self._access_control = access_control
        self._access: Access | None = None

    @property
    def access(self) -> Access:
        """The caller's rights in the project. Its roles are read at the first use."""
        if self._access is None:
            self._access = self._access_control.read_access(self.caller, self.project)
        return self._access

    def forget_access(self) -> None:
        """Let the next use of `access` read the roles again, because they may have changed."""
        self._access = None

    def renew(self) -> None:
        """Verify the credential again, because it may have expired during a wait.

        The next use of `access` reads the roles again. Raises `Rejected` and `Unavailable`.
        """
        self.caller = self._identity.identify(self.event)
        self.forget_access()

    def read_accesses(self, projects: Sequence[str]) -> dict[str, Access]:
        """The caller's rights in several projects, by project."""
        return self._access_control.read_accesses(self.caller, projects)

    @property
    def action(self) -> ActionContext:
        """The caller, the person it acts for and the request, for rows and the audit trail."""
        link = self.access.acts_for
        person = None if link is None else RepresentedPerson(link.person.text, link.identity)
        return ActionContext(self.caller, self.context.aws_request_id, person)

    def known_caller(self) -> Caller:
        """The caller. Raises `Rejected` (`no_credentials`) for an anonymous one."""
        if self.caller is None:
            raise Rejected(
                "no_credentials", "The request has no credential that this target group accepts."
            )
        return self.caller

    def query[Shape](self, shape: type[Shape]) -> Shape:
        """The query. Raises `RequestFailed` (`invalid_parameter`)."""
        return read_query(self.event, shape)

    def body[Shape](self, shape: type[Shape]) -> Shape:
        """The JSON body. Raises `RequestFailed`."""
        return read_body(self.event, shape)

    def log(self, message: str, **facts: Any) -> None:
        """Log a message with the caller, the project and `facts`."""
        logger.info(
            message,
            actor=self.caller and self.caller.subject,
            actor_issuer=self.caller and self.caller.issuer,
            on_behalf_of=self.caller and self.caller.represents and self.caller.represents.subject,
            project=self.project,
            **facts,
        )


class Api:
    """All routes behind one handler.

    `profiles` remembers the names of callers; None where callers are not verified.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        groups: Sequence[RouteGroup],
        *,
        identity: Identity,
        access_control: AccessControl,
        profiles: Profiles | None,
        metrics: Metrics,
        problems: Problems,
    ) -> None:
        self._identity = identity
        self._access_control = access_control
        self._profiles = profiles
        self._metrics = metrics
        self._problems = problems
        self._failed_fetches = 0
        # Explicit, because by default POWERTOOLS_DEV makes the resolver print each event.
        self._resolver = ALBResolver(debug=False)
        self._resolver.exception_handler(Exception)(self._answer_error)
        self._resolver.not_found(self._answer_unknown_route)
        self.routes = RouteTable(routes, groups, add=self._add)

    def handle(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Answer one request of the load balancer, with single or multiple values as in its event.

        HEAD is answered as GET, without the body (RFC 9110, section 9.3.2), where GET only reads.
        https://docs.aws.amazon.com/lambda/latest/dg/services-alb.html
        """
        logger.append_keys(request_id=context.aws_request_id)
        path = event.get("path", "")
        for group in [*self.routes.pending]:
            if group.part in path and path.count("/") <= group.most_slashes:
                self.routes.load(group)
        is_head = event.get("httpMethod") == "HEAD"
        if is_head and "HEAD" in self.routes.methods_of(path):
            event = {**event, "httpMethod": "GET"}
        try:
            answer = _with_fixed_headers(self._resolver.resolve(event, context))
            return {**answer, "body": ""} if is_head else answer
        finally:
            self._count_failed_fetches()
            if self._metrics.totals:
                self._metrics.flush()

    def _add(self, route: Route) -> None:
        def answer(project: str = "", **names: str) -> Response[str]:
            return self._answer_route(route, project, names)

        self._resolver.route(route.path, method=route.method)(answer)

    def _answer_route(self, route: Route, project: str, names: dict[str, str]) -> Response[str]:
        event: dict[str, Any] = self._resolver.current_event.raw_event
        if event["path"].endswith("\n"):
            raise not_found()  # the pattern of Powertools ends with `$`, which matches before it
        caller = None if route.is_public else self._identity.identify(event)
        try:
            return self._answer_caller(route, caller, project, names)
        except RequestFailed as failure:
            if route.hands_out is not None:
                resource = {"project": project, route.hands_out: names[route.hands_out]}
                self._problems.count_denied_read(failure, caller, resource)
            raise

    def _answer_caller(
        self, route: Route, caller: Caller | None, project: str, names: dict[str, str]
    ) -> Response[str]:
        event: dict[str, Any] = self._resolver.current_event.raw_event
        is_foreign = is_foreign_page(event, caller)
        if is_foreign and not route.is_safe:
            raise RequestFailed("cross_site_request")
        if route.is_public:
            return route.answer()
        if route.method != "GET" and not route.takes_body:
            refuse_members(event)
        if caller is not None and self._profiles is not None and not is_foreign:
            # The names in a delegated token are the person's, and its agent has been here too.
            for each in filter(None, (caller, caller.represents)):
                self._profiles.remember(each)
        call = Call(
            event,
            self._resolver.lambda_context,
            identity=self._identity,
            caller=caller,
            project=path_name(project, of="project") if project else "",
            access_control=self._access_control,
        )
        return route.answer(call, **{name: path_part(name, text) for name, text in names.items()})

    def _answer_error(self, error: Exception) -> Response[str]:
        return self._problems.answer(error, request_id=self._request_id)

    def _answer_unknown_route(self, _: NotFoundError) -> Response[str]:
        event = self._resolver.current_event
        methods = self.routes.methods_of(event.path)
        # A path with this method is unknown because of characters that no name has: 404.
        if methods and event.http_method not in methods:
            return method_not_allowed(methods, request_id=self._request_id)
        return problem("not_found", request_id=self._request_id)

    @property
    def _request_id(self) -> str:
        return self._resolver.lambda_context.aws_request_id

    def _count_failed_fetches(self) -> None:
        failed = self._identity.failed_fetches
        if failed > self._failed_fetches:
            self._metrics.count("KeyFetchFailed", failed - self._failed_fetches)
            self._failed_fetches = failed


def is_foreign_page(event: dict[str, Any], caller: Caller | None) -> bool:
    """Whether a page of another site uses the caller's browser.

    It can make the browser send the session cookie, or a request from the browser's network, but no
    Bearer token.
    """
    return (caller is None or caller.source == "alb") and is_cross_site(event)


def json_answer(status: int, document: Any, *, location: str | None = None) -> Response[str]:
    """An answer with a JSON body. `location` is the path of the created resource."""
    return Response(
        status_code=status,
        content_type="application/json",
        body=msgspec.json.encode(document).decode(),
        headers={} if location is None else {"Location": location},
    )


def no_content() -> Response[str]:
    """The 204 to a deletion."""
    return Response(status_code=204, body="")


def _with_fixed_headers(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer to the load balancer, in either shape, with the fixed headers in it."""
    if "multiValueHeaders" in answer:
        return {**answer, "multiValueHeaders": {**answer["multiValueHeaders"], **_MULTI_VALUE}}
    return {**answer, "headers": {**answer["headers"], **FIXED_HEADERS}}
