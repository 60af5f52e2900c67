"""What `make smoke` says of faults that AWS on this machine cannot have, and how it cleans up."""

import signal
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.deploy.smoke_fakes import FakeStack, around, verdict_of
from tools.smoke import live_version, one_creator
from tools.smoke.endpoint import Endpoint
from tools.smoke.intrinsics import ABSENT, Resolver, Unresolvable
from tools.smoke.verdicts import Cleanup, Failed, NotChecked, interrupt_deferred, verdicts


def is_at(key: Any, row: Any) -> bool:
    """Whether a row has this key."""
    return all(row[name] == value for name, value in key.items())


class CarelessTable:
    """DynamoDB that evaluates no condition."""

    exceptions = boto3.client("dynamodb").exceptions

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def transact_write_items(self, **request: Any) -> None:
        self.rows += [each["Put"]["Item"] for each in request["TransactItems"]]

    def delete_item(self, **request: Any) -> None:
        self.rows = [row for row in self.rows if not is_at(request["Key"], row)]


def test_accepted_row_with_both_creators_fails_and_is_deleted() -> None:
    """The check fails where DynamoDB evaluates no condition, and leaves no row."""
    table = CarelessTable()
    verdict = verdict_of(partial(one_creator.check, around(FakeStack(dynamodb=table))))
    expected = "expected a row with both creators is refused; seen: DynamoDB accepted it"
    assert (verdict.outcome, verdict.detail) == ("FAILED", expected)
    assert table.rows == []


def environment(**variables: str) -> dict[str, Any]:
    """The environment of a function."""
    return {"Environment": {"Variables": variables}}


ASKED: dict[str, Any] = {
    "Description": "Configuration 3",
    "Timeout": 30,
    "MemorySize": "512",
    "Architectures": ["arm64"],
    "Handler": "serve_runs.handler.handler",
    "TracingConfig": {"Mode": "Active"},
    "Layers": ["arn:layer:1"],
    "SnapStart": {"ApplyOn": "PublishedVersions"},
    **environment(IDENTITY_TRUST="verify", PROJECT_ADMINS="ada"),
}
LIVE: dict[str, Any] = {
    **ASKED,
    "MemorySize": 512,
    "Layers": [{"Arn": "arn:layer:1"}],
    "SnapStart": {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"},
}


@pytest.mark.parametrize(
    ("change", "asked", "live"),
    [
        ({"MemorySize": 256}, "MemorySize=512", "MemorySize=256"),
        ({"Layers": [{"Arn": "old"}]}, "Layers=['arn:layer:1']", "Layers=['old']"),
        (
            {"SnapStart": {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}},
            "snapshot=On",
            "snapshot=Off",
        ),
        (
            {
                "Environment": {
                    "Variables": {"IDENTITY_TRUST": "forwarded", "PROJECT_ADMINS": "ada"}
                }
            },
            "IDENTITY_TRUST=verify",
            "IDENTITY_TRUST=forwarded",
        ),
        (
            environment(IDENTITY_TRUST="verify"),
            "PROJECT_ADMINS=ada",
            "PROJECT_ADMINS=None",
        ),
    ],
)
def test_setting_that_is_not_live_is_named(change: dict[str, Any], asked: str, live: str) -> None:
    """A version that was published before a parameter changed differs from what was asked for."""
    assert list(live_version.differences(ASKED, LIVE)) == []
    assert list(live_version.differences(ASKED, {**LIVE, **change})) == [(asked, live)]


def test_functions_without_a_value_are_no_guess() -> None:
    """A function that the program does not know is an error, not a text to compare."""
    resolver = Resolver(
        {"Prefix": "a"}, {"Named": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Prefix"}, ""]}]}}
    )
    branches = [{"Fn::Sub": "${Prefix}/b"}, {"Ref": "AWS::NoValue"}]
    assert resolver.value({"Fn::If": ["Named", *branches]}) == "a/b"
    assert resolver.value({"Fn::If": ["Named", *reversed(branches)]}) is ABSENT
    for unknown in ({"Ref": "Other"}, {"Fn::ImportValue": "x"}, {"Fn::GetAtt": ["Prefix", "Arn"]}):
        with pytest.raises(Unresolvable):
            resolver.value(unknown)


def test_address_in_clear_is_refused() -> None:
    """A token is sent by https, and by http to this machine only."""
    for url in ("https://byline.example.com", "http://127.0.0.1:8080", "http://localhost:8080/"):
        assert Endpoint(url).url == url.rstrip("/")
    for url in ("http://byline.example.com", "http://127.0.0.1.example.com", "http://localhost@x"):
        with pytest.raises(ValueError, match="https://"):
            Endpoint(url)


def refusal(code: str) -> ClientError:
    """An error of AWS whose text quotes a token."""
    return ClientError({"Error": {"Code": code, "Message": "eyJhbGciOi"}}, "GetAlias")


@pytest.mark.parametrize(
    ("raised", "outcome", "detail"),
    [
        (Failed("200", "500"), "FAILED", "expected 200; seen: 500"),
        (NotChecked("CLIENT is empty"), "not checked", "CLIENT is empty"),
        (refusal("AccessDenied"), "not checked", "your AWS credentials do not allow GetAlias"),
        (
            refusal("ThrottlingException"),
            "FAILED",
            "AWS answered GetAlias with ThrottlingException",
        ),
        (ValueError("eyJhbGciOi"), "FAILED", "ValueError in test_smoke_checks.py, line"),
    ],
)
def test_every_end_of_a_check_is_a_verdict(raised: Exception, outcome: str, detail: str) -> None:
    """No error hides the other checks, and no error's own text is shown."""

    def check(_: Cleanup) -> str:
        raise raised

    verdict = verdict_of(check)
    assert verdict.outcome == outcome
    assert verdict.detail.startswith(detail)
    assert "eyJ" not in verdict.detail


@pytest.mark.parametrize("end", [Failed("a", "b"), KeyboardInterrupt()])
def test_everything_created_is_deleted_in_reverse(end: BaseException) -> None:
    """After a failure or an interrupt, each step is taken, and a failed one is named."""
    deleted: list[str] = []

    def cannot() -> None:
        raise Failed("204", "500")

    def check(cleanup: Cleanup) -> str:
        cleanup.add("project", lambda: deleted.append("project"))
        cleanup.add("runner", cannot)
        cleanup.add("run", lambda: deleted.append("run"))
        raise end

    made = verdicts([("first", check), ("second", lambda _: "")])
    first = next(made)
    assert deleted == ["run", "project"]
    assert first.outcome == "FAILED"
    assert first.detail.endswith("left behind: runner (expected 204; seen: 500)")
    if isinstance(end, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            next(made)
    else:
        assert next(made).outcome == "ok"


def test_interrupted_creation_is_deleted() -> None:
    """Ctrl-C while a request creates something counts after the request, so that it is deleted."""
    existing: list[str] = []

    def check(cleanup: Cleanup) -> str:
        with interrupt_deferred():
            signal.raise_signal(signal.SIGINT)
            existing.append("runner")
            cleanup.add("runner", existing.clear)
        raise AssertionError("the interrupt is lost")

    with pytest.raises(KeyboardInterrupt):
        list(verdicts([("runner-tokens", check)]))
    assert existing == []
