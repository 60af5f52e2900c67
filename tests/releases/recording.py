"""What a release leaves in AWS and with its clients: rows, secrets, messages, cursors, answers.

`make recording` writes the recording of this version. It may be written again until the version is
tagged, and never afterwards. Every later version must read it (`test_upgrade.py`).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tests.releases.service import TABLES, Service
from tools.release_notes import RECORDINGS, version

CREDENTIAL = "a-credential-of-a-recording"
CLIENTS = "/clients/"


@dataclass(frozen=True, slots=True)
class Recording:
    """A release's data.

    `secrets`: versions by the secret's name, (version id, text), the current one last. `runs`: ids
    by what became of them. `replays`: requests with an `Idempotency-Key`, with the ids that they
    created. `reads`: paths with the answers to a GET. `pages`: a cursor of each list, with the rows
    after it. `messages`: bodies of the refresh queue.
    """

    version: str
    tables: dict[str, list[dict[str, Any]]]
    secrets: dict[str, list[list[str]]]
    runs: dict[str, str]
    replays: list[dict[str, Any]]
    reads: dict[str, Any]
    pages: list[dict[str, Any]]
    messages: list[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The recording of a file."""
        return cls(**json.loads(path.read_text()))

    def write(self) -> None:
        """Write the recording's file."""
        RECORDINGS.mkdir(exist_ok=True)
        path = RECORDINGS / f"{self.version}.json"
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


def record(of: Service) -> Recording:
    """Use the service as people and machines do, and take what is left."""
    runs = _runs(of)
    replays = [_replayable(of, runs["running"])]
    _people_and_runners(of)
    messages = [call["MessageBody"] for call in of.refresh.sent()]
    of.work_off()
    _leave_a_runner_without_token(of)
    reads = [f"/runs/{run}" for state, run in runs.items() if state != "deleted"]
    reads += ["/runners/gpu", "/credentials/github", "/role-bindings", "/service-accounts"]
    reads += ["/agents"]
    reads += [f"/runs/{runs['running']}/messages", "/credentials", "/runners", "/tokens"]
    return Recording(
        version=version(),
        tables={table: of.rows(table) for table in TABLES},
        secrets=_secrets(of),
        runs=runs,
        replays=replays,
        reads={path: _ok(of, "GET", path) for path in reads},
        pages=[
            _page(of, f"/runs/{runs['running']}/messages", "messages", cursor="after"),
            _page(of, "/runs", "runs"),
            _page(of, "/runs", "runs", created_by="me"),
            _page(of, "/runners", "runners"),
            _page(of, "/role-bindings", "role_bindings"),
            _page(of, "/audit", "records", run=runs["succeeded"]),
            _page(of, "/audit", "records", person="me"),
        ],
        messages=messages,
    )


def _runs(of: Service) -> dict[str, str]:
    """A run in each state, one of them with everything that a run can have."""
    full = {"name": "train", "agent": "forecaster", "labels": {"team": "vision"}}
    runs = {}
    for state, steps in {
        "pending": (),
        "running": ("start",),
        "succeeded": ("start", "finish"),
        "failed": ("start", "fail"),
        "cancelled": ("cancel",),
        "deleted": (),
    }.items():
        watched = {"heartbeat_seconds": 3_600} if state == "running" else {}
        run = _ok(of, "POST", "/runs", document={**full, **watched, "name": state})["id"]
        for step in steps:
            end = {"reason": "out of memory", "exit_code": 137} if step == "fail" else {}
            _ok(of, "POST", f"/runs/{run}/{step}", document=end)
        runs[state] = run
    assert of.call("DELETE", f"/runs/{runs['deleted']}").status == 204
    for text in ("first", "second", "third"):
        document = {"role": "user", "content": text}
        _ok(of, "POST", f"/runs/{runs['running']}/messages", document=document)
    runs["child"] = _ok(of, "POST", "/runs", document={"parent_run": runs["running"]})["id"]
    return runs


def _replayable(of: Service, run: str) -> dict[str, Any]:
    document = {"name": "nightly", "parent_run": run}
    headers = [["idempotency-key", "nightly-of-a-recording"]]
    created = _ok(of, "POST", "/runs", document=document, headers=headers)["id"]
    return {"path": "/runs", "document": document, "headers": headers, "id": created}


def _people_and_runners(of: Service) -> None:
    for subject in ("grace", "joan", "lin"):
        _ok(of, "PUT", "/role-bindings", document={"role": "project:editor", "subject": subject})
    token = dict(of.nightly.headers)["authorization"].removeprefix("Bearer ")
    _ok(of, "POST", "/service-accounts", document={"token": token, "name": "nightly"})
    _ok(of, "PUT", "/agents/planner", document={"subject": "planner"})
    _ok(of, "PUT", "/credentials/github", document={"provider": "github", "token": CREDENTIAL})
    readers = [{"role": "project:editor"}, {"runner": "gpu"}]
    jira = {"provider": "generic", "token": CREDENTIAL, "readers": readers}
    _ok(of, "PUT", "/credentials/bound", document=jira)
    for runner in ("cpu", "gpu", "tpu"):
        document: dict[str, Any] = {"client": "scheduler", "audience": "https://api.example"}
        document |= {"subject": "nightly", "isolated": runner == "tpu"}
        _ok(of, "PUT", f"/runners/{runner}", document=document)
    of.work_off()
    assert of.call("DELETE", "/runners/tpu").status == 204


def _leave_a_runner_without_token(of: Service) -> None:
    _ok(of, "PUT", "/runners/new", document={"client": "missing"})
    of.work_off()


def _page(of: Service, path: str, member: str, *, cursor: str = "cursor", **query: str) -> Any:
    """The rows after the first two of a list, and the cursor that leads to them."""
    first = _ok(of, "GET", path, query={**query, "limit": "2"})
    after = first["next_after" if cursor == "after" else "next_cursor"]
    rest = _ok(of, "GET", path, query={**query, cursor: after})[member]
    assert rest, f"{path} has one page only"
    return {"path": path, "query": {**query, cursor: after}, "member": member, "rows": rest}


def _ok(of: Service, method: str, path: str, **what: Any) -> Any:
    # AWS's quotas are per second of the world's clock.
    of.world.catch_up()
    answer = of.call(method, path, **what)
    assert answer.status in {200, 201}, f"{method} {path}: {answer.status} {answer.body}"
    return answer.json


def _secrets(of: Service) -> dict[str, list[list[str]]]:
    """Every secret but the clients', which operators write."""
    store = of.world.aws.secrets
    found = {}
    for name in store.names():
        secret = store.find(name)
        if CLIENTS not in name and secret is not None:
            versions = sorted(secret.versions.values(), key=lambda each: each.created_at)
            found[name] = [[each.id, each.text()] for each in versions]
    return found
