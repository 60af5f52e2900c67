"""The whole stack that `make up` runs, over HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from byline.refresh.token_rows import new_token, read_token_row, token_item
from byline.refresh.work_units import MintKey, SecretNames
from local.forgeries import AttackersRule, strangers_token
from local.listening import PortTaken, WebServer, listen, url_of
from local.openid_provider import ADA, BROWSER_CLIENT, OpenIDProvider
from local.outside_provider import OutsideProvider
from local.sample_keys import sample_issuer_keys, sample_load_balancer_keys
from local.stack import Ports, Stack
from tests.docs.people_tokens import token_of_client
from tests.local.chromium import open_chromium

ROOT = Path(__file__).parents[2]
RUNS = "/v1/projects/research/runs"
ADAS_IDENTITY = {
    "user": {
        "id": {"subject": ADA.subject},
        "spec": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
    }
}
APPLICATION_IDENTITY = {
    "application": {"id": {"subject": "nightly-train"}, "spec": {"name": "nightly-train"}}
}

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A running stack."""
    with Stack() as stack:
        yield stack


def sign_in(browser: httpx.Client) -> httpx.Response:
    """The answer of `/v1/whoami` after Ada signed in."""
    page = browser.get("/v1/whoami")
    return browser.post(page.url, data={"person": ADA.subject})


def browser_of(stack: Stack) -> httpx.Client:
    """A browser without a session."""
    return httpx.Client(base_url=stack.url, follow_redirects=True, headers={"accept": "text/html"})


def application_of(stack: Stack, client: str = "nightly-train", **headers: str) -> httpx.Client:
    """A client with an access token of an application."""
    answer = httpx.post(
        f"{stack.issuer}/token",
        data={"grant_type": "client_credentials"},
        auth=(client, f"{client}-secret"),
    )
    authorization = {"authorization": f"Bearer {answer.json()['access_token']}"}
    return httpx.Client(base_url=stack.url, headers={**authorization, **headers})


def test_person_signs_in_and_creates_a_run_in_their_name(stack: Stack) -> None:
    """A run that a person creates in the browser has their verified name."""
    with browser_of(stack) as browser:
        answer = sign_in(browser)
        assert answer.json()["executed_by"] == ADAS_IDENTITY
        assert (answer.json()["kind"], answer.json()["source"]) == ("user", "alb")
        created = browser.post(RUNS, json={"name": "evaluate"})
        assert created.status_code == 201
        read = browser.get(f"{RUNS}/{created.json()['id']}").json()
    assert read["executed_by"] == ADAS_IDENTITY
    assert read["creator_user_id"] == ADA.subject


def test_person_signs_out(stack: Stack) -> None:
    """After `/logout` the browser has no session: a script gets 401, and a page the sign-in.

    A page of another site cannot end the session.
    """
    script = {"accept": "application/json"}
    with browser_of(stack) as browser:
        assert browser.get("/v1/whoami", headers=script).status_code == 401
        sign_in(browser)
        foreign = browser.get("/logout", headers={"sec-fetch-site": "cross-site"})
        assert foreign.status_code == 403
        assert browser.get("/v1/whoami", headers=script).status_code == 200
        assert browser.get("/logout").json() == {"status": "signed_out"}
        assert browser.get("/v1/whoami", headers=script).status_code == 401
        page = browser.get("/v1/whoami")
        assert str(page.url).startswith(f"{stack.issuer}/authorize?")


def test_service_account_creates_a_run_in_its_own_name(stack: Stack) -> None:
    """A run that a service account creates with a Bearer token has its identity."""
    with application_of(stack) as application:
        created = application.post(RUNS, json={"name": "nightly"})
        assert created.status_code == 201
        read = application.get(f"{RUNS}/{created.json()['id']}").json()
    assert read["executed_by"] == APPLICATION_IDENTITY
    assert read["creator_service_account_id"] == "nightly-train"


def test_person_with_a_bearer_token_is_named_by_userinfo(stack: Stack) -> None:
    """A person's access token has only a subject, so userinfo provides the names."""
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


def test_token_of_another_load_balancer_is_refused(stack: Stack) -> None:
    """A genuine token of another account's load balancer is refused ("ALBeast")."""
    attacker = AttackersRule(ADA, issuer=stack.issuer)
    stack.published_keys[attacker.signer.kid] = attacker.signer.public_key
    with stack.load_balancer(listen(0), attacker) as foreign:
        answer = httpx.get(f"{foreign.url}/v1/whoami")
    assert (answer.status_code, answer.json()["reason"]) == (401, "untrusted_signer")


def test_forged_identity_header_beside_a_bearer_token_is_ignored(stack: Stack) -> None:
    """On the Bearer rule the function does not read the identity headers."""
    forged = AttackersRule(ADA, issuer=stack.issuer).token()
    with application_of(stack, **{"x-amzn-oidc-data": forged}) as application:
        assert application.get("/v1/whoami").json()["executed_by"] == APPLICATION_IDENTITY


def test_token_signed_with_another_key_is_refused(stack: Stack) -> None:
    """A token with the issuer's name and a foreign signature gets 401."""
    headers = {"authorization": f"Bearer {strangers_token(ADA, issuer=stack.issuer)}"}
    answer = httpx.get(f"{stack.url}/v1/whoami", headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (401, "bad_signature")


def test_token_for_another_audience_is_refused_by_the_function(stack: Stack) -> None:
    """The load balancer forwards the token, and the function checks the audience."""
    with application_of(stack, "warehouse") as warehouse:
        answer = warehouse.get("/v1/whoami")
    assert (answer.status_code, answer.json()["reason"]) == (401, "untrusted_audience")


def test_keys_of_the_sample_events_are_published(stack: Stack) -> None:
    """The stack publishes the keys in `events/` beside its own."""
    for kid, pem in sample_load_balancer_keys().items():
        assert httpx.get(f"{stack.keys_url}/{kid}").content == pem
    published = {key["kid"] for key in httpx.get(f"{stack.issuer}/jwks.json").json()["keys"]}
    assert {key["kid"] for key in sample_issuer_keys()} < published


def test_no_token_is_in_the_functions_log(stack: Stack) -> None:
    """The log has facts about tokens, and no part of a token."""
    with application_of(stack, "warehouse") as warehouse, application_of(stack) as application:
        warehouse.get("/v1/whoami")
        application.post(RUNS, json={"name": "logged"})
        log = stack.log_text()
        assert "run created" in log
        assert "untrusted_audience" in log
        for client in (warehouse, application):
            assert client.headers["authorization"].split(".")[1] not in log


@pytest.fixture(scope="module")
def ticking() -> Iterator[Stack]:
    """A running stack whose schedule ticks each second."""
    with Stack(tick_seconds=1) as stack:
        yield stack


def test_tick_refreshes_a_due_token_without_a_message(ticking: Stack) -> None:
    """The schedule refreshes a due token through the template's planner, queue and worker.

    The token is in its secret, and neither in the log nor in the token's row.
    """
    now = int(time.time())
    key = MintKey.of(project="research", client="nightly-train")
    row = new_token(key, token_id="by-hand", created_at="2026-11-22T18:08:39.567Z", now=now)
    ticking.give_client("research", "nightly-train")
    dynamodb = ticking.aws.client("dynamodb")
    dynamodb.put_item(TableName="RunnersTable", Item=token_item(row))
    end = time.monotonic() + 20

    def item() -> Any:
        return dynamodb.get_item(TableName="RunnersTable", Key=row.key)["Item"]

    while "slot" not in (refreshed := item()):
        assert time.monotonic() < end, ticking.log_text()
        time.sleep(0.2)
    names = SecretNames(ticking.secret_prefix)
    slot = int(refreshed["slot"]["N"])
    secret = ticking.aws.client("secretsmanager").get_secret_value(
        SecretId=names.token("research", "nightly-train", row.id, slot)
    )
    token = json.loads(secret["SecretString"])["token"]
    assert token.split(".")[2] not in ticking.log_text() + json.dumps(refreshed)
    assert read_token_row(refreshed).generation == 1


def test_command_that_is_killed_with_its_client_is_lost(ticking: Stack, tmp_path: Path) -> None:
    """No end is claimed for it. The tick finds the silence, and the run may still be finished."""
    environ = {
        **os.environ,
        "BYLINE_URL": ticking.url,
        "BYLINE_TOKEN": token_of_client("nightly-train", ticking),
        "BYLINE_CONFIG_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT / "client"),
    }
    options = ["--project", "research", "--name", "killed", "--heartbeat", "2.5"]
    words = [sys.executable, "-m", "byline_client", "run", *options]
    job = subprocess.Popen(
        [*words, "--", "sh", "-c", "touch begun; exec sleep 60"],
        cwd=tmp_path,
        env=environ,
        start_new_session=True,
    )
    wait_for((tmp_path / "begun").exists)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    with application_of(ticking) as application:

        def killed() -> Any:
            listed = application.get(RUNS, params={"created_by": "me"}).json()["runs"]
            return next(run for run in listed if run["name"] == "killed")

        assert killed()["status"] == "running"
        wait_for(lambda: killed()["status"] == "lost")
        assert killed()["finished_by"] is None
        assert application.post(f"{RUNS}/{killed()['id']}/fail").json()["status"] == "failed"


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_single_value_events_get_the_same_answers() -> None:
    """With single-value headers, a person and an application get the same answers."""
    with (
        Stack(shape="single-value") as stack,
        browser_of(stack) as browser,
        application_of(stack) as application,
    ):
        assert sign_in(browser).json()["executed_by"] == ADAS_IDENTITY
        assert application.post(RUNS, json={"name": "x"}).status_code == 201
        listed = application.get(RUNS, params={"created_by": "me"}).json()["runs"]
    assert [run["name"] for run in listed] == ["x"]


def test_outside_provider_replaces_the_local_one() -> None:
    """People sign in at the outside provider, and its Bearer tokens are trusted."""
    listener = listen(0)
    provider = OpenIDProvider(url_of(listener))
    outside = OutsideProvider(provider.issuer, BROWSER_CLIENT, provider.browser_secret)
    with (
        WebServer(provider.application, listener),
        Stack(outside=outside) as stack,
        browser_of(stack) as browser,
        application_of(stack) as application,
    ):
        assert stack.provider is None
        assert sign_in(browser).json()["executed_by"] == ADAS_IDENTITY
        assert application.get("/v1/whoami").json()["executed_by"] == APPLICATION_IDENTITY


def test_outside_provider_without_a_setting_is_refused() -> None:
    """A missing setting is named in the error. Without any setting there is no outside provider."""
    given = {"LOCAL_OIDC_ISSUER": "https://issuer.example.com", "LOCAL_OIDC_CLIENT_ID": "byline"}
    with pytest.raises(ValueError, match="LOCAL_OIDC_CLIENT_SECRET"):
        OutsideProvider.from_environment(given)
    whole = OutsideProvider.from_environment({**given, "LOCAL_OIDC_CLIENT_SECRET": "s"})
    assert whole == OutsideProvider(
        "https://issuer.example.com", "byline", "s", audience="byline", profile="generic"
    )
    assert OutsideProvider.from_environment({}) is None


def test_outside_provider_has_the_configured_audience_and_profile() -> None:
    """The audience and the profile of an outside provider come from its settings."""
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


def test_stack_on_a_used_port_starts_nothing() -> None:
    """The error names the port, and no process was started."""
    before = set(psutil.Process().children(recursive=True))
    with closing(listen(0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as failure, Stack(ports=Ports(aws=port)):
            pass
    assert failure.value.port == port
    assert set(psutil.Process().children(recursive=True)) <= before


def test_stopped_stack_leaves_no_process_and_no_port() -> None:
    """After the stack stopped, its processes have ended and its ports are free."""
    before = set(psutil.Process().children(recursive=True))
    with Stack() as stack:
        ports = [int(url.rpartition(":")[2]) for url in (stack.url, stack.issuer, stack.aws.url)]
        assert len(set(psutil.Process().children(recursive=True)) - before) >= 3
    assert set(psutil.Process().children(recursive=True)) <= before
    for port in ports:
        listen(port).close()


def four_free_ports() -> int:
    """The first of four consecutive free ports. Each test process searches its own range."""
    for first in range(20_000 + os.getpid() % 1_000 * 8, 30_000, 4):
        try:
            for port in range(first, first + 4):
                listen(port).close()
        except PortTaken:
            continue
        return first
    pytest.fail("found no four consecutive free ports")


def up(first_port: int, **environment: str) -> subprocess.Popen[str]:
    """The process of `make up`, with its ports from `first_port` on."""
    return subprocess.Popen(
        [sys.executable, "-m", "local.up"],
        cwd=ROOT,
        env={**os.environ, "LOCAL_PORT": str(first_port), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_up_opens_the_console_on_request(tmp_path: Path) -> None:
    """`LOCAL_BROWSER=on` opens the address of the console when it can be used."""
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\ncurl --silent -o /dev/null "$1" && echo "$1" >{tmp_path}/opened\n'
    )
    browser.chmod(0o755)
    first = four_free_ports()
    with up(first, LOCAL_BROWSER="on", BROWSER=str(browser)) as process:
        wait_for((tmp_path / "opened").exists)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert (tmp_path / "opened").read_text() == f"http://127.0.0.1:{first}/\n"


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_its_addresses_and_stops_when_interrupted(interrupt: signal.Signals) -> None:
    """`make up` prints its addresses, serves there, and leaves no process after an interrupt."""
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
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Byline is down" in rest
    assert errors == ""
    assert not any(child.is_running() for child in children)


def test_up_on_a_used_port_prints_one_line() -> None:
    """The error names the port and the setting for another one, without a traceback."""
    first = four_free_ports()
    with closing(listen(first + 2)), up(first) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert str(first + 2) in errors
    assert "LOCAL_PORT" in errors


def test_killed_stack_leaves_no_process() -> None:
    """After SIGKILL all processes that the stack started end."""
    first = four_free_ports()
    with up(first) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "takes it down" in line:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert len(children) >= 3
    assert alive == []


def test_demo_shows_its_facts_in_eighty_lines() -> None:
    """`make demo` ends with status 0 and at most 80 lines, which show every fact."""
    demo = subprocess.run(
        [sys.executable, "-m", "local.demo"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    assert len(demo.stdout.splitlines()) <= 80
    assert "starting RunsFunction" in demo.stdout
    assert "assistant: project:editor" in demo.stdout
    assert "None" not in demo.stdout
    facts = ("untrusted_signer", "untrusted_audience", "Grace Hopper", "nightly-train")
    agents = ("by planner on behalf of Grace Hopper", "claims_not_allowed", "acme/train @ main")
    for fact in (
        *facts,
        *agents,
        "to spare",
        "failing: invalid_client",
        "as if there were no such runner",
    ):
        assert fact in demo.stdout


def test_every_process_listens_on_loopback_only(stack: Stack) -> None:
    """No port of the stack is open to other machines or to containers."""
    this = psutil.Process()
    addresses = {
        connection.laddr.ip
        for process in (this, *this.children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert stack.url
    assert addresses == {"127.0.0.1"}


def test_person_in_chromium_signs_in_and_sees_their_name(stack: Stack, tmp_path: Path) -> None:
    """The sign-in page, the redirects and the session cookie work in Chromium."""
    with open_chromium(tmp_path) as context:
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
