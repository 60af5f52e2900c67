"""`make deploy` and `make smoke` against ministack: all is in order, then one thing is broken.

The tests of this file share one stack, and run in order. Two checks cannot be made there:
ministack's IAM evaluates no `dynamodb:LeadingKeys`, and it has no alarms on metric math.
"""

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local.account import Account
from local.load_balancer import LoadBalancer
from local.openid_provider import ADA
from stand_ins.authorization_service import AuthorizationStandIn, Fails, serve_authorization
from tests.deploy.smoke import (
    PROJECT,
    Operator,
    rows,
    served_with,
    token,
    trusted_issuer,
    wait_until,
)
from tools.smoke import registration, ticks
from tools.smoke.__main__ import CHECKS
from tools.smoke.endpoint import Endpoint
from tools.smoke.stack import DeployedStack
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import verdicts

CLOSED = "http://127.0.0.1:9"
PATIENCE = 0.1
"""The patience of checks that must give up."""

pytestmark = [pytest.mark.stack, pytest.mark.built]


@pytest.fixture(scope="module")
def authorization() -> Iterator[AuthorizationStandIn]:
    with serve_authorization() as running:
        yield running


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with Account() as running:
        yield running


@pytest.fixture(scope="module")
def parameters(account: Account, authorization: AuthorizationStandIn) -> dict[str, Any]:
    """The file of an operator, without what follows from other values."""
    given = account.parameters()
    for derived in ("OidcAuthorizationEndpoint", "OidcTokenEndpoint", "OidcUserInfoEndpoint"):
        del given[derived]
    return {
        **given,
        "TrustedIssuers": trusted_issuer(account, given),
        "ProjectAdmins": [ADA.subject, "application:nightly-train"],
        "AuthorizationServiceUrl": authorization.url,
    }


@pytest.fixture(scope="module")
def operator(account: Account, built: Path) -> Operator:
    return Operator.of(account, built)


@pytest.fixture(scope="module")
def deployed(operator: Operator, parameters: dict[str, Any]) -> str:
    """The stack. What `make deploy` printed."""
    printed = operator.deploy(parameters)
    operator.account.give_client(operator.stack, PROJECT, "short-lived")
    return printed


@pytest.fixture(scope="module")
def balancer(operator: Operator, deployed: str) -> Iterator[LoadBalancer]:
    assert deployed
    with operator.account.load_balancer(operator.stack) as running:
        yield running


@pytest.fixture
def variables(operator: Operator, balancer: LoadBalancer) -> dict[str, str]:
    """What an operator exports for `make smoke`."""
    return {
        "BYLINE_URL": balancer.url,
        "BYLINE_TOKEN": token(operator.account),
        "CLIENT": f"{PROJECT}/short-lived",
    }


@pytest.fixture
def impatient(
    operator: Operator, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Surroundings:
    """The surroundings of checks that give up after seconds."""
    for name, value in operator.account.aws.environment.items():
        monkeypatch.setenv(name, value)
    return Surroundings(
        stack=DeployedStack(operator.stack.name),
        endpoint=Endpoint(variables["BYLINE_URL"], variables["BYLINE_TOKEN"]),
        project="smoke-impatient",
        client=variables["CLIENT"],
        patience=PATIENCE,
    )


def test_deploy_prints_what_dns_and_the_provider_need(account: Account, deployed: str) -> None:
    """After the first deployment the operator reads the alias record and the redirect URI."""
    [balancer] = account.aws.client("elbv2").describe_load_balancers()["LoadBalancers"]
    lines = dict(line.strip().split("  ", 1) for line in deployed.splitlines()[-7:])
    assert {name: value.strip() for name, value in lines.items()} == {
        "Byline answers at": "https://127.0.0.1",
        "DNS: alias record for": "127.0.0.1",
        "alias target": balancer["DNSName"],
        "hosted zone id of the target": balancer["CanonicalHostedZoneId"],
        "OpenID provider": account.issuer,
        "client id": "byline-browser",
        "redirect URI": "https://127.0.0.1/oauth2/idpresponse",
    }


def test_stack_in_order_passes_every_check_that_can_be_made(
    operator: Operator, variables: dict[str, str]
) -> None:
    """Each check is `ok`, or says why it cannot be made. The token is not printed."""
    status, made, printed = operator.smoke(**variables)
    outcomes = {name: verdict.outcome for name, verdict in made.items()}
    impossible = {"audit-records": "not checked", "alarms": "not checked"}
    assert outcomes == dict.fromkeys(CHECKS, "ok") | impossible, printed
    assert made["audit-records"].detail.endswith("does not evaluate dynamodb:LeadingKeys")
    assert made["alarms"].detail == "Alarms is off"
    assert status == 0
    assert variables["BYLINE_TOKEN"].rpartition(".")[2] not in printed


def test_passed_checks_leave_only_what_byline_keeps(operator: Operator) -> None:
    """No run, runner or role of a check is left. A tick sweeps the retired token."""
    account, outputs = operator.account, operator.stack.outputs
    runs = {row["project"]["S"].partition("#")[0] for row in rows(account, outputs["RunsTable"])}
    assert runs <= {"deleted", "idempotency"}
    runners = rows(account, outputs["RunnersTable"])
    assert {row["project"]["S"].partition("#")[0] for row in runners} <= {
        "client",
        "deleted",
        "retired",
    }
    granted = [row for row in rows(account, outputs["AccessTable"]) if "roles" in row]
    assert granted == []


def test_without_token_its_checks_say_so(operator: Operator, variables: dict[str, str]) -> None:
    """Without BYLINE_TOKEN the checks that need it are not made, and the others are."""
    status, made, _ = operator.smoke(
        *("forged-credentials", "runs-and-roles", "registration", "runner-tokens"),
        BYLINE_URL=variables["BYLINE_URL"],
    )
    outcomes = {name: (verdict.outcome, verdict.detail) for name, verdict in made.items()}
    missing = "BYLINE_TOKEN is not set"
    without = dict.fromkeys(outcomes, ("not checked", missing))
    forged = ("ok", f"without a changed real token: {missing}")
    assert outcomes == without | {"forged-credentials": forged}
    assert status == 0


def test_nothing_checked_is_no_success(operator: Operator, variables: dict[str, str]) -> None:
    """The exit status is 1 where no check could be made."""
    status, made, _ = operator.smoke("alarms", **variables)
    assert (status, made["alarms"].outcome) == (1, "not checked")


def test_interrupted_check_deletes_its_runner(
    operator: Operator, variables: dict[str, str]
) -> None:
    """After Ctrl-C the runner of the check is deleted, and the other checks are not made."""
    account, table = operator.account, operator.stack.outputs["RunnersTable"]

    def live() -> list[str]:
        return [
            row["runner"]["S"] for row in rows(account, table) if row["project"]["S"] == PROJECT
        ]

    with operator.interrupted_smoke("runner-tokens", "alarms", **variables) as process:
        wait_until(live, seconds=20)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed.count("interrupted") == 2
    assert live() == []


def test_changed_parameter_is_live_after_deploy(
    operator: Operator, parameters: dict[str, Any], variables: dict[str, str]
) -> None:
    """A deployment with another value publishes a version, which the check finds live."""
    operator.deploy({**parameters, "MemorySize": 1024, "LogLevel": "DEBUG"})
    _, made, printed = operator.smoke("live-version", **variables)
    assert made["live-version"].outcome == "ok", printed
    assert made["live-version"].detail == "version 2, Configuration 2"


def test_version_published_by_hand_is_found(operator: Operator, variables: dict[str, str]) -> None:
    """Four checks find a version whose environment is not that of the parameters."""
    absent = {"ALB_PUBLIC_KEYS_URL": CLOSED, "ACCESS_TABLE": "absent"}
    with served_with(operator.stack, operator.account, **absent):
        status, made, printed = operator.smoke(
            "live-version", "load-balancer-keys", "runs-and-roles", **variables
        )
    assert status == 1
    assert {verdict.outcome for verdict in made.values()} == {"FAILED"}, printed
    assert "expected alias `live` at version 2; seen: version 3" in printed
    assert "401 unknown_key" in printed
    assert "503 keys_unavailable" in printed
    assert "500 internal" in printed


def test_accepted_forgery_is_found(operator: Operator, variables: dict[str, str]) -> None:
    """The check fails where the function takes a token that somebody else signed."""
    with served_with(operator.stack, operator.account, IDENTITY_TRUST="forwarded"):
        status, made, printed = operator.smoke("forged-credentials", **variables)
    assert status == 1
    expected = "expected 401 for a token that somebody else signed; seen: 200"
    assert made["forged-credentials"].detail == expected, printed


def test_wrong_client_secret_is_found(operator: Operator, variables: dict[str, str]) -> None:
    """The check fails with the class of the error that the issuer's answer means."""
    account, stack = operator.account, operator.stack
    account.give_client(stack, PROJECT, "no-such-client")
    status, made, printed = operator.smoke(
        "runner-tokens", **{**variables, "CLIENT": f"{PROJECT}/no-such-client"}
    )
    assert status == 1
    failed = "expected a first token; seen: failing, invalid_client"
    assert made["runner-tokens"].detail == failed, printed


def test_failing_authorization_service_is_found(
    impatient: Surroundings, authorization: AuthorizationStandIn
) -> None:
    """The check fails with the class of the error, and its run is deleted."""
    authorization.faults.extend([Fails(503)] * 100)
    [verdict] = verdicts([("registration", partial(registration.check, impatient))])
    authorization.faults.clear()
    assert verdict.outcome == "FAILED"
    assert verdict.detail.startswith("expected `registered_at`")


def test_disabled_schedule_is_found(operator: Operator, impatient: Surroundings) -> None:
    """The check of the tick fails where the schedule is disabled."""
    scheduler = operator.account.aws.client("scheduler")
    [tick] = [
        schedule["Name"]
        for schedule in scheduler.list_schedules()["Schedules"]
        if "Tick" in schedule["Name"]
    ]
    schedule = scheduler.get_schedule(Name=tick)
    kept = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    scheduler.update_schedule(**{name: schedule[name] for name in kept}, State="DISABLED")
    time.sleep(ticks.RECENT_SECONDS * PATIENCE)
    [verdict] = verdicts([("scheduler-ticks", partial(ticks.check, impatient))])
    assert verdict.detail.startswith("expected a tick each minute; seen: none in"), verdict
