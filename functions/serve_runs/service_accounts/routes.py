"""The routes of RunsFunction about service accounts: which applications act for whom.

person → may they → the service account's own token, verified → the authorization service's word →
one transaction of both rows and the record. From the next request on it acts for that person.
"""

import os
import time
from typing import Any

import msgspec
from aws_lambda_powertools.event_handler import Response

from byline.aws import dynamodb
from byline.errors import Rejected
from byline.identity.caller import Caller, Principal, principal_of, read_principal
from byline.identity.unverified import UnverifiedToken
from byline.settings import base_url
from byline.tables.items import Item
from serve_runs.access.control import Access
from serve_runs.access.decisions import role_names
from serve_runs.audit.records import Resource
from serve_runs.service import (
    access_control,
    access_of,
    access_table,
    act_of,
    app,
    audit,
    caller_of_change,
    caller_of_read,
    identity,
    json_answer,
    log_act,
    logger,
    no_content,
)
from serve_runs.service_accounts import requests as service_account_requests
from serve_runs.service_accounts.requests import (
    CreateServiceAccount,
    ListServiceAccounts,
    id_of,
    service_account_id,
)
from serve_runs.service_accounts.store import (
    ATTEMPTS,
    Registration,
    ServiceAccountStore,
    contended,
    service_account_json,
)
from serve_runs.web.cursors import decode_text, encode_text
from serve_runs.web.problems import Problem, not_found
from serve_runs.web.requests import path_name, read_query

accounts = ServiceAccountStore(dynamodb(), access_table, now=time.time)
grants = None
if url := base_url(os.environ, "AUTHORIZATION_SERVICE_URL"):
    from serve_runs.service_accounts.grants import Grants

    grants = Grants(url)


@app.post("/v1/projects/<project>/service-accounts")
def create_service_account(project: str) -> Response[str]:
    """Let a service account act for the caller: 201, or 200 where it does so already.

    Its rights are its role's and the caller's own, whichever permit less, and end with either.
    """
    person = caller_of_change()
    project = path_name(project, of="project")
    access = access_of(person, project)
    access.require("create_service_account")
    body = service_account_requests.create_service_account(app.current_event)
    if body.role not in role_names():
        raise Problem(400, "invalid_body", f"There is no such role: {', '.join(_roles())}.")
    if person is None:
        raise not_found()  # no policy permits it to nobody, and nobody has service accounts
    row, outcome = _register(project, person, access, body)
    account_id = row["id"]["S"]
    log_act(f"service account {outcome}", person, project=project, service_account=account_id)
    document = service_account_json(row)
    if outcome == "created":
        location = f"/v1/projects/{project}/service-accounts/{account_id}"
        return json_answer(201, document, {"Location": location})
    return json_answer(200, document)


@app.get("/v1/projects/<project>/service-accounts")
def list_service_accounts(project: str) -> Response[str]:
    """A project's service accounts and whom they act for, by id."""
    caller = caller_of_read()
    project = path_name(project, of="project")
    access_of(caller, project).require("read_service_account")
    query = read_query(app.current_event, ListServiceAccounts)
    binding = f"service accounts of {project}"
    after = decode_text(query.cursor, query=binding) if query.cursor else None
    rows, last = accounts.list_of(project, limit=query.limit, after=after)
    next_cursor = encode_text(last, query=binding) if last else None
    found = [service_account_json(row) for row in rows]
    return json_answer(200, {"service_accounts": found, "next_cursor": next_cursor})


@app.get("/v1/projects/<project>/service-accounts/<account_id>")
def show_service_account(project: str, account_id: str) -> Response[str]:
    """One service account, for whoever may see the project's and for whom it acts for."""
    caller = caller_of_read()
    project, account_id = _account_key(project, account_id)
    access, row = access_of(caller, project), accounts.find(project, account_id)
    _require("read_service_account", access, account_id, row)
    return json_answer(200, service_account_json(_there(row)))


@app.delete("/v1/projects/<project>/service-accounts/<account_id>")
def delete_service_account(project: str, account_id: str) -> Response[str]:
    """End that a service account acts for somebody: 204, and 404 where there is none."""
    actor = caller_of_change()
    project, account_id = _account_key(project, account_id)
    access = access_of(actor, project)
    resource = Resource(project, "service_account", account_id)
    record = audit.record(act_of(actor, access), "delete_service_account", resource)
    row = _deleted(access, project, account_id, record=record)
    log_act("service account deleted", actor, project=project, service_account=account_id)
    _revoke(row)
    return no_content()


def _register(
    project: str, person: Caller, access: Access, body: CreateServiceAccount
) -> tuple[Item, str]:
    application = _service_account(body.token)
    act = act_of(person, access)
    wanted = Registration(
        project=project,
        application=principal_of(application),
        person=principal_of(person),
        identity=msgspec.json.encode(person.identity).decode(),
        role=body.role,
        name=body.name or application.name,
        request_id=act.request_id,
    )
    account_id = id_of(wanted.application)
    granted = False

    def grant() -> None:
        nonlocal granted
        if grants is not None and not granted:
            grants.grant(wanted.person, account_id)
            granted = True

    resource = Resource(project, "service_account", account_id)
    record = audit.record(act, "create_service_account", resource)
    try:
        return accounts.register(wanted, grant=grant, record=record)
    except Problem:
        if granted and grants is not None and not _acts_for(application, wanted.person):
            # Somebody else was quicker: nothing was written that this grant is for.
            grants.revoke(wanted.person, account_id)
        raise


def _service_account(token: str) -> Caller:
    """Which service account a token is. Raises `Problem` 422: a 401 would be about the caller."""
    try:
        # Its signature counts whatever the setting: rows outlive a network without a way out.
        application = identity.verify_bearer(UnverifiedToken(token))
    except Rejected as rejected:
        logger.warning("service account's token rejected", reason=rejected.reason)
        raise _not_its_token(f"it was refused as `{rejected.reason}`") from None
    if application.kind != "application":
        # So it is never the caller's own: only people come here, and a namesake is somebody else.
        raise _not_its_token("it is not a service account's")
    return application


def _acts_for(application: Caller, person: Principal) -> bool:
    """Whether it does, in whatever project."""
    link = access_control.acts_for(application)
    return link is not None and link.person == person


def _deleted(access: Access, project: str, account_id: str, *, record: Any) -> Item:
    for _ in range(ATTEMPTS):
        # Anew each time: who comes after a deletion may be another person's.
        row = accounts.find(project, account_id)
        _require("delete_service_account", access, account_id, row)
        if accounts.delete(_there(row), record=record):
            return _there(row)
    raise contended()


def _require(action: str, access: Access, account_id: str, row: Item | None) -> None:
    """Raise `Problem` unless it is permitted; what there is not is nobody's."""
    person = None if row is None else read_principal(row["person"]["S"])
    resource = access.resource("ServiceAccount", account_id, person=person)
    access.require(action, resource, find=lambda: _there(row))


def _revoke(row: Item) -> None:
    if grants is None:
        return
    error = grants.revoke(read_principal(row["person"]["S"]), row["id"]["S"])
    if error is not None:
        logger.error("grant not revoked", service_account=row["id"]["S"], error=error)


def _there(row: Item | None) -> Item:
    if row is None:
        raise not_found()
    return row


def _not_its_token(why: str) -> Problem:
    detail = f"`token` must be the service account's own current one: {why}."
    return Problem(422, "invalid_service_account_token", detail)


def _account_key(project: str, account_id: str) -> tuple[str, str]:
    return path_name(project, of="project"), service_account_id(account_id)


def _roles() -> list[str]:
    return sorted(role_names())
