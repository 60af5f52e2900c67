"""Each denied read of a token is logged and counted, whatever denies it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.runs.credentials_api import TOKEN, CredentialsApi
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import Answer

Lines = Callable[[], list[str]]


class Denied:
    """A project with a credential and a runner, and the denials that the function reports."""

    def __init__(self, credentials: CredentialsApi, admin: Credential, lines: Lines) -> None:
        self.credentials = credentials
        self._lines = lines
        assert credentials.put(admin).status == 201
        assert credentials.runners.put(admin, "github", subject="gpu").status == 201
        self._read = len(lines())

    def token(
        self, kind: str, by: Credential, name: str = "github", query: str = "", **headers: str
    ) -> Answer:
        """Read the token of a credential or a runner."""
        path = f"/v1/projects/{self.credentials.project}/{kind}s/{name}/token"
        sent = [(key.replace("_", "-"), value) for key, value in headers.items()]
        run = {"run": query} if query else {}
        return self.credentials.api.call("GET", path, by=by, headers=sent, query=run)

    def reported(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The log lines about denials and the counts by reason since the last call."""
        lines = [json.loads(line) for line in self._lines()[self._read :] if line.startswith("{")]
        self._read = len(self._lines())
        logged = [line for line in lines if line.get("message") == "token read denied"]
        counted = [line for line in lines if "TokenReadDenied" in line and "reason" in line]
        return logged, counted


@pytest.fixture
def denied(credentials: CredentialsApi, ada: Credential, log_lines: Lines) -> Denied:
    """A project with the credential `github` and the runner `github`."""
    return Denied(credentials, ada, log_lines)


KINDS = pytest.mark.parametrize("kind", ["credential", "runner"])


@KINDS
@pytest.mark.parametrize(
    ("roles", "name", "reason"),
    [
        (["project:admin"], "github", "forbidden"),
        ([], "github", "not_found"),
        (["project:admin"], "missing", "not_found"),
        (["credential:token-reader", "runner:token-reader"], "missing", "not_found"),
    ],
)
def test_denied_read_is_logged_and_counted_by_reason(
    denied: Denied, web: Web, kind: str, roles: list[str], name: str, reason: str
) -> None:
    """The log line names the caller, the resource and the reason, and no token."""
    if roles:
        denied.credentials.grant("mary", *roles)
    answer = denied.token(kind, web.browser("mary"), name)
    assert answer.reason == reason
    [line], [count] = denied.reported()
    assert {key: line[key] for key in ("level", "reason", "actor", "project", kind)} == {
        "level": "WARNING",
        "reason": reason,
        "actor": "mary",
        "project": denied.credentials.project,
        kind: name,
    }
    assert (count["TokenReadDenied"], count["reason"]) == ([1], reason)
    assert TOKEN not in json.dumps([line, count])


@KINDS
def test_read_for_a_run_of_others_is_counted(denied: Denied, web: Web, kind: str) -> None:
    """A token reader that does not execute the run is denied with the reason of the run."""
    denied.credentials.grant("tess", "credential:token-reader", "runner:token-reader")
    answer = denied.token(kind, web.browser("tess"), query="01M6DMBE000000000000000001")
    assert answer.reason == "run_not_executed"
    [line], [count] = denied.reported()
    assert line["reason"] == count["reason"] == "run_not_executed"


@KINDS
def test_read_by_a_page_of_another_site_is_counted(denied: Denied, web: Web, kind: str) -> None:
    """A foreign page that makes a browser read a token is refused before the route is reached."""
    answer = denied.token(kind, web.browser("mary"), sec_fetch_site="cross-site")
    assert answer.reason == "cross_site_request"
    [line], [count] = denied.reported()
    assert line["reason"] == count["reason"] == "cross_site_request"
    assert line[kind] == "github"


@KINDS
def test_read_that_is_malformed_or_without_a_credential_is_no_denial(
    denied: Denied, web: Web, kind: str
) -> None:
    """A refused credential is counted as `Rejected`, and an invalid name is a mistake."""
    assert denied.token(kind, NO_CREDENTIAL).status == 401
    assert denied.token(kind, web.browser("mary"), "No_Name").reason == "invalid_name"
    assert denied.token(kind, web.browser("mary"), query="nightly").status in {400, 404}
    logged, counted = denied.reported()
    assert {line["reason"] for line in [*logged, *counted]} <= {"not_found"}


def test_read_that_is_permitted_is_no_denial(denied: Denied, web: Web) -> None:
    """A token that is handed out, and a runner's token that is not there yet, are not counted."""
    denied.credentials.grant("tess", "credential:token-reader", "runner:token-reader")
    assert denied.token("credential", web.browser("tess")).status == 200
    assert denied.token("runner", web.browser("tess")).reason == "token_unavailable"
    assert denied.reported() == ([], [])


def test_other_refusals_are_no_denied_reads(denied: Denied, web: Web) -> None:
    """A credential without its token that may not be seen is not a denied read of a token."""
    assert denied.credentials.get(web.browser("mary")).status == 404
    assert denied.reported() == ([], [])
