"""ministack as AWS on one machine: who reaches it, and what is left of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from local.listening import listen
from local.ministack import Ministack

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def aws() -> Iterator[Ministack]:
    """A running ministack with two of its services."""
    with Ministack(listen(0), services=("secretsmanager", "s3")) as running:
        yield running


def list_secrets(aws: Ministack, **headers: str | None) -> httpx.Response:
    """The answer to a request that lists all secrets, with other headers; None omits one."""
    signature = "AWS4-HMAC-SHA256 Credential=123456789012/20261126/us-east-1/secretsmanager/aws4"
    request = {
        "x-amz-target": "secretsmanager.ListSecrets",
        "content-type": "application/x-amz-json-1.1",
        "authorization": f"{signature}, SignedHeaders=host, Signature=0",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    sent = {name: value for name, value in request.items() if value is not None}
    return httpx.post(aws.url, content="{}", headers=sent)


def test_program_of_this_machine_is_answered(aws: Ministack) -> None:
    """A signed request without a browser's headers reaches AWS, by both names of this machine."""
    assert list_secrets(aws).json() == {"SecretList": []}
    port = aws.url.rpartition(":")[2]
    assert list_secrets(aws, host=f"localhost:{port}").json() == {"SecretList": []}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"authorization": None}, 403),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:4566"}, 421),
    ],
)
def test_request_that_a_web_page_can_cause_is_refused(
    aws: Ministack, headers: dict[str, str | None], status: int
) -> None:
    """No page of a developer's browser reads AWS, not even after DNS rebinding."""
    answer = list_secrets(aws, **headers)
    assert answer.status_code == status
    assert "SecretList" not in answer.text
    assert "access-control-allow-origin" not in answer.headers


def test_page_does_not_reset_it(aws: Ministack) -> None:
    """A page's request without a preflight does not delete what AWS has."""
    aws.client("s3").create_bucket(Bucket="kept")
    answer = httpx.post(f"{aws.url}/_ministack/reset", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert [bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]] == ["kept"]


def test_it_listens_on_loopback_alone(aws: Ministack) -> None:
    """It opens one port, of loopback."""
    children = psutil.Process().children(recursive=True)
    [process] = [child for child in children if "ministack_process" in str(child.cmdline())]
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", int(aws.url.rpartition(":")[2]))}


def test_killed_parent_leaves_no_process_and_no_folder() -> None:
    """After SIGKILL of its parent, ministack ends and deletes its folder."""
    program = (
        "import time; from local.listening import listen; from local.ministack import Ministack\n"
        "with Ministack(listen(0), services=['s3']) as aws:\n"
        "    aws.client('s3').list_buckets()\n"
        "    print(aws._folder.name, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        folder = Path(parent.stdout.readline().strip())
        assert folder.is_dir()
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert len(children) == 1
    assert alive == []
    assert not folder.exists()
