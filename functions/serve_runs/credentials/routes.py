"""The routes of RunsFunction about credentials, the secrets of other services that runs may use.

caller → policy → version of the secret → row and record. Only the last route ever sees a token.
"""

import time
from typing import Any

from aws_lambda_powertools.event_handler import Response

from byline.aws import dynamodb, secrets_manager
from byline.identity.caller import read_executed_by
from serve_runs.audit.records import Resource
from serve_runs.audit.requests import ReadToken
from serve_runs.credentials.items import Credential
from serve_runs.credentials.requests import ListCredentials, put_credential
from serve_runs.credentials.secrets import CredentialSecrets
from serve_runs.credentials.store import CredentialStore
from serve_runs.service import (
    access_of,
    access_table,
    act_of,
    app,
    audit,
    caller_of_change,
    caller_of_read,
    json_answer,
    log_act,
    no_content,
)
from serve_runs.web.cursors import Position, decode_cursor, encode_cursor
from serve_runs.web.requests import path_name, read_query

credentials = CredentialStore(
    dynamodb(),
    access_table,
    secrets=CredentialSecrets(secrets_manager),
    audit=audit,
    now=time.time,
)


@app.put("/v1/projects/<project>/credentials/<credential>")
def put_project_credential(project: str, credential: str) -> Response[str]:
    """Store a credential, or change it: 201, or 200 where it is there; what is the same already is
    not written again."""
    actor = caller_of_change()
    project, name = _key(project, credential)
    access = access_of(actor, project)
    access.require("write_credential", access.resource("Credential", name))
    body = put_credential(app.current_event)
    stored, outcome = credentials.put(project, name, body=body, act=act_of(actor, access))
    log_act(f"credential {outcome}", actor, project=project, credential=name)
    if outcome == "created":
        location = f"/v1/projects/{project}/credentials/{name}"
        return json_answer(201, credential_json(stored), {"Location": location})
    return json_answer(200, credential_json(stored))


@app.get("/v1/projects/<project>/credentials")
def list_project_credentials(project: str) -> Response[str]:
    """A project's credentials, by name, without their tokens."""
    caller = caller_of_read()
    project = path_name(project, of="project")
    access_of(caller, project).require("read_credential")
    query = read_query(app.current_event, ListCredentials)
    binding = f"credentials of {project}"
    after = decode_cursor(query.cursor, query=binding).id if query.cursor else None
    found, last = credentials.list_credentials(project, limit=query.limit, after=after)
    next_cursor = encode_cursor(Position(project, last), query=binding) if last else None
    shown = [credential_json(each) for each in found]
    return json_answer(200, {"credentials": shown, "next_cursor": next_cursor})


@app.get("/v1/projects/<project>/credentials/<credential>")
def show_credential(project: str, credential: str) -> Response[str]:
    """One credential, without its token."""
    caller = caller_of_read()
    project, name = _key(project, credential)
    access = access_of(caller, project)
    access.require("read_credential", access.resource("Credential", name))
    return json_answer(200, credential_json(credentials.get(project, name)))


@app.delete("/v1/projects/<project>/credentials/<credential>")
def delete_credential(project: str, credential: str) -> Response[str]:
    """Delete a credential with its secret: 204, and 404 where there is none.

    After 503 the same request goes on with what is left.
    """
    actor = caller_of_change()
    project, name = _key(project, credential)
    access = access_of(actor, project)
    resource = access.resource("Credential", name)
    access.require("delete_credential", resource, find=lambda: credentials.get(project, name))
    credentials.delete(project, name, act=act_of(actor, access))
    log_act("credential deleted", actor, project=project, credential=name)
    return no_content()


@app.get("/v1/projects/<project>/credentials/<credential>/token")
def show_credential_token(project: str, credential: str) -> Response[str]:
    """A credential with its token, for `credential:token-reader` alone, and never without a record
    of who read it and for which run."""
    caller = caller_of_read()
    project, name = _key(project, credential)
    access = access_of(caller, project)
    resource = access.resource("Credential", name)
    access.require("read_credential_token", resource, find=lambda: credentials.get(project, name))
    query = read_query(app.current_event, ReadToken)
    found = credentials.get(project, name)
    act = act_of(caller, access)
    # Before anything is taken out: what cannot be recorded is not read either.
    audit.write(act, "read_credential_token", Resource(project, "credential", name), run=query.run)
    secret = credentials.read_secret(found)
    log_act("credential's token read", caller, project=project, credential=name, run=query.run)
    return json_answer(
        200,
        {
            "credential_id": name,
            "provider": secret.provider,
            "token": secret.token,
            "url": secret.url,
            "email": secret.email,
        },
    )


def credential_json(credential: Credential) -> dict[str, Any]:
    """The credential as the API shows it, every field there, null where nothing is known."""
    return {
        "name": credential.name,
        "project": credential.project,
        "provider": credential.provider,
        "url": credential.url,
        "email": credential.email,
        "created_at": credential.created_at,
        "created_by": credential.created_by and read_executed_by(credential.created_by),
        "updated_at": credential.updated_at,
        "updated_by": credential.updated_by and read_executed_by(credential.updated_by),
    }


def _key(project: str, credential: str) -> tuple[str, str]:
    return path_name(project, of="project"), path_name(credential, of="credential")
