"""The routes of service accounts: applications that act for a person.

person → policy → the service account's own token, verified → the grant of the authorization service
→ one transaction of both rows and the record. Then the service account acts for that person.
"""

from dataclasses import dataclass
from functools import cache

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response

from byline.caching import Clock
from byline.errors import Rejected
from byline.identity.caller import Caller, Principal, principal_of, read_principal
from byline.identity.identity import Identity
from byline.identity.unverified import UnverifiedToken
from byline.tables.rows import Item
from serve_runs.access.decisions import Resource
from serve_runs.access.entries import end_of, expiring
from serve_runs.audit.rights import account_rights, given_rights
from serve_runs.audit.trail import AuditedResource, AuditTrail
from serve_runs.calls import Call, json_answer, no_content
from serve_runs.errors import RequestFailed, contended, not_found
from serve_runs.role_bindings.requests import require_role
from serve_runs.service_accounts.grants import Grants
from serve_runs.service_accounts.requests import (
    CreateServiceAccount,
    create_service_account,
    service_account_id,
)
from serve_runs.service_accounts.store import ATTEMPTS, ServiceAccountStore
from serve_runs.service_accounts.views import ServiceAccountRegistration, service_account_json
from serve_runs.web.paging import PageQuery, decode_cursor, encode_cursor
from serve_runs.web.routing import Route

SERVICE_ACCOUNTS = "/v1/projects/<project>/service-accounts"
SERVICE_ACCOUNT = f"{SERVICE_ACCOUNTS}/<account_id>"

ADMINS_ONLY = (
    "This service account is in `ProjectAdmins`. Only a person in `ProjectAdmins` may register it."
)

logger = Logger(service="byline")


@dataclass(frozen=True, slots=True)
class ServiceAccountRoutes:
    """The routes. `admins`: the principals that administer every project."""

    store: ServiceAccountStore
    audit: AuditTrail
    identity: Identity
    grants: Grants
    admins: frozenset[Principal]
    now: Clock

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("POST", SERVICE_ACCOUNTS, self.create_service_account, takes_body=True),
            Route("GET", SERVICE_ACCOUNTS, self.list_service_accounts),
            Route("GET", SERVICE_ACCOUNT, self.show_service_account),
            Route("DELETE", SERVICE_ACCOUNT, self.delete_service_account),
        )

    def create_service_account(self, call: Call) -> Response[str]:
        """Let a service account act for the caller: 201, or 200 where it does already.

        It may do what both its role and the caller's roles allow at the time of each request.
        """
        call.access.require("create_service_account")
        body = create_service_account(call.event)
        require_role(body.role)
        person = call.caller
        if person is None:
            raise not_found()  # no policy allows it to an anonymous caller
        row, outcome = self._register(call, person, body)
        account_id = row["id"]["S"]
        call.log(f"service account {outcome}", service_account=account_id)
        document = service_account_json(row)
        if outcome == "created":
            location = f"/v1/projects/{call.project}/service-accounts/{account_id}"
            return json_answer(201, document, location=location)
        return json_answer(200, document)

    def list_service_accounts(self, call: Call) -> Response[str]:
        """A project's service accounts and the people they act for, by id."""
        call.access.require("read_service_account")
        query = call.query(PageQuery)
        binding = f"service accounts of {call.project}"
        after = decode_cursor(query.cursor, query=binding)
        rows, last = self.store.list_of(call.project, limit=query.limit, after=after)
        next_cursor = encode_cursor(last, query=binding)
        found = [service_account_json(row) for row in rows]
        return json_answer(200, {"service_accounts": found, "next_cursor": next_cursor})

    def show_service_account(self, call: Call, account_id: str) -> Response[str]:
        """One service account, for its readers in the project, its person and itself."""
        account_id = service_account_id(account_id)
        row = self.store.find(call.project, account_id)
        _require("read_service_account", call, account_id, row)
        return json_answer(200, service_account_json(_existing(row)))

    def delete_service_account(self, call: Call, account_id: str) -> Response[str]:
        """Stop a service account from acting for a person: 204, or 404 where it does not exist."""
        account_id = service_account_id(account_id)
        resource = AuditedResource(call.project, "service_account", account_id)
        self._delete(call, account_id, resource)
        call.log("service account deleted", service_account=account_id)
        return no_content()

    def _register(self, call: Call, person: Caller, body: CreateServiceAccount) -> tuple[Item, str]:
        application = self._verified(body.token)
        application_principal = principal_of(application)
        if application_principal in self.admins and principal_of(person) not in self.admins:
            raise RequestFailed("forbidden", ADMINS_ONLY)
        wanted = ServiceAccountRegistration(
            project=call.project,
            application=application_principal,
            person=principal_of(person),
            identity=person.stored or "",
            role=body.role,
            name=body.name or application.name,
            request_id=call.action.request_id,
            end=end_of(body.expires_at, now=self.now()),
        )
        rights = given_rights(
            wanted.application,
            [wanted.role],
            row=expiring(wanted.end),
            acts_for=wanted.person,
        )
        return self.store.register(
            wanted,
            grants=self.grants,
            record=cache(
                lambda account_id: self.audit.record(
                    call.action,
                    "create_service_account",
                    AuditedResource(call.project, "service_account", account_id),
                    details=rights,
                )
            ),
        )

    def _verified(self, token: str) -> Caller:
        """The service account of a token.

        Raises `RequestFailed` (`invalid_service_account_token`): a 401 would be about the caller.
        """
        try:
            # Verified even where callers are not: the row remains when `IdentityTrust` changes.
            application = self.identity.verify_bearer(UnverifiedToken(token))
        except Rejected as rejected:
            logger.warning("service account token rejected", reason=rejected.reason)
            raise _invalid_token(f"it was refused as `{rejected.reason}`") from None
        if application.kind != "application":
            # This also excludes the caller's own token: only people register service accounts.
            raise _invalid_token("its subject is not a service account")
        if application.represents is not None:
            # Whoever once saw a delegated token could else tie its agent to themselves.
            raise _invalid_token("it names a person for whom the service account acts (`act`)")
        return application

    def _delete(self, call: Call, account_id: str, resource: AuditedResource) -> None:
        for _ in range(ATTEMPTS):
            # Read at each attempt: after a new registration it may act for another person.
            row = self.store.find(call.project, account_id)
            own = _require("delete_service_account", call, account_id, row)
            action = call.action.on(own, "delete_service_account", access=call.access)
            existing = _existing(row)
            rights = account_rights(existing)
            record = self.audit.record(action, "delete_service_account", resource, details=rights)
            person = read_principal(existing["person"]["S"])
            revocation = self.grants.revocation(existing, person, request_id=call.action.request_id)
            if self.store.delete(existing, record=record, revocation=revocation):
                return
        raise contended("service account")


def _require(action: str, call: Call, account_id: str, row: Item | None) -> Resource:
    """The account as a resource. Raises `RequestFailed` unless the action is allowed.

    Only an existing row has a person and its own principal.
    """
    person, own = (
        None if row is None else read_principal(row[name]["S"]) for name in ("person", "principal")
    )
    resource = call.access.resource("ServiceAccount", account_id, person=person, own=own)
    call.access.require(action, resource, find=lambda: _existing(row))
    return resource


def _existing(row: Item | None) -> Item:
    if row is None:
        raise not_found()
    return row


def _invalid_token(why: str) -> RequestFailed:
    detail = f"`token` must be a current token of the service account: {why}."
    return RequestFailed("invalid_service_account_token", detail)
