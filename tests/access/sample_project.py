"""A project with one resource of each kind, and a request for each row of the table of routes."""

import time
from typing import Any

from tests.access.access_operations import account_id
from tests.access.comparison import ROOT
from tests.access.in_process import AwsInProcess, InProcess
from tests.access.model import Caller
from tests.access.route_table import Row

ADA: Caller = ("user", "ada")
EVE: Caller = ("user", "eve")
GRACE: Caller = ("user", "grace")
GPU: Caller = ("application", "gpu")
NIGHTLY: Caller = ("application", "nightly")
RUNNER = {"client": "scheduler", "subject": "gpu"}
BINDING = {"role": "project:viewer", "subject": "linus"}
PLANNER: Caller = ("application", "planner")
CREDENTIAL = {"provider": "github", "token": "hush-hush"}

COPY_SECONDS = 20
"""How long a copy of the project is used: its run that sends no heartbeats must not be lost."""


class SampleProject:
    """A project with one resource of each kind, made by an admin; no other caller has a role."""

    def __init__(self, api: InProcess) -> None:
        self.api = api
        created = self._send(ROOT, "POST", "runs", {"runner": "gpu"}, 201)
        self.run = created.json["id"]
        self._send(ROOT, "PUT", "runners/gpu", RUNNER, 201)
        self._send(ROOT, "PUT", "credentials/gpu", CREDENTIAL, 201)
        self._send(ROOT, "PUT", "agents/gpu", self.agent, 201)
        members = {"add": [{"kind": "Runner", "key": "gpu"}]}
        self._send(ROOT, "POST", "apply-sets/team/members", members, 200)
        self.grant(GRACE, "project:editor")
        self._send(GRACE, "POST", "service-accounts", self._of(NIGHTLY), 201)
        binding = {"role": "project:editor", "subject": "grace"}
        api.send(ROOT, "DELETE", "/v1/projects/apollo/role-bindings", query=binding)
        watched = {"heartbeat_seconds": 60}
        self.started = self._send(ROOT, "POST", "runs", watched, 201).json["id"]
        self._send(ROOT, "POST", f"runs/{self.started}/start", None, 200)
        self.executed = self._send(ROOT, "POST", "runs", {"runner": "gpu"}, 201).json["id"]
        self._send(ROOT, "POST", f"runs/{self.executed}/start", None, 200)
        self._send(ROOT, "PUT", "role-bindings", BINDING, 201)

    @property
    def agent(self) -> dict[str, str]:
        """The document that allows an agent."""
        return {"subject": PLANNER[1], "issuer": self.api.issuer(PLANNER)}

    @property
    def runs(self) -> list[str]:
        """The ids of the project's runs, the newest first."""
        return [self.executed, self.started, self.run]

    def grant(self, caller: Caller, role: str) -> None:
        """Give a caller a role in the project."""
        document = {"role": role, "subject": caller[1], "kind": caller[0]}
        self._send(ROOT, "PUT", "role-bindings", document, 201)

    def ask(self, caller: Caller, row: Row) -> Any:
        """Send a row's request, valid in all but perhaps the caller's roles."""
        path = row.path.format(
            project="apollo",
            # A run that never started cannot finish, and has no heartbeats.
            run_id=self.started if row.action in {"finish_run", "send_heartbeat"} else self.run,
            runner="gpu",
            credential="gpu",
            agent="gpu",
            apply_set="team",
            account_id=account_id(self.api, NIGHTLY, "apollo"),
            principal="grace",
        )
        documents: dict[str, Any] = {
            "create_project": {"name": "gemini"},
            "create_run": {},
            "post_user_message": {"role": "user", "content": "hello"},
            "post_runner_message": {"role": "runner", "content": "hello"},
            "register_runner": RUNNER | {"client": "another"},
            "restart_runner": RUNNER,
            "create_service_account": self._of(GPU),
            "write_credential": CREDENTIAL,
            "bind_credential": {"readers": []},
            "grant_role": BINDING,
            "allow_agent": self.agent,
            "write_apply_set": {"add": [{"kind": "Runner", "key": "gpu"}]},
        }
        queries = {
            "execute_run": {"run": self.executed},
            "revoke_role": BINDING,
            "read_access": {"principal": f"user:{self.api.web.url}#linus"},
            "read_audit": {"run": self.run},
            "read_run": {"created_by": ROOT[1]} if row.path == "/v1/runs" else {},
        }
        return self.api.send(
            caller,
            row.method,
            path,
            document=documents.get(row.action),
            query=queries.get(row.action),
        )

    def _send(self, caller: Caller, method: str, of: str, document: Any, expected: int) -> Any:
        answer = self.api.send(caller, method, f"/v1/projects/apollo/{of}", document=document)
        assert answer.status == expected, answer.body
        return answer

    def _of(self, application: Caller) -> dict[str, str]:
        [(_, bearer)] = self.api.credential(application).headers
        return {"token": bearer.removeprefix("Bearer ")}


class SampleProjects:
    """Gives each test the project as new. Most tests get a copy, since requests take longer."""

    def __init__(self, api: InProcess, aws: AwsInProcess) -> None:
        self._api = api
        self._aws = aws
        self._made_at = float("-inf")

    def new(self) -> SampleProject:
        """The project, and nothing else but the profiles of Eve and Ada, who have called."""
        if time.monotonic() - self._made_at > COPY_SECONDS:
            self._made_at = time.monotonic()
            self._aws.empty()
            self._sample = SampleProject(self._api)
            for caller in (EVE, ADA):
                self._api.send(caller, "GET", "/v1/whoami")
            self._copy = self._aws.saved()
        self._aws.restore(self._copy)
        return self._sample
