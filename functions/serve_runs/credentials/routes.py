"""The routes of credentials, the secrets of other services that runs may use.

caller → policy → a version of the secret → the row and its record. Only the last route reads a
token.
"""

from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools.event_handler import Response

from byline.identity.caller import Principal, principal_of
from serve_runs.access.decisions import Resource
from serve_runs.audit.requests import ReadToken
from serve_runs.audit.trail import Action, ActionContext, AuditedResource, AuditTrail
from serve_runs.calls import Call, json_answer, no_content
from serve_runs.credentials.queries import list_credentials
from serve_runs.credentials.readers import (
    Readers,
    as_facts,
    bind_credential,
    for_run,
    read_stored,
    without_labels,
)
from serve_runs.credentials.requests import put_credential
from serve_runs.credentials.store import CredentialStore
from serve_runs.credentials.views import Credential, credential_json
from serve_runs.errors import RequestFailed, not_found
from serve_runs.profiles.store import Profiles
from serve_runs.runs.executions import NO_RUNNER, Executions
from serve_runs.web.paging import PageQuery, decode_position, encode_position
from serve_runs.web.routing import Route

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

CREDENTIALS = "/v1/projects/<project>/credentials"
CREDENTIAL = f"{CREDENTIALS}/<credential>"

READ: Action = "read_credential_token"


@dataclass(frozen=True, slots=True)
class CredentialRoutes:
    """The routes of credentials, with the stores and the audit trail that they use."""

    client: "DynamoDBClient"
    table: str
    store: CredentialStore
    audit: AuditTrail
    executions: Executions
    profiles: Profiles

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("PUT", CREDENTIAL, self.put_project_credential, takes_body=True),
            Route("PUT", f"{CREDENTIAL}/readers", self.bind_credential_readers, takes_body=True),
            Route("GET", CREDENTIALS, self.list_project_credentials),
            Route("GET", CREDENTIAL, self.show_credential),
            Route("DELETE", CREDENTIAL, self.delete_credential),
            Route(
                "GET",
                f"{CREDENTIAL}/token",
                self.show_credential_token,
                writes=True,
                hands_out="credential",
            ),
        )

    def put_project_credential(self, call: Call, credential: str) -> Response[str]:
        """Store a credential, or change it: 201, or 200 where it exists.

        An unchanged credential is not written again.
        """
        resource = call.access.resource("Credential", credential)
        call.access.require("write_credential", resource)
        body = put_credential(call.event)
        if body.readers is not msgspec.UNSET:
            call.access.require("bind_credential", resource)
        stored, outcome = self.store.put(call.project, credential, body=body, action=call.action)
        call.log(f"credential {outcome}", credential=credential)
        if outcome == "created":
            location = f"/v1/projects/{call.project}/credentials/{credential}"
            return json_answer(201, credential_json(stored), location=location)
        return json_answer(200, credential_json(stored))

    def bind_credential_readers(self, call: Call, credential: str) -> Response[str]:
        """Bind a credential to readers, in place of the former ones, without its token: 200.

        Only they read its token from then on.
        """
        self._require("bind_credential", call, credential)
        readers = bind_credential(call.event)
        bound, outcome = self.store.bind(
            call.project, credential, readers=lambda _: readers, action=call.action
        )
        call.log(f"readers {outcome}", credential=credential)
        return json_answer(200, credential_json(bound))

    def list_project_credentials(self, call: Call) -> Response[str]:
        """A project's credentials, by name, without their tokens."""
        call.access.require("read_credential")
        query = call.query(PageQuery)
        binding = f"credentials of {call.project}"
        after = decode_position(query.cursor, query=binding)
        found, last = list_credentials(
            self.client, self.table, call.project, limit=query.limit, after=after
        )
        next_cursor = encode_position(call.project, last, query=binding)
        shown = [credential_json(each) for each in found]
        self.profiles.complete(shown)
        return json_answer(200, {"credentials": shown, "next_cursor": next_cursor})

    def show_credential(self, call: Call, credential: str) -> Response[str]:
        """One credential, without its token."""
        call.access.require("read_credential", call.access.resource("Credential", credential))
        shown = credential_json(self.store.get(call.project, credential))
        self.profiles.complete([shown])
        return json_answer(200, shown)

    def delete_credential(self, call: Call, credential: str) -> Response[str]:
        """Delete a credential and its secret: 204, or 404 where it does not exist.

        After a 503, the same request sent again continues the deletion.
        """
        self._require("delete_credential", call, credential)
        self.store.delete(call.project, credential, action=call.action)
        call.log("credential deleted", credential=credential)
        return no_content()

    def show_credential_token(self, call: Call, credential: str) -> Response[str]:
        """A credential with its token, for its readers, by default `credential:token-reader`.

        The read is recorded first, with the caller and the run that needs the token, which the
        caller must execute.
        """
        query = call.query(ReadToken)
        # These reads depend on the caller alone, not on the credential and its readers.
        access, found = call.access, self.store.find(call.project, credential)
        runners = self._runners(call, found)
        if found is None:
            raise not_found()
        readers = read_stored(found.readers)
        resource = partial(self._bound, call, credential, runners=runners)
        access.require(READ, resource(readers))
        run = None if query.run is None else self.executions.executed_run(call, query.run)
        if readers is not None:
            kept = without_labels(readers) if run is None else for_run(readers, run)
            if not access.may(READ, resource(kept)):
                raise RequestFailed("run_required" if run is None else "run_labels_differ")
        # Recorded before the secret is read, so that no read is without a record.
        audited = AuditedResource(call.project, "credential", credential)
        self.audit.write(self._read_by(call, runners), READ, audited, run=query.run)
        secret = self.store.read_secret(found)
        call.log("credential token read", credential=credential, run=query.run)
        return json_answer(
            200,
            {
                "credential_id": credential,
                "provider": secret.provider,
                "token": secret.token,
                "url": secret.url,
                "email": secret.email,
            },
        )

    def _runners(self, call: Call, found: Credential | None) -> dict[str, Principal]:
        """The service accounts of the runners among the readers, for a caller that may be one."""
        if call.caller is None or call.caller.kind != "application":
            return {}
        readers = (found and read_stored(found.readers)) or ()
        names = [reader.runner for reader in readers if reader.runner is not None]
        return self.executions.runners.own_principals(call.project, names or [NO_RUNNER])

    def _read_by(self, call: Call, runners: Mapping[str, Principal]) -> ActionContext:
        """The reader: a runner by itself, not the person who registered its account."""
        if call.access.is_delegated or principal_of(call.caller) not in runners.values():
            return call.action
        return replace(call.action, on_behalf_of=None)

    def _bound(
        self,
        call: Call,
        credential: str,
        readers: Readers | None,
        *,
        runners: Mapping[str, Principal],
    ) -> Resource:
        if readers is None:
            return call.access.resource("Credential", credential)
        # An application reads for a person only while that person may start runs. With a token that
        # names the person, the agent's permission must allow that too.
        access = call.access
        held = access.assignments if access.is_delegated else access.assignments[1:]
        counts = replace(access, assignments=held).may("create_run")
        facts = as_facts(readers, runners=runners, applications_count=counts)
        return call.access.resource("Credential", credential, readers=facts)

    def _require(self, action: str, call: Call, credential: str) -> None:
        resource = call.access.resource("Credential", credential)
        find = partial(self.store.get, call.project, credential)
        call.access.require(action, resource, find=find)
