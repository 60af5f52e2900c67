"""The sample events equal the generator's output, and each gets the answer that its name says."""

from collections.abc import Mapping
from socket import create_server
from typing import Any

import pytest

from tests.events.samples import ADA, GRACE, NIGHTLY_TRAIN, event, names
from tests.identity.alb_tokens import segments_of
from tests.runs.runs_api import RunsApi, build_function
from tests.runs.table_server import DynamoDb
from tools import make_events, sample_tokens
from tools.make_events import EVENTS, PROJECT, SAMPLE_RUN_IDS

NOT_GENERATED = {
    "keys/README.md",
    "keys/not-secret/load-balancer.pem",
    "keys/not-secret/issuer.pem",
}


def test_files_equal_the_generators_output() -> None:
    """`make events` changes no byte and leaves no other file."""
    generated = make_events.files()
    assert {path: (EVENTS / path).read_text() for path in generated} == generated
    existing = {str(path.relative_to(EVENTS)) for path in EVENTS.rglob("*") if path.is_file()}
    assert existing == set(generated) | NOT_GENERATED


def test_tokens_are_deterministic() -> None:
    """Two signatures of the same text are the same bytes (RFC 6979)."""
    assert sample_tokens.browser_token() == sample_tokens.browser_token()
    assert sample_tokens.bearer_token("a", "b") == sample_tokens.bearer_token("a", "b")


@pytest.mark.parametrize(
    ("name", "executed_by", "source"),
    [
        ("browser", ADA, "alb"),
        ("whoami", ADA, "alb"),
        ("single-value-shape", ADA, "alb"),
        ("bearer-person", GRACE, "bearer"),
        ("bearer-service-account", NIGHTLY_TRAIN, "bearer"),
        ("forged-header-on-bearer-group", NIGHTLY_TRAIN, "bearer"),
    ],
)
def test_whoami_of_an_event_returns_its_caller(
    api: RunsApi, name: str, executed_by: Mapping[str, Any], source: str
) -> None:
    """`whoami` answers with the caller of the event's name."""
    answer = api.send(event(name))
    assert answer.status == 200
    assert answer.json["executed_by"] == executed_by
    assert answer.json["source"] == source
    assert answer.json["kind"] == next(iter(executed_by))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("anonymous", "no_credentials"),
        ("doubled-header", "duplicated_header"),
        ("forged-header", "bad_signature"),
        ("expired", "expired"),
        ("foreign-signer", "untrusted_signer"),
    ],
)
def test_event_with_an_invalid_credential_is_refused(api: RunsApi, name: str, reason: str) -> None:
    """The answer is 401 with the reason of the event's name."""
    answer = api.send(event(name))
    assert (answer.status, answer.reason) == (401, reason)


def test_event_without_a_local_stack_logs_what_to_start(
    api: RunsApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """If nothing listens where the keys are, the answer is 503 and the log names `make up`."""
    with create_server(("127.0.0.1", 0)) as listener:
        keys = f"http://127.0.0.1:{listener.getsockname()[1]}"
    environment = {**event("env")["RunsFunction"], "ALB_PUBLIC_KEYS_URL": keys}
    answer = RunsApi(build_function(environment)).send(event("browser"))
    assert (answer.status, answer.reason) == (503, "keys_unavailable")
    assert "Is `make up` running?" in capsys.readouterr().out


def test_health_check_is_answered(api: RunsApi) -> None:
    """The health check needs no credential."""
    assert api.send(event("health-check")).status == 200


def test_create_run_creates_a_run_of_ada(api: RunsApi) -> None:
    """Reading the created run returns who created it."""
    created = api.send(event("create-run"))
    assert created.status == 201
    read = api.send(event("get-run") | {"path": created.headers["location"]})
    assert read.json["executed_by"] == ADA
    assert (read.json["status"], read.json["labels"]) == ("pending", {"team": "weather"})


@pytest.mark.parametrize("name", ["list-runs", "list-runs-created-by-me"])
def test_list_contains_the_sample_runs(api: RunsApi, name: str) -> None:
    """The sample runs are listed newest first, all of them created by Ada."""
    runs = api.send(event(name)).json["runs"]
    assert [run["id"] for run in runs] == sorted(SAMPLE_RUN_IDS.values(), reverse=True)
    assert all(run["executed_by"] == ADA for run in runs)
    assert {run["status"] for run in runs} == {"pending", "running", "succeeded", "failed"}


def test_get_run_returns_a_sample_run(api: RunsApi) -> None:
    """The run names the actors of its changes."""
    answer = api.send(event("get-run"))
    assert (answer.status, answer.json["id"]) == (200, SAMPLE_RUN_IDS["get-run"])
    assert answer.json["finished_by"] == ADA


@pytest.mark.parametrize(
    ("change", "status", "column", "actor"),
    [
        ("start", "running", "started_by", NIGHTLY_TRAIN),
        ("finish", "succeeded", "finished_by", NIGHTLY_TRAIN),
        ("fail", "failed", "finished_by", NIGHTLY_TRAIN),
        ("cancel", "cancelled", "cancelled_by", ADA),
    ],
)
def test_change_succeeds_once(
    api: RunsApi, change: str, status: str, column: str, actor: Mapping[str, Any]
) -> None:
    """Each change has its own run in the state that it needs, and records its actor."""
    answer = api.send(event(f"{change}-run"))
    assert (answer.status, answer.json["status"]) == (200, status)
    assert answer.json[column] == actor
    assert answer.json["executed_by"] == ADA
    again = api.send(event(f"{change}-run"))
    assert (again.status, again.json["current_status"]) == (409, status)


def test_delete_run_deletes_its_run(api: RunsApi) -> None:
    """The answers are 204, then 404."""
    assert [api.send(event("delete-run")).status for _ in range(2)] == [204, 404]


def test_audit_list_of_a_run_has_its_records(api: RunsApi) -> None:
    """The records of the sample run are listed newest first, all of them by Ada."""
    answer = api.send(event("list-audit-of-run"))
    assert [record["action"] for record in answer.json["records"]] == [
        "finish_run",
        "start_run",
        "create_run",
    ]
    assert all(record["actor"] == ADA for record in answer.json["records"])


def test_no_token_is_answered_or_logged(api: RunsApi, capsys: pytest.CaptureFixture[str]) -> None:
    """No event's answer or log holds a segment of a token."""
    for name in names():
        api.send(event(name))
    captured = capsys.readouterr()
    output = captured.out + captured.err + "".join(api.answers)
    assert "duplicated_header" in output
    tokens = [
        value.removeprefix("Bearer ")
        for name in names()
        for header, values in event(name).get("multiValueHeaders", {}).items()
        if header in ("x-amzn-oidc-data", "authorization", "x-amzn-oidc-accesstoken")
        for value in values
    ]
    assert not [segment for segment in segments_of(tokens) if segment in output]


def test_seed_writes_the_sample_runs_alone(table: DynamoDb, api: RunsApi) -> None:
    """The seed writes the sample runs and nothing else."""
    del api
    rows = {(row["project"]["S"], row["id"]["S"]) for row in table.rows()}
    assert rows == {(PROJECT, run_id) for run_id in SAMPLE_RUN_IDS.values()}
