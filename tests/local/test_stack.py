"""The whole stack, as `make up` runs it, from the outside."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from byline.refresh.runner_rows import RunnerRow, read_runner, runner_item
from local.forgeries import AttackersRule, strangers_token
from local.listening import PortTaken, WebServer, listen, url_of
from local.openid_provider import ADA, BROWSER_CLIENT, OpenIDProvider
from local.outside_provider import OutsideProvider
from local.sample_keys import sample_issuer_keys, sample_load_balancer_keys
from local.stack import Ports, Stack
from tests.required import skip_or_fail

ROOT = Path(__file__).parents[2]
RUNS = "/v1/projects/research/runs"
ADAS_IDENTITY = {
    "user": {
        "id": {"subject": ADA.subject},
        "spec": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
    }
}
MACHINES_IDENTITY = {
    "application": {"id": {"subject": "nightly-train"}, "spec": {"name": "nightly-train"}}
}

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack() as stack:
        yield stack


def sign_in(browser: httpx.Client) -> httpx.Response:
    page = browser.get("/v1/whoami")
    return browser.post(page.url, data={"person": ADA.subject})


def browser_of(stack: Stack) -> httpx.Client:
    return httpx.Client(base_url=stack.url, follow_redirects=True)


def machine_of(stack: Stack, client: str = "nightly-train", **headers: str) -> httpx.Client:
    answer = httpx.post(
        f"{stack.issuer}/token",
        data={"grant_type": "client_credentials"},
        auth=(client, f"{client}-secret"),
    )
    authorization = {"authorization": f"Bearer {answer.json()['access_token']}"}
    return httpx.Client(base_url=stack.url, headers={**authorization, **headers})


def test_person_signs_in_and_creates_a_run_in_their_name(stack: Stack) -> None:
    """The browser flow, end to end: the verified name is on the run and comes back on reading."""
    with browser_of(stack) as browser:
        answer = sign_in(browser)
        assert answer.json()["executed_by"] == ADAS_IDENTITY
        assert (answer.json()["kind"], answer.json()["source"]) == ("user", "alb")
        created = browser.post(RUNS, json={"name": "evaluate"})
        assert created.status_code == 201
        read = browser.get(f"{RUNS}/{created.json()['id']}").json()
    assert read["executed_by"] == ADAS_IDENTITY
    assert read["creator_user_id"] == ADA.subject


def test_service_account_creates_a_run_in_its_own_name(stack: Stack) -> None:
    """The Bearer flow, end to end."""
    with machine_of(stack) as machine:
        created = machine.post(RUNS, json={"name": "nightly"})
        assert created.status_code == 201
        read = machine.get(f"{RUNS}/{created.json()['id']}").json()
    assert read["executed_by"] == MACHINES_IDENTITY
    assert read["creator_service_account_id"] == "nightly-train"


def test_person_with_a_bearer_token_is_named_by_userinfo(stack: Stack) -> None:
    """A person's access token has a subject only; names come from the provider."""
    assert stack.provider is not None
    callback = "http://127.0.0.1/oauth2/idpresponse"
    query = {
        "response_type": "code",
        "client_id": BROWSER_CLIENT,
        "redirect_uri": callback,
        "scope": "openid profile email",
    }
    answer = httpx.post(f"{stack.issuer}/authorize", params=query, data={"person": ADA.subject})
    code = httpx.URL(answer.headers["location"]).params["code"]
    token = httpx.post(
        f"{stack.issuer}/token",
        data={"grant_type": "authorization_code", "code": code, "redirect_uri": callback},
        auth=(BROWSER_CLIENT, stack.provider.browser_secret),
    ).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    caller = httpx.get(f"{stack.url}/v1/whoami", headers=headers).json()
    assert (caller["executed_by"], caller["source"]) == (ADAS_IDENTITY, "bearer")


def test_attackers_load_balancer_is_nobody(stack: Stack) -> None:
    """A token of another load balancer, genuine in everything else, is refused ("ALBeast")."""
    attacker = AttackersRule(ADA, issuer=stack.issuer)
    stack.published_keys[attacker.signer.kid] = attacker.signer.public_key
    with stack.load_balancer(listen(0), attacker) as foreign:
        answer = httpx.get(f"{foreign.url}/v1/whoami")
    assert (answer.status_code, answer.json()["reason"]) == (401, "untrusted_signer")


def test_forged_identity_beside_a_genuine_token_changes_nobody(stack: Stack) -> None:
    """On the Bearer rule the identity headers are not even read."""
    forged = AttackersRule(ADA, issuer=stack.issuer).token()
    with machine_of(stack, **{"x-amzn-oidc-data": forged}) as machine:
        assert machine.get("/v1/whoami").json()["executed_by"] == MACHINES_IDENTITY


def test_strangers_token_does_not_pass_the_load_balancer(stack: Stack) -> None:
    """A token under the issuer's name, signed with another key, reaches no function."""
    headers = {"authorization": f"Bearer {strangers_token(ADA, issuer=stack.issuer)}"}
    assert httpx.get(f"{stack.url}/v1/whoami", headers=headers).status_code == 401


def test_token_for_another_service_is_refused_by_the_function(stack: Stack) -> None:
    """The load balancer lets it through; the function looks at the audience."""
    with machine_of(stack, "warehouse") as elsewhere:
        answer = elsewhere.get("/v1/whoami")
    assert (answer.status_code, answer.json()["reason"]) == (401, "untrusted_audience")


def test_sample_events_keys_are_served(stack: Stack) -> None:
    """The fixed keys of `events/` stand beside the stack's own."""
    for kid, pem in sample_load_balancer_keys().items():
        assert httpx.get(f"{stack.keys_url}/{kid}").content == pem
    published = {key["kid"] for key in httpx.get(f"{stack.issuer}/jwks.json").json()["keys"]}
    assert {key["kid"] for key in sample_issuer_keys()} < published


def test_no_token_is_in_the_functions_log(stack: Stack) -> None:
    """Facts about tokens are logged, never tokens."""
    with machine_of(stack, "warehouse") as elsewhere, machine_of(stack) as machine:
        elsewhere.get("/v1/whoami")
        machine.post(RUNS, json={"name": "logged"})
        log = stack.log_text()
        assert "run created" in log
        assert "untrusted_audience" in log
        for client in (elsewhere, machine):
            assert client.headers["authorization"].split(".")[1] not in log


def test_tick_refreshes_a_runner_that_no_message_told_of() -> None:
    """The schedule alone brings its token: planner, queue and worker of the template, and no token
    in what they say, send or keep beside the secret."""
    now = int(time.time())
    row = RunnerRow(
        project="research",
        runner="trainer",
        client="nightly-train",
        revision="by-hand",
        generation=now * 1000,
        deadline=now,
        due_at=now,
        created_at="2026-11-22T18:08:39.567Z",
        updated_at="2026-11-22T18:08:39.567Z",
    )
    row = replace(row, shard=row.work_unit.shard)
    with Stack(tick_seconds=1) as stack:
        stack.give_client("research", "nightly-train")
        dynamodb = stack.aws.client("dynamodb")
        dynamodb.put_item(TableName="RunnersTable", Item=runner_item(row))
        end = time.monotonic() + 20
        while "slot" not in (item := dynamodb.scan(TableName="RunnersTable")["Items"][0]):
            assert time.monotonic() < end, stack.log_text()
            time.sleep(0.2)
        secret = stack.aws.client("secretsmanager").get_secret_value(
            SecretId=f"byline/runners/research/trainer/{item['slot']['N']}"
        )
        token = json.loads(secret["SecretString"])["token"]
        assert token.split(".")[2] not in stack.log_text() + json.dumps(item)
        assert read_runner(item).generation == row.generation + 1


def test_single_value_events_work_too() -> None:
    """With the target group's other setting, a person and a machine get the same answers."""
    with (
        Stack(shape="single-value") as stack,
        browser_of(stack) as browser,
        machine_of(stack) as machine,
    ):
        assert sign_in(browser).json()["executed_by"] == ADAS_IDENTITY
        assert machine.post(RUNS, json={"name": "x"}).status_code == 201
        listed = machine.get(RUNS, params={"created_by": "me"}).json()["runs"]
    assert [run["name"] for run in listed] == ["x"]


def test_provider_from_outside_takes_the_place_of_ours() -> None:
    """People sign in there and its Bearer tokens count."""
    listener = listen(0)
    provider = OpenIDProvider(url_of(listener))
    outside = OutsideProvider(provider.issuer, BROWSER_CLIENT, provider.browser_secret)
    with (
        WebServer(provider.application, listener),
        Stack(outside=outside) as stack,
        browser_of(stack) as browser,
        machine_of(stack) as machine,
    ):
        assert stack.provider is None
        assert sign_in(browser).json()["executed_by"] == ADAS_IDENTITY
        assert machine.get("/v1/whoami").json()["executed_by"] == MACHINES_IDENTITY


def test_half_a_provider_from_outside_is_told_by_name() -> None:
    """What is missing is named."""
    given = {"LOCAL_OIDC_ISSUER": "https://issuer.example.com", "LOCAL_OIDC_CLIENT_ID": "byline"}
    with pytest.raises(ValueError, match="LOCAL_OIDC_CLIENT_SECRET"):
        OutsideProvider.from_environment(given)
    whole = OutsideProvider.from_environment({**given, "LOCAL_OIDC_CLIENT_SECRET": "s"})
    assert whole == OutsideProvider(
        "https://issuer.example.com", "byline", "s", audience="byline", profile="generic"
    )
    assert OutsideProvider.from_environment({}) is None


def test_profile_of_a_provider_from_outside_can_be_set() -> None:
    """Its Bearer tokens are read as `TRUSTED_ISSUERS` would have them read."""
    given = {
        "LOCAL_OIDC_ISSUER": "https://issuer.example.com",
        "LOCAL_OIDC_CLIENT_ID": "byline",
        "LOCAL_OIDC_CLIENT_SECRET": "s",
        "LOCAL_AUDIENCE": "api://byline",
        "LOCAL_PROFILE": "entra",
    }
    outside = OutsideProvider.from_environment(given)
    assert outside is not None
    assert (outside.audience, outside.profile) == ("api://byline", "entra")


def test_taken_port_is_told_before_anything_starts() -> None:
    """The port is named, and nothing was started."""
    before = set(psutil.Process().children(recursive=True))
    with closing(listen(0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as failure, Stack(ports=Ports(aws=port)):
            pass
    assert failure.value.port == port
    assert set(psutil.Process().children(recursive=True)) <= before


def test_nothing_is_left_running_after_the_stack() -> None:
    """Every process that it started is gone, and every port is free."""
    before = set(psutil.Process().children(recursive=True))
    with Stack() as stack:
        ports = [int(url.rpartition(":")[2]) for url in (stack.url, stack.issuer, stack.aws.url)]
        assert len(set(psutil.Process().children(recursive=True)) - before) >= 3
    assert set(psutil.Process().children(recursive=True)) <= before
    for port in ports:
        listen(port).close()


def four_free_ports() -> int:
    """The first of four free ports in a row, looked for where no other process of tests looks."""
    for first in range(20_000 + os.getpid() % 1_000 * 8, 30_000, 4):
        try:
            for port in range(first, first + 4):
                listen(port).close()
        except PortTaken:
            continue
        return first
    pytest.fail("no four free ports in a row")


def up(first_port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local.up"],
        cwd=ROOT,
        env={**os.environ, "LOCAL_PORT": str(first_port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_its_addresses_and_goes_down_when_interrupted(interrupt: signal.Signals) -> None:
    """`make up` says where it listens, serves there, and leaves nothing behind."""
    first = four_free_ports()
    with up(first) as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "takes it down" in line:
                break
        for port in range(first, first + 4):
            assert f"http://127.0.0.1:{port}" in printed
        assert httpx.get(f"http://127.0.0.1:{first}/healthz").status_code == 200
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(interrupt)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Byline is down" in rest
    assert errors == ""
    assert not any(child.is_running() for child in children)


def test_up_on_a_taken_port_says_so_in_one_line() -> None:
    """No traceback: the port, and what to set instead."""
    first = four_free_ports()
    with closing(listen(first + 2)), up(first) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert str(first + 2) in errors
    assert "LOCAL_PORT" in errors


def test_everything_ends_with_a_stack_that_is_killed() -> None:
    """Even SIGKILL leaves no orphans."""
    first = four_free_ports()
    with up(first) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "takes it down" in line:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate(timeout=20)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert len(children) >= 3
    assert alive == []


def test_demo_keeps_its_promises_and_fits_a_screen() -> None:
    """`make demo` exits 0, in at most 60 lines, with nothing but what it promises."""
    demo = subprocess.run(
        [sys.executable, "-m", "local.demo"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    assert len(demo.stdout.splitlines()) <= 60
    assert "starting RunsFunction" in demo.stdout
    assert "assistant: project:editor" in demo.stdout
    assert "None" not in demo.stdout
    facts = ("untrusted_signer", "untrusted_audience", "Grace Hopper", "nightly-train")
    for fact in (*facts, "to spare", "failing: invalid_client", "as if there were no such runner"):
        assert fact in demo.stdout


@pytest.fixture
def chromium() -> str:
    """The path of the browser."""
    return shutil.which("chromium") or skip_or_fail("chromium", "Chromium is not installed")


def test_person_in_a_real_browser_clicks_and_sees_their_name(
    stack: Stack, chromium: str, tmp_path: Path
) -> None:
    """The page, the cookie and the redirects work in Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as playwright:
        context: Any = playwright.chromium.launch_persistent_context(
            tmp_path, executable_path=chromium, headless=True, args=arguments
        )
        with closing(context):
            page = context.new_page()
            page.goto(f"{stack.url}/v1/whoami")
            page.get_by_role("button", name="Grace Hopper").click()
            page.wait_for_url(f"{stack.url}/v1/whoami")
            assert '"firstName":"Grace"' in page.content()
            [session] = [
                cookie for cookie in context.cookies() if cookie["name"].startswith("BylineSession")
            ]
    assert session["httpOnly"] is True
    assert session["sameSite"] == "Lax"
