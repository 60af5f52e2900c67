"""The routes of credentials, the secrets of other services that runs may use.

caller → policy → a version of the secret → the row and its record. Only the last route reads a
token.
"""

from dataclasses import dataclass
from functools import partial

from aws_lambda_powertools.event_handler import Response

from serve_runs.audit.requests import ReadToken
from serve_runs.audit.trail import AuditedResource, AuditTrail
from serve_runs.calls import Call, json_answer, no_content
from serve_runs.credentials.requests import put_credential
from serve_runs.credentials.store import CredentialStore
from serve_runs.credentials.views import credential_json
from serve_runs.runs.executions import Executions
from serve_runs.web.paging import PageQuery, Position, decode_position, encode_position
from serve_runs.web.routing import Route

CREDENTIALS = "/v1/projects/<project>/credentials"
CREDENTIAL = f"{CREDENTIALS}/<credential>"


@dataclass(frozen=True, slots=True)
class CredentialRoutes:
    """The routes of credentials, with the stores and the audit trail that they use."""

    store: CredentialStore
    audit: AuditTrail
    executions: Executions

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("PUT", CREDENTIAL, self.put_project_credential, takes_body=True),
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
        call.access.require("write_credential", call.access.resource("Credential", credential))
        body = put_credential(call.event)
        stored, outcome = self.store.put(call.project, credential, body=body, action=call.action)
        call.log(f"credential {outcome}", credential=credential)
        if outcome == "created":
            location = f"/v1/projects/{call.project}/credentials/{credential}"
            return json_answer(201, credential_json(stored), location=location)
        return json_answer(200, credential_json(stored))

    def list_project_credentials(self, call: Call) -> Response[str]:
        """A project's credentials, by name, without their tokens."""
        call.access.require("read_credential")
        query = call.query(PageQuery)
        binding = f"credentials of {call.project}"
        after = decode_position(query.cursor, query=binding).id if query.cursor else None
        found, last = self.store.list_credentials(call.project, limit=query.limit, after=after)
        position = Position(call.project, last) if last else None
        next_cursor = encode_position(position, query=binding) if position else None
        shown = [credential_json(each) for each in found]
        return json_answer(200, {"credentials": shown, "next_cursor": next_cursor})

    def show_credential(self, call: Call, credential: str) -> Response[str]:
        """One credential, without its token."""
        call.access.require("read_credential", call.access.resource("Credential", credential))
        return json_answer(200, credential_json(self.store.get(call.project, credential)))

    def delete_credential(self, call: Call, credential: str) -> Response[str]:
        """Delete a credential and its secret: 204, or 404 where it does not exist.

        After a 503, the same request sent again continues the deletion.
        """
        self._require("delete_credential", call, credential)
        self.store.delete(call.project, credential, action=call.action)
        call.log("credential deleted", credential=credential)
        return no_content()

    def show_credential_token(self, call: Call, credential: str) -> Response[str]:
        """A credential with its token, for `credential:token-reader` alone.

        The read is recorded first, with the caller and the run that needs the token, which the
        caller must execute.
        """
        self._require("read_credential_token", call, credential)
        query = call.query(ReadToken)
        found = self.store.get(call.project, credential)
        if query.run is not None:
            self.executions.executed_run(call, query.run)
        # Recorded before the secret is read, so that no read is without a record.
        resource = AuditedResource(call.project, "credential", credential)
        self.audit.write(call.action, "read_credential_token", resource, run=query.run)
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

    def _require(self, action: str, call: Call, credential: str) -> None:
        resource = call.access.resource("Credential", credential)
        find = partial(self.store.get, call.project, credential)
        call.access.require(action, resource, find=find)
