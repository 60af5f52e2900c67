"""`byline login` and `logout` against the running stack: device code, browser, refresh."""

import json
import re
import stat
import subprocess
import time
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, told

ADA = "user-1815"
pytestmark = pytest.mark.stack


def approve(stack: RunningStack, process: "subprocess.Popen[str]", person: str = ADA) -> str:
    """Approve the code that the command shows, as a person does. Returns what it said."""
    assert process.stderr is not None
    said = ""
    while (code := re.search(r"the code (\S+)\.", said)) is None:
        line = process.stderr.readline()
        assert line, said
        said += line
    httpx.post(f"{stack.issuer}/device", data={"user_code": code[1], "person": person})
    return said


def sign_in(byline: CommandLine, stack: RunningStack, *arguments: str) -> str:
    """Sign Ada in by a code. Returns the output of the command."""
    with byline.start("login", stack.url, "--device", *arguments) as process:
        said = approve(stack, process)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return said + err + out


def stored(byline: CommandLine, name: str = "default") -> "dict[str, Any]":
    """The tokens in the file of a profile."""
    document: dict[str, Any] = json.loads((byline.config / "tokens" / f"{name}.json").read_text())
    return document


def change(byline: CommandLine, **members: Any) -> None:
    """Change the stored tokens, as time or a fault would."""
    path = byline.config / "tokens/default.json"
    path.write_text(json.dumps({**stored(byline), **members}))


def test_sign_in_needs_nothing_but_the_address(byline: CommandLine, stack: RunningStack) -> None:
    """A person approves a code once, and later commands know them."""
    said = sign_in(byline, stack)
    assert "Signed in" in said
    assert "as Ada Lovelace" in said
    done = byline("whoami", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["who"]["executed_by"]["subject"] == ADA
    assert document["credential"] == "sign-in"
    tokens = stored(byline)
    for secret in (tokens["access_token"], tokens["refresh_token"]):
        assert secret not in said + done.stdout + done.stderr


def test_tokens_are_in_files_of_the_owner_alone(byline: CommandLine, stack: RunningStack) -> None:
    """Without a keyring, tokens are in a private file, and nowhere else."""
    sign_in(byline, stack)
    refresh = stored(byline)["refresh_token"]
    holders = [path for path in byline.config.rglob("*") if path.is_file()]
    holding = [path for path in holders if refresh in path.read_text()]
    assert holding == [byline.config / "tokens/default.json"]
    for path in holders:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    (byline.config / "tokens/default.json").chmod(0o644)
    done = byline("whoami")
    assert done.returncode == 1
    assert "Other users can read" in done.stderr


def test_browser_of_this_machine_signs_in(byline: CommandLine, stack: RunningStack) -> None:
    """The browser comes back to the command on loopback, with a code that PKCE protects."""
    ready = byline.having(BROWSER="true")
    with ready.start("login", stack.url, "--browser") as process:
        assert process.stderr is not None
        page = process.stderr.readline().removeprefix("Open ").strip()
        query = parse_qs(urlsplit(page).query)
        assert query["code_challenge_method"] == ["S256"]
        # Another program of this machine cannot end the sign-in with a code of its own.
        callback = query["redirect_uri"][0]
        assert httpx.get(callback, params={"code": "x", "state": "guessed"}).status_code == 404
        answer = httpx.post(page, data={"person": ADA})
        assert httpx.get(answer.headers["location"]).status_code == 200
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "default\n"
    assert "Ada Lovelace" in err


def test_refused_sign_in_exits_with_four(byline: CommandLine, stack: RunningStack) -> None:
    """A person who refuses the code ends the command, and nothing is kept."""
    with byline.start("login", stack.url, "--device") as process:
        approve(stack, process, person="")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "access_denied" in err
    assert not byline.config.exists()


def test_expired_token_is_refreshed(byline: CommandLine, stack: RunningStack) -> None:
    """A token that ends soon is replaced, with the refresh token that the issuer rotates."""
    sign_in(byline, stack)
    before = stored(byline)
    change(byline, expires_at=time.time() + 5)
    assert byline("whoami").returncode == 0
    after = stored(byline)
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]
    assert after["expires_at"] > time.time() + 800


def test_refused_token_is_refreshed_once(byline: CommandLine, stack: RunningStack) -> None:
    """A token that the service refuses before its end is replaced too."""
    sign_in(byline, stack)
    change(byline, access_token="not-valid-any-more")
    done = byline("whoami")
    assert done.returncode == 0, done.stderr


def test_processes_at_once_refresh_once(byline: CommandLine, stack: RunningStack) -> None:
    """Several commands share a refresh token that works once."""
    sign_in(byline, stack)
    change(byline, expires_at=0)
    done: list[int] = []

    def run() -> None:
        done.append(byline("whoami").returncode)

    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [0, 0, 0, 0]


def test_ended_sign_in_exits_with_four(byline: CommandLine, stack: RunningStack) -> None:
    """A refresh token that the issuer does not know any more asks for a new sign-in."""
    sign_in(byline, stack)
    change(byline, expires_at=0, refresh_token="unknown")
    done = byline("whoami")
    assert done.returncode == 4
    assert "invalid_grant" in done.stderr
    assert f"byline login {stack.url}" in done.stderr


def test_sign_out_revokes_and_forgets(byline: CommandLine, stack: RunningStack) -> None:
    """After `byline logout` a copy of the refresh token is worth nothing."""
    sign_in(byline, stack)
    refresh = stored(byline)["refresh_token"]
    done = byline("logout")
    assert done.returncode == 0, done.stderr
    form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": "byline-cli"}
    assert httpx.post(f"{stack.issuer}/token", data=form).json()["error"] == "invalid_grant"
    assert not (byline.config / "tokens/default.json").exists()
    assert "default" not in json.loads((byline.config / "profiles.json").read_text())["profiles"]
    assert byline("logout").returncode == 2


def test_sign_out_without_the_issuer_forgets_too(byline: CommandLine, stack: RunningStack) -> None:
    """Where the issuer does not answer, the tokens are deleted and the command says so."""
    sign_in(byline, stack)
    path = byline.config / "profiles.json"
    path.write_text(path.read_text().replace(f"{stack.issuer}/revoke", "http://127.0.0.1:9/revoke"))
    done = byline("logout")
    assert done.returncode == 3
    assert "did not confirm" in done.stderr
    assert not (byline.config / "tokens/default.json").exists()


def test_profiles_are_separate(byline: CommandLine, stack: RunningStack) -> None:
    """Several sign-ins exist side by side, and the last one is used by default."""
    sign_in(byline, stack, "--name", "work")
    sign_in(byline, stack, "--name", "home")
    for arguments in (["whoami"], ["--profile", "work", "whoami"]):
        assert byline(*arguments).returncode == 0
    assert byline("--profile", "home", "logout").returncode == 0
    assert byline("whoami").returncode == 0
    done = byline("--profile", "home", "whoami")
    assert done.returncode == 2
    assert "Profiles: work." in done.stderr


def test_sign_in_is_never_sent_to_another_service(byline: CommandLine, stack: RunningStack) -> None:
    """BYLINE_URL of another service does not get the token of the profile."""
    sign_in(byline, stack)
    with told(lambda _: Told()) as elsewhere:
        done = byline.having(BYLINE_URL=elsewhere.url)("whoami")
        assert elsewhere.received == []
    assert done.returncode == 4


@pytest.mark.parametrize(
    "spoilt", [{"resource": "https://other.example"}, {"byline_issuers": None}, {"resource": None}]
)
def test_metadata_of_another_service_are_refused(
    byline: CommandLine, stack: RunningStack, spoilt: "dict[str, Any]"
) -> None:
    """A service cannot lead the sign-in to an issuer in the name of another one (RFC 9728)."""
    metadata = httpx.get(f"{stack.url}/.well-known/oauth-protected-resource").json()

    def answer(request: Received) -> Told:
        document = {**metadata, "resource": f"http://{request.headers['host']}", **spoilt}
        return Told(200, json.dumps(document))

    with told(answer) as server:
        done = byline("login", server.url, "--device")
    assert done.returncode == 3
    assert "metadata" in done.stderr


def test_keyring_keeps_the_tokens(byline: CommandLine, stack: RunningStack, tmp_path: Path) -> None:
    """With a keyring of the system no file has a token."""
    (tmp_path / "vault.py").write_text(
        "import json, pathlib\n"
        "from keyring.backend import KeyringBackend\n"
        "PLACE = pathlib.Path(__file__).with_name('vault.json')\n"
        "class Vault(KeyringBackend):\n"
        "    priority = 9\n"
        "    def _all(self):\n"
        "        return json.loads(PLACE.read_text()) if PLACE.exists() else {}\n"
        "    def get_password(self, service, username):\n"
        "        return self._all().get(f'{service}/{username}')\n"
        "    def set_password(self, service, username, password):\n"
        "        PLACE.write_text(json.dumps({**self._all(), f'{service}/{username}': password}))\n"
        "    def delete_password(self, service, username):\n"
        "        kept = self._all()\n"
        "        del kept[f'{service}/{username}']\n"
        "        PLACE.write_text(json.dumps(kept))\n"
    )
    path = byline.whole_environment["PYTHONPATH"]
    ready = byline.having(PYTHON_KEYRING_BACKEND="vault.Vault", PYTHONPATH=f"{path}:{tmp_path}")
    assert "in the keyring" in sign_in(ready, stack)
    assert not list(byline.config.glob("tokens/*.json"))
    assert "byline/default" in json.loads((tmp_path / "vault.json").read_text())
    assert ready("whoami").returncode == 0
    assert ready("logout").returncode == 0
    assert json.loads((tmp_path / "vault.json").read_text()) == {}
