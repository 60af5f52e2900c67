"""Chromium shows a page of another site, which tries to use the local AWS."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from local.aws import MotoServer
from local.listening import listen
from tests.local.chromium import open_chromium

SECRET = "byline/clients/apollo/nightly-train"

SCRIPT = """async (aws) => {
    const call = (target, body, options) => fetch(aws, {
        method: "POST", body: JSON.stringify(body), ...options,
        headers: target && {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "AWS4-HMAC-SHA256 Credential=local/20261126/us-east-1/"
                + target.split(/[._]/)[0].toLowerCase() + "/aws4_request"},
    }).then(answer => answer.type, error => error.name);
    const simple = {method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}};
    return [
        await call("secretsmanager.ListSecrets", {}),
        await call("secretsmanager.DeleteSecret", {SecretId: SECRET}),
        await call("DynamoDB_20120810.PutItem", {TableName: "Table", Item: {id: {S: "a"}}}),
        await fetch(aws + "/moto-api/reset", simple).then(answer => answer.type),
    ];
}""".replace("SECRET", repr(SECRET))


class _Page(BaseHTTPRequestHandler):
    """An empty page."""

    def do_GET(self) -> None:
        """Send it."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture
def page_url() -> Iterator[str]:
    """The address of an empty page of evil.example."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://evil.example:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture
def aws() -> Iterator[MotoServer]:
    """The AWS endpoint of `make up`, with a secret and a table."""
    with MotoServer(listen(0)) as server:
        server.client("secretsmanager").create_secret(Name=SECRET, SecretString="kept")
        server.client("dynamodb").create_table(
            TableName="Table",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
        yield server


def test_page_in_chromium_reads_and_writes_nothing(
    aws: MotoServer, page_url: str, tmp_path: Path
) -> None:
    """A script of another site lists no secret, deletes none, puts no row and empties nothing."""
    with open_chromium(tmp_path) as chromium:
        page = chromium.new_page()
        page.goto(page_url)
        outcomes = page.evaluate(SCRIPT, aws.url)
    # "opaque": Chromium sent the request, and the script learned nothing.
    assert outcomes == ["TypeError", "TypeError", "TypeError", "opaque"]
    secret = aws.client("secretsmanager").get_secret_value(SecretId=SECRET)
    assert secret["SecretString"] == "kept"
    assert aws.client("dynamodb").scan(TableName="Table")["Items"] == []


def test_page_behind_a_rebound_name_is_refused(aws: MotoServer, tmp_path: Path) -> None:
    """A site whose name resolves to this machine gets 421 in Chromium."""
    rebound = aws.url.replace("127.0.0.1", "evil.example")
    with open_chromium(tmp_path) as chromium:
        answer = chromium.new_page().goto(rebound)
    assert (answer.status, answer.url) == (421, f"{rebound}/")


def test_answer_of_aws_permits_no_other_origin(aws: MotoServer) -> None:
    """The headers of an answer let no page of another site read it."""
    answer = aws.client("secretsmanager").list_secrets()["ResponseMetadata"]["HTTPHeaders"]
    assert not [name for name in answer if name.startswith("access-control-")]
