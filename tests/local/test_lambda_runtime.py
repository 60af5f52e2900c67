"""The host of functions: what Lambda promises its caller, on a real runtime interface client."""

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
        case "say": print("said by the function")
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
    with (tmp_path / "log").open("w+b") as file:
        yield file


def test_event_comes_back_as_the_answer(function: Function) -> None:
    """An event reaches the handler as it is, and its answer the caller."""
    event = {"do": "echo", "text": "ä☃", "nested": [1, {"x": None}]}
    with FunctionHost(function) as host:
        assert host.invoke(event) == event
        assert host.invoke({**event, "n": 2}) == {**event, "n": 2}


def test_one_megabyte_passes_both_ways(function: Function) -> None:
    """Nothing smaller than Lambda's own limits is cut or refused."""
    with FunctionHost(function) as host:
        assert len(host.invoke({"do": "blob", "size": 1_048_576, "in": "y" * 1_048_576})) == 2**20


def test_environment_is_lambdas_and_the_functions_own_only(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the host's environment leaks into the function."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the developer's own")
    with FunctionHost(function) as host:
        environment = host.invoke({"do": "environment"})
    assert environment["GREETING"] == "hello"
    assert environment["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert environment["LAMBDA_TASK_ROOT"] == str(function.code[0])
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert "HOME" not in environment


def test_context_carries_request_id_arn_and_deadline(function: Function) -> None:
    """The handler's context is filled as on Lambda."""
    with FunctionHost(function) as host:
        first, name, arn, left = host.invoke({"do": "context"})
        second, *_ = host.invoke({"do": "context"})
    assert first != second
    assert name == "AnswerFunction"
    assert arn.endswith(":function:AnswerFunction")
    assert 0 < left <= 5000


def test_exception_is_reported_and_the_instance_lives_on(function: Function) -> None:
    """A handler that raises fails its own invocation only."""
    with FunctionHost(function) as host:
        with pytest.raises(FunctionFailed) as failed:
            host.invoke({"do": "raise"})
        assert (failed.value.error_type, failed.value.error_message) == ("KeyError", "'left'")
        assert host.invoke({"do": "echo"}) == {"do": "echo"}


@pytest.mark.parametrize(
    ("deed", "error_type"), [("exit", "Runtime.ExitError"), ("sleep", "Sandbox.Timedout")]
)
def test_process_that_dies_or_hangs_is_replaced(
    function: Function, deed: str, error_type: str
) -> None:
    """The invocation fails with Lambda's error type, and the next one finds a new process."""
    impatient = Function(
        handler=function.handler, code=function.code, environment={}, timeout_seconds=1
    )
    with FunctionHost(impatient) as host:
        pid = host.invoke({"do": "pid"})
        with pytest.raises(FunctionFailed) as failed:
            host.invoke({"do": deed})
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
    """An error of init is told apart, with the runtime's own words."""
    broken = Function(handler=handler, code=function.code, environment={})
    with FunctionHost(broken) as host, pytest.raises(InitFailed) as failed:
        host.wait_until_ready()
    assert failed.value.error_type == error_type


def test_output_of_the_function_goes_to_the_log(function: Function, log: IO[bytes]) -> None:
    """What the function prints can be searched."""
    with FunctionHost(function, log=log) as host:
        host.invoke({"do": "say"})
    log.seek(0)
    assert b"said by the function" in log.read()


def test_timings_are_in_order_and_tell_init_from_invocation(function: Function) -> None:
    """Start, readiness, delivery, answer: what a benchmark subtracts."""
    with FunctionHost(function) as host:
        host.invoke({"do": "pid"})
        timings = host.instances[0].timings
    assert 0 < timings.started < timings.ready < timings.delivered < timings.answered
    assert timings.answered - timings.delivered >= 0.2


def test_snap_start_reports_where_the_snapshot_would_be(function: Function) -> None:
    """With SnapStart the runtime passes `restore/next` before it asks for work."""
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


def test_no_process_outlives_the_host(function: Function) -> None:
    """Leaving the block ends every child, busy ones too."""
    with FunctionHost(function, instances=2) as host:
        with ThreadPoolExecutor(2) as threads:
            pids = set(threads.map(host.invoke, [{"do": "pid"}] * 2))
        processes = [psutil.Process(instance.pid) for instance in host.instances]
    assert {process.pid for process in processes} == pids
    assert len(pids) == 2
    assert not any(process.is_running() for process in processes)
