"""The host of functions: Lambda's behaviour, with the real runtime interface client."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import psutil
import pytest

from local.lambda_runtime import Function, FunctionFailed, FunctionHost, InitFailed

FUNCTION = """
import os, time

def handler(event, context):
    match event["do"]:
        case "raise": raise KeyError("left")
        case "exit": os._exit(3)
        case "sleep": time.sleep(30)
        case "print": print("a line of the function")
        case "environment": return dict(os.environ)
        case "context":
            return [context.aws_request_id, context.function_name, context.invoked_function_arn,
                    context.get_remaining_time_in_millis()]
        case "blob": return "x" * event["size"]
        case "pid": time.sleep(0.2); return os.getpid()
    return event
"""


@pytest.fixture
def function(tmp_path: Path) -> Function:
    """A function that does what its event says."""
    (tmp_path / "answer_anything.py").write_text(FUNCTION)
    return Function(
        handler="answer_anything.handler",
        code=(tmp_path, tmp_path / "layer"),
        environment={"GREETING": "hello"},
        name="AnswerFunction",
        timeout_seconds=5,
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[IO[bytes]]:
    """An empty file for the function's output."""
    with (tmp_path / "log").open("w+b") as file:
        yield file


def test_event_comes_back_as_the_answer(function: Function) -> None:
    """The handler gets the event unchanged, and the caller gets its answer unchanged."""
    event = {"do": "echo", "text": "ä☃", "nested": [1, {"x": None}]}
    with FunctionHost(function) as host:
        assert host.invoke(event) == event
        assert host.invoke({**event, "n": 2}) == {**event, "n": 2}


def test_one_megabyte_passes_both_ways(function: Function) -> None:
    """An event and an answer of one megabyte arrive complete."""
    with FunctionHost(function) as host:
        assert len(host.invoke({"do": "blob", "size": 1_048_576, "in": "y" * 1_048_576})) == 2**20


def test_function_does_not_get_the_hosts_environment(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function gets its own variables and Lambda's, and none of the host's."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the developer's own")
    with FunctionHost(function) as host:
        environment = host.invoke({"do": "environment"})
    assert environment["GREETING"] == "hello"
    assert environment["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert environment["LAMBDA_TASK_ROOT"] == str(function.code[0])
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert "HOME" not in environment


def test_context_carries_request_id_arn_and_deadline(function: Function) -> None:
    """The context has a new request id, the function's name and ARN, and the time left."""
    with FunctionHost(function) as host:
        first, name, arn, left = host.invoke({"do": "context"})
        second, *_ = host.invoke({"do": "context"})
    assert first != second
    assert name == "AnswerFunction"
    assert arn.endswith(":function:AnswerFunction")
    assert 0 < left <= 5000


def test_exception_fails_its_own_invocation_only(function: Function) -> None:
    """The caller gets the exception's type and message, and the instance takes the next event."""
    with FunctionHost(function) as host:
        with pytest.raises(FunctionFailed) as failed:
            host.invoke({"do": "raise"})
        assert (failed.value.error_type, failed.value.error_message) == ("KeyError", "'left'")
        assert host.invoke({"do": "echo"}) == {"do": "echo"}


@pytest.mark.parametrize(
    ("action", "error_type"), [("exit", "Runtime.ExitError"), ("sleep", "Sandbox.Timedout")]
)
def test_process_that_dies_or_hangs_is_replaced(
    function: Function, action: str, error_type: str
) -> None:
    """The invocation fails with Lambda's error type, and the next one gets a new process."""
    short = Function(
        handler=function.handler, code=function.code, environment={}, timeout_seconds=1
    )
    with FunctionHost(short) as host:
        pid = host.invoke({"do": "pid"})
        with pytest.raises(FunctionFailed) as failed:
            host.invoke({"do": action})
        assert failed.value.error_type == error_type
        assert host.invoke({"do": "pid"}) != pid


@pytest.mark.parametrize(
    ("handler", "error_type"),
    [
        ("missing.handler", "Runtime.ImportModuleError"),
        ("answer_anything.missing", "Runtime.HandlerNotFound"),
    ],
)
def test_handler_that_cannot_be_loaded_fails_init(
    function: Function, handler: str, error_type: str
) -> None:
    """A failed init raises its own exception, with the error type of the runtime."""
    broken = Function(handler=handler, code=function.code, environment={})
    with FunctionHost(broken) as host, pytest.raises(InitFailed) as failed:
        host.wait_until_ready()
    assert failed.value.error_type == error_type


def test_output_of_the_function_goes_to_the_log(function: Function, log: IO[bytes]) -> None:
    """A line that the function prints is in the log file."""
    with FunctionHost(function, log=log) as host:
        host.invoke({"do": "print"})
    log.seek(0)
    assert b"a line of the function" in log.read()


def test_timings_separate_init_from_invocation(function: Function) -> None:
    """A benchmark can tell the times of start, readiness, delivery and answer."""
    with FunctionHost(function) as host:
        host.invoke({"do": "pid"})
        timings = host.instances[0].timings
    assert 0 < timings.started < timings.ready < timings.delivered < timings.answered
    assert timings.answered - timings.delivered >= 0.2


def test_snap_start_has_a_time_of_restore(function: Function) -> None:
    """With SnapStart the runtime calls `restore/next` between start and readiness."""
    snapshotted = Function(
        handler=function.handler, code=function.code, environment={}, initialization="snap-start"
    )
    with FunctionHost(snapshotted) as host:
        environment = host.invoke({"do": "environment"})
        timings = host.instances[0].timings
    assert environment["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
    assert timings.started < timings.restored < timings.ready


def test_second_instance_starts_when_the_first_is_busy(function: Function) -> None:
    """A function that serves one request after the other needs one process."""
    with FunctionHost(function, instances=2) as host:
        assert host.invoke({"do": "pid"}) == host.invoke({"do": "pid"})
        assert len(host.instances) == 1
        with ThreadPoolExecutor(2) as threads:
            assert len(set(threads.map(host.invoke, [{"do": "pid"}] * 2))) == 2
        assert len(host.instances) == 2


def test_stopped_host_leaves_no_process(function: Function) -> None:
    """The host ends all its instances when it stops, busy ones too."""
    with FunctionHost(function, instances=2) as host:
        with ThreadPoolExecutor(2) as threads:
            pids = set(threads.map(host.invoke, [{"do": "pid"}] * 2))
        processes = [psutil.Process(instance.pid) for instance in host.instances]
    assert {process.pid for process in processes} == pids
    assert len(pids) == 2
    assert not any(process.is_running() for process in processes)
