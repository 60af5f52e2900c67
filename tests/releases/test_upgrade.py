"""A new version works with what each version before it left in AWS and with its clients.

Each recording of `recorded/` is loaded as it was written, and used by today's code.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from byline.refresh.runner_rows import read_runner, runner_key
from byline.refresh.token_rows import TokenRow, read_token_row
from byline.refresh.work_units import read_message
from tests.refresh.world import TABLE as RUNNERS
from tests.releases.recording import CREDENTIAL, Recording
from tests.releases.service import PROJECT, Service
from tests.template.stack import resources
from tools.release_notes import RECORDINGS

RELEASES = sorted(RECORDINGS.glob("*.json"))
TIME_TO_LIVE = {
    name: body["Properties"]["TimeToLiveSpecification"]["AttributeName"]
    for name, body in resources("AWS::DynamoDB::Table").items()
    if "TimeToLiveSpecification" in body["Properties"]
}


@pytest.fixture(params=RELEASES, ids=[path.stem for path in RELEASES])
def left(request: pytest.FixtureRequest, of: Service) -> Recording:
    """What a release left, loaded."""
    path: Path = request.param
    recording = Recording.read(path)
    for table, rows in recording.tables.items():
        for row in rows:
            of.world.dynamodb.put_item(TableName=table, Item=as_then(table, row))
    for name, versions in recording.secrets.items():
        of.world.catch_up()
        (identifier, text), *later = versions
        client = of.world.secrets_manager
        client.create_secret(Name=name, ClientRequestToken=identifier, SecretString=text)
        for identifier, text in later:
            client.put_secret_value(SecretId=name, ClientRequestToken=identifier, SecretString=text)
    return recording


def as_then(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row whose time to live has not passed, as when it was recorded, and whose work is due."""
    now = int(time.time())
    row = dict(row)
    if (name := TIME_TO_LIVE.get(table, "")) in row:
        row[name] = {"N": str(now + 3600)}
    if "due_at" in row:
        row["due_at"] = {"N": str(min(now, int(row["due_at"]["N"])))}
    return row


def test_recorded_rows_are_shown_as_before(of: Service, left: Recording) -> None:
    """Each GET answers what it answered then. It may answer more."""
    assert left.reads
    for path, before in left.reads.items():
        answer = of.call("GET", path)
        assert answer.status == 200, path
        assert differences(timeless(before), timeless(answer.json)) == [], path


def test_recorded_cursors_lead_to_the_same_rows(of: Service, left: Recording) -> None:
    """A cursor that a client kept over the upgrade continues its list."""
    assert left.pages
    for page in left.pages:
        answer = of.call("GET", page["path"], query=page["query"])
        assert answer.status == 200, page["path"]
        # A list of the caller's own records now starts with those of this test.
        assert differences(page["rows"], answer.json[page["member"]]) == [], page["path"]


def test_recorded_idempotency_keys_give_the_same_run(of: Service, left: Recording) -> None:
    """A create that is repeated after the upgrade gives the run that it created before."""
    for replay in left.replays:
        headers = [(name, value) for name, value in replay["headers"]]
        answer = of.call("POST", replay["path"], document=replay["document"], headers=headers)
        assert (answer.status, answer.json["id"]) == (200, replay["id"])


def test_recorded_runs_go_on(of: Service, left: Recording) -> None:
    """Runs of every state change, refuse changes and are deleted as runs of today."""
    run = left.runs
    assert of.call("POST", f"/runs/{run['pending']}/start", document={}).json["status"] == "running"
    done = of.call("POST", f"/runs/{run['running']}/finish", document={})
    assert done.json["status"] == "succeeded"
    for ended in ("succeeded", "failed", "cancelled"):
        assert of.call("POST", f"/runs/{run[ended]}/start", document={}).status == 409
        assert of.call("DELETE", f"/runs/{run[ended]}").status == 204
    assert of.call("GET", f"/runs/{run['deleted']}").status == 404


def test_recorded_roles_and_service_accounts_count(of: Service, left: Recording) -> None:
    """A service account that acted for a person still does."""
    answer = of.call("GET", f"/runs/{left.runs['running']}", by="nightly")
    assert answer.status == 200
    created = of.call("POST", "/runs", by="nightly", document={"name": "after-the-upgrade"})
    assert (
        created.json["on_behalf_of"]
        == of.call("GET", f"/runs/{left.runs['running']}").json["executed_by"]
    )


def test_recorded_credential_is_handed_out(of: Service, left: Recording) -> None:
    """The token of a credential that was stored before is read, after its role is granted."""
    assert left.secrets
    binding = {"role": "credential:token-reader", "subject": "ada"}
    assert of.call("PUT", "/role-bindings", document=binding).status == 201
    assert of.call("GET", "/credentials/github/token").json["token"] == CREDENTIAL


def test_recorded_tokens_are_refreshed(of: Service, left: Recording) -> None:
    """A runner of a release before gets its next token, with a higher generation."""
    assert left.secrets
    before = {name: token_of(of, name) for name in ("cpu", "gpu")}
    of.work_off()
    for name, row in before.items():
        assert token_of(of, name).generation > row.generation
        answer = of.call("GET", f"/runners/{name}/token", by="nightly")
        assert answer.json["token"] == of.world.token(token_of(of, name))["token"]


def test_recorded_messages_of_the_queue_are_understood(of: Service, left: Recording) -> None:
    """A message that was sent before the upgrade and received after it names its work unit."""
    del of
    assert left.messages
    for body in left.messages:
        assert read_message(body).project == PROJECT


def timeless(answer: Any) -> Any:
    """An answer without the status of a token, which has expired since it was recorded."""
    runners = answer.get("tokens", answer.get("runners", [answer] if "client" in answer else []))
    for each in runners:
        del each["status"]
    return answer


def token_of(of: Service, name: str) -> TokenRow:
    """The row of the token that a runner points to."""
    get = partial(of.world.dynamodb.get_item, TableName=RUNNERS)
    runner = read_runner(get(Key=runner_key(PROJECT, name))["Item"])
    return read_token_row(get(Key=runner.token_key)["Item"])


def differences(before: Any, now: Any, at: str = "") -> list[str]:
    """Where `now` lacks or changes what `before` says."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            difference
            for name, value in before.items()
            for difference in (
                differences(value, now[name], f"{at}/{name}") if name in now else [f"{at}/{name}"]
            )
        ]
    if isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            return [f"{at}: {len(before)} became {len(now)}"]
        return [
            difference
            for index, (one, other) in enumerate(zip(before, now, strict=True))
            for difference in differences(one, other, f"{at}/{index}")
        ]
    return [] if before == now else [f"{at}: {before!r} became {now!r}"]
