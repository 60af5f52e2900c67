"""The page and the JSON Schema of `byline apply`, held to its models, the API and the stack."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonschema_rs
import pytest
import yaml
from byline_client.apply.models import MODELS
from byline_client.apply.schema import json_schema

from local.stack import Stack
from tests.docs.documents import ROOT, table

PAGE = "docs/apply.md"
BODIES = {
    "RoleBinding": "RoleBinding",
    "Agent": "AllowAgent",
    "ServiceAccount": "CreateServiceAccount",
    "Credential": "PutCredential",
    "Runner": "RegisterRunner",
}
"""The body of the API's write of each kind."""

ISSUER = "https://issuer.example.com"
BLOCKS = re.findall(r"^```(yaml|sh)\n(.*?)^```", (ROOT / PAGE).read_text(), re.M | re.S)
FILES = [text for language, text in BLOCKS if language == "yaml"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(log_folder=tmp_path_factory.mktemp("logs")) as running:
        yield running


def test_schema_is_made_from_the_models() -> None:
    """The committed JSON Schema is what `byline apply --schema` writes."""
    assert json.loads((ROOT / "docs/apply.schema.json").read_text()) == json_schema()


@pytest.mark.parametrize("kind", MODELS)
def test_members_are_those_of_the_api(kind: str) -> None:
    """A document has each member of the API's body, under the same name, and no other."""
    openapi = json.loads((ROOT / "docs/openapi.json").read_text())
    body = set(openapi["components"]["schemas"][BODIES[kind]]["properties"])
    if kind == "RoleBinding":
        body -= {"kind"}  # that of the principal, which `principal` has too
    assert set(MODELS[kind].model_fields) == body | {"kind", "name", "project"}


def test_table_of_kinds_is_that_of_the_models() -> None:
    """The page lists each kind in the order of writes, with its members."""
    rows = table((ROOT / PAGE).read_text(), "kind")
    assert [row["kind"].strip("`") for row in rows] == list(MODELS)
    for row in rows:
        members = set(MODELS[row["kind"].strip("`")].model_fields) - {"kind", "name", "project"}
        assert set(re.findall(r"`(\w+)`", row["members"])) == members


def test_schema_accepts_the_documents_of_the_page() -> None:
    """An editor with the schema accepts what the page shows, and marks a mistake."""
    validator = jsonschema_rs.validator_for(json_schema())
    documents = list(yaml.safe_load_all(FILES[0]))
    assert {each["kind"] for each in documents} < set(MODELS)
    for document in documents:
        assert validator.is_valid(document)
        assert not validator.is_valid({**document, "unknown": 1})
        if "token" in document:
            assert not validator.is_valid({**document, "token": "a-secret"})


@pytest.mark.stack
def test_examples_of_the_page_work_as_printed(stack: Stack, tmp_path: Path) -> None:
    """A reader who copies the files and commands of the page, in order, gets no error."""
    for text in FILES:
        name = text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace(ISSUER, stack.issuer))
    commands = "".join(text for language, text in BLOCKS if language == "sh")
    script = f'set -e\nbyline() {{ {sys.executable} -m byline_client "$@"; }}\n{commands}'
    form = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(ROOT / "client")}
    done = subprocess.run(
        ["bash", "-c", script],
        env={
            **form,
            "BYLINE_CONFIG_DIR": str(tmp_path),
            "BYLINE_URL": stack.url,
            "BYLINE_TOKEN": _admin_token(stack),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Dry run: 4 to create" in done.stderr
    assert "Credential research/tracker changed" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("Dry run: 0 to create, 0 to change")


def _admin_token(stack: Stack) -> str:
    answer = httpx.post(
        f"{stack.issuer}/token",
        data={"grant_type": "client_credentials"},
        auth=("nightly-train", "nightly-train-secret"),
    )
    return str(answer.json()["access_token"])
