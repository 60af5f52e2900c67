"""`sam deploy` of the built template into ministack: use, change, upgrade and delete of the stack.

The tests of this file share one stack, and run in order.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.account import Account
from local.load_balancer import LoadBalancer
from local.openid_directory import Person
from local.openid_provider import ADA, GRACE
from local.sam_deploy import DeployFailed, Deployment
from tests.deploy.inventory import inventory, kinds

RUNS = "/v1/projects/research/runs"
RUNNER = "/v1/projects/research/runners/trainer"
FIRST_TOKEN_SECONDS = 20
REPLACED_SECONDS = 60
TICK_SECONDS = 90

pytestmark = [pytest.mark.stack, pytest.mark.built]


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """An AWS account on this machine."""
    with Account() as running:
        yield running


@pytest.fixture(scope="module")
def stack(account: Account, built: Path) -> Deployment:
    """The deployed stack."""
    return account.deploy("first", built=built)


@pytest.fixture(scope="module")
def balancer(account: Account, stack: Deployment) -> Iterator[LoadBalancer]:
    """The load balancer in front of the stack."""
    with account.load_balancer(stack) as running:
        yield running


@contextmanager
def signed_in(balancer: LoadBalancer, person: Person) -> Iterator[httpx.Client]:
    """A browser with the session of a person."""
    with httpx.Client(base_url=balancer.url, follow_redirects=True, timeout=30) as browser:
        page = browser.get("/v1/whoami", headers={"accept": "text/html"})
        assert browser.post(page.url, data={"person": person.subject}).status_code == 200
        yield browser


@contextmanager
def machine(account: Account, balancer: LoadBalancer) -> Iterator[httpx.Client]:
    """A client with a Bearer token of a service account."""
    answer = httpx.post(
        f"{account.issuer}/token",
        data={"grant_type": "client_credentials"},
        auth=("nightly-train", "nightly-train-secret"),
    )
    headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
    with httpx.Client(base_url=balancer.url, headers=headers, timeout=30) as client:
        yield client


def names(client: httpx.Client) -> list[str]:
    """The names of the project's runs, newest first."""
    answer = client.get(RUNS)
    assert answer.status_code == 200, answer.text
    return [run["name"] for run in answer.json()["runs"]]


def test_person_and_machine_create_runs_in_their_own_names(
    account: Account, balancer: LoadBalancer
) -> None:
    """The deployed function verifies both kinds of credentials, and each run has its creator."""
    binding = {"role": "project:editor", "kind": "application", "subject": "nightly-train"}
    with signed_in(balancer, ADA) as ada, machine(account, balancer) as nightly:
        assert nightly.post(RUNS, json={"name": "too-soon"}).status_code == 404
        by_person = ada.post(RUNS, json={"name": "evaluate"})
        assert by_person.status_code == 201, by_person.text
        assert by_person.json()["creator_user_id"] == ADA.subject
        bound = ada.put("/v1/projects/research/role-bindings", json=binding)
        assert bound.status_code == 201, bound.text
        by_machine = nightly.post(RUNS, json={"name": "nightly"})
        assert by_machine.status_code == 201, by_machine.text
        assert by_machine.json()["creator_service_account_id"] == "nightly-train"
        assert names(ada) == names(nightly) == ["nightly", "evaluate"]


def test_registered_runner_gets_its_first_token_through_the_queue(
    account: Account, stack: Deployment, balancer: LoadBalancer
) -> None:
    """The message of a registration reaches the worker, which gets a token from the issuer."""
    account.give_client(stack, "research", "short-lived")
    with signed_in(balancer, ADA) as ada:
        body = {"client": "short-lived", "subject": "nightly-train"}
        assert ada.put(RUNNER, json=body).status_code == 201
        end = time.monotonic() + FIRST_TOKEN_SECONDS
        while (runner := ada.get(RUNNER).json())["status"] != "ready":
            assert time.monotonic() < end, runner
            time.sleep(0.2)
    secret = account.aws.client("secretsmanager").get_secret_value(SecretId=runner["secret_arn"])
    assert '"token"' in secret["SecretString"]


def test_contradicting_parameters_change_nothing(stack: Deployment) -> None:
    """A change that breaks a rule of the template is refused with the rule's text."""
    with pytest.raises(DeployFailed, match="Set AnonymousCallers=allow"):
        stack.deploy({"IdentityTrust": "ignore"})


def test_stack_beside_it_answers_and_has_its_own_rows(
    account: Account, built: Path, balancer: LoadBalancer
) -> None:
    """A second stack in the account serves its own rows. Deleted, it leaves what it retains alone.

    It retains its tables and log groups. After these are deleted too, nothing of it is left.
    """
    before = inventory(account)
    second = account.deploy("second", built=built)
    with account.load_balancer(second) as beside, signed_in(beside, ADA) as ada:
        assert ada.get(RUNS).json().get("runs", []) == []
        assert ada.post(RUNS, json={"name": "beside"}).status_code == 201
        assert names(ada) == ["beside"]
    with signed_in(balancer, ADA) as ada:
        assert names(ada) == ["nightly", "evaluate"]

    second.delete()
    left = inventory(account) - before
    assert kinds(left) == ["log group"] * 3 + ["table"] * 3
    account.delete_retained("second")
    assert inventory(account) == before
    with signed_in(balancer, ADA) as ada:
        assert names(ada) == ["nightly", "evaluate"]


def test_changed_parameter_is_served_by_the_alias(
    stack: Deployment, balancer: LoadBalancer
) -> None:
    """A deployment that changes ProjectAdmins alone makes another person admin, at once."""
    other = "/v1/projects/other/runs"
    with signed_in(balancer, GRACE) as grace, signed_in(balancer, ADA) as ada:
        assert grace.post(other, json={"name": "x"}).status_code == 404
        stack.deploy({"ProjectAdmins": GRACE.subject})
        assert stack.variables["PROJECT_ADMINS"] == GRACE.subject
        assert grace.post(other, json={"name": "x"}).status_code == 201
        assert ada.post(other, json={"name": "x"}).status_code == 404


def test_changed_code_is_served_and_reads_the_rows_of_before(
    account: Account, stack: Deployment, balancer: LoadBalancer, built: Path, tmp_path: Path
) -> None:
    """An upgrade publishes a version with the new code, which reads what the old one wrote."""
    assert httpx.get(f"{balancer.url}/healthz").json() == {"status": "ok"}
    stack.deploy({}, built=changed(built, tmp_path / "changed"))
    assert httpx.get(f"{balancer.url}/healthz").json() == {"status": "upgraded"}
    with machine(account, balancer) as nightly:
        assert names(nightly) == ["nightly", "evaluate"]


def test_token_is_replaced_before_it_expires(balancer: LoadBalancer) -> None:
    """The worker keeps a token alive that lives 30 seconds, also after the upgrade.

    Grace looks, because she has been the admin since the change of the parameter.

    The token itself is not read through the API: ministack gives the first version of a secret
    another id than `CreateSecret` asked for, and the API reads the version that the row names.
    """
    with signed_in(balancer, GRACE) as grace:
        first = grace.get(RUNNER).json()["expires_at"]
        end = time.monotonic() + REPLACED_SECONDS
        while (expires_at := grace.get(RUNNER).json()["expires_at"]) == first:
            assert time.monotonic() < end
            time.sleep(0.2)
    assert datetime.fromisoformat(expires_at) > datetime.fromisoformat(first)
    assert datetime.fromisoformat(expires_at) > datetime.now(UTC)


def test_schedule_invokes_the_planner(account: Account, stack: Deployment) -> None:
    """The scheduler's tick arrives, and the planner counts it."""
    end = time.monotonic() + TICK_SECONDS
    while not (ticks := log_of(account, stack, "PlanRefreshLogGroup", '"OldestDueAge"')):
        assert time.monotonic() < end
        time.sleep(1)
    assert ticks


def changed(built: Path, folder: Path) -> Path:
    """A copy of the artifact whose health check answers otherwise."""
    shutil.copytree(built, folder, copy_function=os.link)
    package = folder / "RunsFunction/serve_runs/callers"
    source = package / "routes.py"
    text = source.read_text()
    assert '"status": "ok"' in text
    source.unlink()  # the link, not the file of the artifact
    source.write_text(text.replace('"status": "ok"', '"status": "upgraded"'))
    for byte_code in package.glob("__pycache__/routes.*"):
        byte_code.unlink()  # Lambda would use it unchecked
    return folder


def log_of(account: Account, stack: Deployment, group: str, text: str) -> list[dict[str, Any]]:
    """The events with `text` in the log group with the logical id `group`."""
    name = stack.physical_id(group)
    events = account.aws.client("logs").filter_log_events(logGroupName=name)["events"]
    return [event for event in events if text in event["message"]]
