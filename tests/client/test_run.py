"""`byline run`: a command runs, and its record says what happened, also without the service."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, problem, told

NOWHERE = "http://127.0.0.1:9"
PROJECT = "research"


@pytest.fixture
def job(byline: CommandLine, stack: RunningStack) -> CommandLine:
    """The command with the token of a job."""
    return byline.having(
        BYLINE_URL=stack.url, BYLINE_TOKEN=stack.machine_token(), BYLINE_PROJECT=PROJECT
    )


def runs(job: CommandLine, name: str) -> "list[dict[str, Any]]":
    """The recorded runs of this name, the newest first."""
    environ = job.environ
    answer = httpx.get(
        f"{environ['BYLINE_URL']}/v1/projects/{PROJECT}/runs",
        params={"limit": 100},
        headers={"authorization": f"Bearer {environ['BYLINE_TOKEN']}"},
    )
    answer.raise_for_status()
    return [run for run in answer.json()["runs"] if run["name"] == name]


def python(code: str) -> "list[str]":
    """The words of a command that runs Python code."""
    return ["--", sys.executable, "-c", code]


def wait_for(path: Path) -> None:
    """Wait until a child process has written a file."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.stack
def test_command_is_recorded_from_start_to_end(job: CommandLine) -> None:
    """A command that succeeds leaves a run that succeeded, with its name, labels and creator."""
    done = job("run", "--name", "nightly", "--label", "team=ml", *python("print('output')"))
    assert (done.returncode, done.stdout) == (0, "output\n")
    [run] = runs(job, "nightly")
    assert (run["status"], run["heartbeat_seconds"]) == ("succeeded", 120)
    assert (run["exit_code"], run["reason"]) == (0, None)
    assert run["labels"] == {"team": "ml"}
    assert run["who"]["executed_by"]["name"] == "nightly-train"
    assert list(job.config.rglob("spool/*.json")) == []


@pytest.mark.stack
@pytest.mark.parametrize(("code", "status"), [(0, "succeeded"), (1, "failed"), (42, "failed")])
def test_exit_code_is_passed_through(job: CommandLine, code: int, status: str) -> None:
    """The job fails as the command did, and the run says so."""
    name = f"exit-{code}"
    assert job("run", "--name", name, *python(f"raise SystemExit({code})")).returncode == code
    [run] = runs(job, name)
    assert (run["status"], run["exit_code"], run["reason"]) == (status, code, None)


@pytest.mark.stack
def test_command_that_a_signal_ended_has_the_code_of_a_shell(job: CommandLine) -> None:
    """A command that was killed ends with 128 and the number of the signal."""
    code = "import os; os.kill(os.getpid(), 9)"
    assert job("run", "--name", "killed", *python(code)).returncode == 137
    [run] = runs(job, "killed")
    assert (run["status"], run["exit_code"]) == ("failed", 137)
    assert run["reason"] == "Ended by signal SIGKILL."
    shown = job("show", run["id"], "--project", PROJECT).stdout
    assert "Ended by signal SIGKILL." in shown
    assert "137" in shown


@pytest.fixture
def not_in_background() -> Iterator[None]:
    """Processes get SIGINT. A shell lets its jobs in the background ignore it, these tests too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.stack
@pytest.mark.usefixtures("not_in_background")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_reaches_the_command_and_cancels_the_run(
    job: CommandLine, tmp_path: Path, number: signal.Signals
) -> None:
    """The command can end by itself when the job is stopped, and the run is cancelled."""
    name, ready, ended = f"stopped-{number}", tmp_path / "ready", tmp_path / "ended"
    code = (
        "import pathlib, signal, sys, time\n"
        f"def end(*_): pathlib.Path({str(ended)!r}).write_text('x'); sys.exit(3)\n"
        f"signal.signal({int(number)}, end)\n"
        f"pathlib.Path({str(ready)!r}).write_text('x')\n"
        "time.sleep(60)\n"
    )
    with job.start("run", "--name", name, *python(code)) as process:
        wait_for(ready)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 3
    assert ended.exists()
    assert [run["status"] for run in runs(job, name)] == ["cancelled"]


@pytest.mark.stack
def test_run_within_a_run_names_its_parent(job: CommandLine) -> None:
    """A step that records itself is a child of the run that started it."""
    inner = [sys.executable, "-m", "byline_client", "run", "--name", "inner", "--", "true"]
    assert job("run", "--name", "outer", "--", *inner).returncode == 0
    [outer], [inside] = runs(job, "outer"), runs(job, "inner")
    assert inside["parent_run"] == outer["id"]
    assert outer["parent_run"] is None


@pytest.mark.stack
def test_command_runs_without_the_service_and_is_recorded_afterwards(
    job: CommandLine, stack: RunningStack
) -> None:
    """An outage of Byline stops no job. The next command with a connection records it."""
    offline = job.having(BYLINE_URL=NOWHERE, BYLINE_TIMEOUT="1")
    done = offline("run", "--name", "offline", *python("print('output')"))
    assert (done.returncode, done.stdout) == (0, "output\n")
    assert "recorded afterwards" in done.stderr
    [entry] = job.config.glob("spool/*.json")
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert job.environ["BYLINE_TOKEN"] not in entry.read_text()
    assert runs(job, "offline") == []
    # The outage is over: the same service answers.
    entry.write_text(entry.read_text().replace(NOWHERE, stack.url))
    assert job("catch-up").stdout == "1\n"
    assert job("catch-up").stdout == "0\n"
    [run] = runs(job, "offline")
    assert (run["status"], run["exit_code"]) == ("succeeded", 0)


@pytest.mark.stack
def test_record_that_was_sent_already_is_made_once(job: CommandLine, stack: RunningStack) -> None:
    """A process killed after the service answered leaves an entry that changes nothing."""
    offline = job.having(BYLINE_URL=NOWHERE, BYLINE_TIMEOUT="1")
    offline("run", "--name", "twice", "--", "false")
    [entry] = job.config.glob("spool/*.json")
    text = entry.read_text().replace(NOWHERE, stack.url)
    for _ in range(2):
        entry.write_text(text)
        assert job("catch-up").stdout == "1\n"
    assert [run["status"] for run in runs(job, "twice")] == ["failed"]


@pytest.mark.stack
def test_other_callers_records_are_left_alone(job: CommandLine, stack: RunningStack) -> None:
    """A run is never recorded as another caller's."""
    offline = job.having(BYLINE_URL=NOWHERE, BYLINE_TIMEOUT="1")
    offline("run", "--name", "mine", "--", "true")
    [entry] = job.config.glob("spool/*.json")
    entry.write_text(entry.read_text().replace(NOWHERE, stack.url))
    other = job.having(BYLINE_TOKEN=stack.machine_token("assistant"))
    done = other("catch-up")
    assert done.stdout == "0\n"
    assert "1 runs of other callers" in done.stderr
    assert entry.exists()


@pytest.mark.stack
def test_killed_client_leaves_no_false_record(job: CommandLine, tmp_path: Path) -> None:
    """A client that is killed while the command runs claims no end of the run."""
    ready = tmp_path / "ready"
    code = f"import pathlib, time; pathlib.Path({str(ready)!r}).write_text('x'); time.sleep(3)"
    with job.start("run", "--name", "murdered", *python(code)) as process:
        wait_for(ready)
        process.kill()
        process.communicate(timeout=60)
    assert [run["status"] for run in runs(job, "murdered")] == ["running"]
    assert list(job.config.glob("spool/*.json")) == []


def test_heartbeats_are_sent_while_the_command_runs(byline: CommandLine) -> None:
    """The service learns the allowed silence, and hears of the command until it ends."""
    with told(lambda _: Told(201, json.dumps({"id": "01JABC"}))) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        options = ["--project", PROJECT, "--heartbeat", "2.5"]
        assert ready("run", *options, "--", "sleep", "6").returncode == 0
        created, *_, last = server.received
        beats = [each for each in server.received if each.path.endswith("/01JABC/heartbeat")]
    assert json.loads(created.body) == {"heartbeat_seconds": 10}
    assert len(beats) == 2
    assert last.path.endswith("/finish")


def test_heartbeats_can_be_switched_off(byline: CommandLine) -> None:
    """Without them the service waits for the end of the run for ever."""
    with told(lambda _: Told(201, json.dumps({"id": "01JABC"}))) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        options = ["--project", PROJECT, "--heartbeat", "0"]
        assert ready("run", *options, "--", "true").returncode == 0
        assert server.received[0].body == "{}"


@pytest.mark.parametrize("seconds", ["2.4", "901", "-1"])
def test_heartbeats_that_the_service_refuses_are_wrong_usage(
    byline: CommandLine, seconds: str
) -> None:
    """The bounds are those of the service, before any request."""
    ready = byline.having(BYLINE_URL=NOWHERE, BYLINE_TOKEN="a.b.c")
    done = ready("run", "--project", PROJECT, "--heartbeat", seconds, "--", "true")
    assert done.returncode == 2
    assert "--heartbeat" in done.stderr


@pytest.mark.parametrize(
    ("answer", "beats"),
    [(problem(409, "wrong_state", current_status="cancelled"), 1), (Told(0), 2), (Told(500), 2)],
    ids=["ended by somebody else", "no answer", "broken"],
)
def test_heartbeats_that_fail_do_not_stop_the_command(
    byline: CommandLine, answer: Told, beats: int
) -> None:
    """Only a run that is over gets no more heartbeats, and that is said."""

    def refuse(request: Received) -> Told:
        is_heartbeat = request.path.endswith("/heartbeat")
        return answer if is_heartbeat else Told(201, json.dumps({"id": "01JABC"}))

    with told(refuse) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c", BYLINE_TIMEOUT="1")
        options = ["--project", PROJECT, "--heartbeat", "2.5"]
        done = ready("run", *options, "--", "sh", "-c", "sleep 7; echo output")
        sent = [each for each in server.received if each.path.endswith("/heartbeat")]
    assert (done.returncode, done.stdout) == (0, "output\n")
    assert len(sent) >= beats if beats > 1 else len(sent) == 1
    assert ("the run is cancelled" in done.stderr) == (beats == 1)


def test_client_killed_while_it_records_the_end_leaves_an_entry(byline: CommandLine) -> None:
    """The end of a run is kept before it is sent, so that a later process can send it."""

    def hang_at_the_end(request: Received) -> Told:
        if request.path.endswith("/finish"):
            time.sleep(5)
        return Told(201, json.dumps({"id": "01JABC"}))

    with told(hang_at_the_end) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        with ready.start("run", "--project", PROJECT, "--", "true") as process:
            while not any(each.path.endswith("/finish") for each in server.received):
                time.sleep(0.05)
            process.kill()
            process.communicate(timeout=60)
    [entry] = byline.config.glob("spool/*.json")
    assert json.loads(entry.read_text())["outcome"] == "finish"
    assert json.loads(entry.read_text())["run_id"] == "01JABC"
    assert json.loads(entry.read_text())["exit_code"] == 0


def test_command_that_cannot_be_executed_fails_the_run(byline: CommandLine, tmp_path: Path) -> None:
    """The reason says that the command did not run, which its exit code alone does not."""
    (tmp_path / "data").write_text("no program")
    with told(lambda _: Told(201, json.dumps({"id": "01JABC"}))) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        done = ready("run", "--project", PROJECT, "--", str(tmp_path / "data"))
        [*_, last] = server.received
    assert done.returncode == 126
    assert last.path.endswith("/fail")
    end = {"reason": "The command cannot be executed.", "exit_code": 126}
    assert json.loads(last.body) == end


def test_entry_of_an_earlier_version_is_recorded(byline: CommandLine) -> None:
    """An entry without a reason and an exit code is sent as it was kept."""
    with told(lambda _: Told(201, json.dumps({"id": "01JABC"}))) as server:
        offline = byline.having(BYLINE_URL=server.url)
        offline("run", "--project", PROJECT, "--", "false")
        [entry] = byline.config.glob("spool/*.json")
        members = json.loads(entry.read_text())
        del members["reason"], members["exit_code"]
        entry.write_text(json.dumps(members))
        assert offline.having(BYLINE_TOKEN="a.b.c")("catch-up").stdout == "1\n"
        [*_, last] = server.received
    assert last.path.endswith("/fail")
    assert last.body == ""


def test_run_without_a_sign_in_is_recorded_after_the_sign_in(byline: CommandLine) -> None:
    """A person who forgot to sign in loses no record."""
    with told(lambda _: Told(201, json.dumps({"id": "01JABC"}))) as server:
        ready = byline.having(BYLINE_URL=server.url)
        done = ready("run", "--project", PROJECT, "--", "true")
        assert done.returncode == 0
        assert server.received == []
        assert ready.having(BYLINE_TOKEN="a.b.c")("catch-up").stdout == "1\n"
        assert [each.path.rpartition("/")[2] for each in server.received] == [
            "runs",
            "start",
            "finish",
        ]


@pytest.mark.parametrize("answer", [problem(403, "forbidden"), problem(401, "expired"), Told(302)])
def test_refused_record_does_not_stop_the_command(byline: CommandLine, answer: Told) -> None:
    """A wrong project or token is said, and the command runs nevertheless."""
    with told(lambda _: answer) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c", BYLINE_TIMEOUT="2")
        done = ready("run", "--project", PROJECT, "--", "sh", "-c", "echo output; exit 7")
    assert (done.returncode, done.stdout) == (7, "output\n")
    assert "runs without a record" in done.stderr


@pytest.mark.parametrize(
    ("answer", "code"), [(problem(403, "forbidden"), 1), (problem(401, "expired"), 4), (Told(0), 3)]
)
def test_strict_command_does_not_run_without_a_record(
    byline: CommandLine, tmp_path: Path, answer: Told, code: int
) -> None:
    """With `--strict` nothing runs that is not recorded."""
    with told(lambda _: answer) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c", BYLINE_TIMEOUT="1")
        words = ["touch", str(tmp_path / "ran")]
        done = ready("run", "--strict", "--project", PROJECT, "--", *words)
    assert done.returncode == code
    assert not (tmp_path / "ran").exists()


def test_lost_answers_create_one_run(byline: CommandLine) -> None:
    """Every attempt has the same idempotency key, and a change that was made is accepted."""
    seen: list[str] = []

    def lose_the_first(request: Received) -> Told:
        seen.append(request.path)
        if seen.count(request.path) == 1:
            return Told(0)
        if request.path.endswith("/start"):
            return problem(409, "wrong_state", current_status="running")
        if request.path.endswith("/finish"):
            return problem(409, "wrong_state", current_status="succeeded")
        return Told(201, json.dumps({"id": "01JABC"}))

    with told(lose_the_first) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        done = ready("run", "--project", PROJECT, "--", "true")
        keys = {
            request.headers.get("idempotency-key")
            for request in server.received
            if request.path.endswith("/runs")
        }
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(keys) == 1
    assert None not in keys


def test_command_that_does_not_exist_is_not_recorded(byline: CommandLine) -> None:
    """A typing error ends with 127, as in a shell, and creates no run."""
    with told(lambda _: Told()) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        done = ready("run", "--project", PROJECT, "--", "no-such-command-here")
        assert server.received == []
    assert done.returncode == 127
    assert "no command no-such-command-here" in done.stderr


def test_token_is_in_no_argument_of_a_process(byline: CommandLine, tmp_path: Path) -> None:
    """Other users see the arguments of all processes. None of them has the token."""
    token = "e30.c2VjcmV0LXRva2Vu.c2ln"
    code = (
        "import pathlib\n"
        "found = [p.read_bytes() for p in pathlib.Path('/proc').glob('[0-9]*/cmdline')]\n"
        "print(any(b'c2VjcmV0' in each for each in found if each and b'pathlib' not in each))\n"
    )
    with told(lambda _: Told(201, json.dumps({"id": "01JABC"}))) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN=token)
        done = ready("run", "--project", PROJECT, *python(code))
    assert done.stdout == "False\n"
    assert token not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--", "true"],
        ["--project", PROJECT, "--label", "novalue", "--", "true"],
        ["--project", "a"],
    ],
)
def test_wrong_usage_runs_nothing(byline: CommandLine, arguments: "list[str]") -> None:
    """Without a project, a command, or the value of a label, nothing runs."""
    ready = byline.having(BYLINE_URL=NOWHERE, BYLINE_TOKEN="a.b.c")
    assert ready("run", *arguments).returncode == 2


def test_nohup_stays_in_force(byline: CommandLine) -> None:
    """A signal that the parent ignores does not cancel the run."""
    with told(lambda _: Told(201, json.dumps({"id": "01JABC"}))) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        words = (
            f"{sys.executable} -m byline_client run --project {PROJECT} -- sh -c 'kill -HUP $PPID'"
        )
        done = subprocess.run(
            ["sh", "-c", f"trap '' HUP; {words}"],
            env={**ready.whole_environment, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        paths = [request.path for request in server.received]
    assert done.returncode == 0, done.stderr
    assert paths[-1].endswith("/finish")
