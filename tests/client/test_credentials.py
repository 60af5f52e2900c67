"""Where the token comes from: the order, half-set sources, files that are read anew."""

import json
import pickle
from pathlib import Path

import pytest
from byline_client.credentials.order import SOURCES, choose
from byline_client.errors import Misused, SignInRequired
from byline_client.secret_text import SecretText, checked_token
from byline_client.settings import read_settings

from tests.client.commands import CommandLine
from tests.client.servers import Told, told
from tests.client.test_faults import CALLER


def test_secret_text_is_never_shown() -> None:
    """No way of turning a value into text shows a secret."""
    secret = SecretText("top-secret")
    shown = f"{secret} {secret!r} {secret!s} {[secret]}"
    assert "top-secret" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("text", ["", " \n", "a b", "a\nb", "tökén", "a\x00", "x" * 16_385])
def test_text_that_is_no_token_is_refused_without_quoting_it(text: str) -> None:
    """A damaged token is an error that names its source and does not show it."""
    with pytest.raises(Misused) as error:
        checked_token(text, source="BYLINE_TOKEN")
    assert "BYLINE_TOKEN" in str(error.value)
    assert not text.strip() or text not in str(error.value)


def test_longest_token_is_accepted() -> None:
    """A token of 16,384 characters, the service's limit, is accepted, with a line feed after it."""
    assert checked_token("x" * 16_384 + "\n", source="-").reveal() == "x" * 16_384


def test_variable_comes_before_the_file(tmp_path: Path) -> None:
    """Of two sources the first in the documented order is used, and the other one never."""
    file = tmp_path / "token"
    file.write_text("of-the-file")
    environ = {
        "BYLINE_URL": "https://byline.example",
        "BYLINE_CONFIG_DIR": str(tmp_path),
        "BYLINE_TOKEN": "of-the-variable",
        "BYLINE_TOKEN_FILE": str(file),
    }
    source, tokens = choose(read_settings(environ))
    assert (source.name, tokens.token().reveal()) == ("token", "of-the-variable")
    forced = read_settings({**environ, "BYLINE_CREDENTIAL": "token-file"})
    source, tokens = choose(forced)
    assert (source.name, tokens.token().reveal()) == ("token-file", "of-the-file")


def test_file_is_read_for_each_request(tmp_path: Path) -> None:
    """A token that a sidecar replaced is used by the next request."""
    file = tmp_path / "token"
    file.write_text("first\n")
    environ = {"BYLINE_URL": "https://byline.example", "BYLINE_CONFIG_DIR": str(tmp_path)}
    _, tokens = choose(read_settings({**environ, "BYLINE_TOKEN_FILE": str(file)}))
    assert tokens.token().reveal() == "first"
    file.write_text("second\n")
    assert tokens.token().reveal() == "second"
    file.unlink()
    with pytest.raises(SignInRequired, match="there is no file"):
        tokens.token()


@pytest.mark.parametrize("name", [each.name for each in SOURCES if each.name != "aws"])
def test_named_source_that_is_absent_is_an_error(tmp_path: Path, name: str) -> None:
    """BYLINE_CREDENTIAL never falls back to another source."""
    environ = {"BYLINE_URL": "https://byline.example", "BYLINE_CONFIG_DIR": str(tmp_path)}
    with pytest.raises(SignInRequired, match=f"`{name}`, which needs"):
        choose(read_settings({**environ, "BYLINE_CREDENTIAL": name}))


def test_unknown_source_is_wrong_usage(byline: CommandLine) -> None:
    """A misspelt BYLINE_CREDENTIAL is an error that lists the sources."""
    done = byline.having(BYLINE_URL="https://byline.example", BYLINE_CREDENTIAL="tokens")("whoami")
    assert done.returncode == 2
    assert "Sources: token, token-file" in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "http://byline.example",
        "byline.example",
        "https://",
        "https://ada:secret@byline.example",
        "https://byline.example?x=1",
        "https://byline.example:port",
        "file:///etc/passwd",
    ],
)
def test_address_that_could_leak_a_token_is_refused(byline: CommandLine, url: str) -> None:
    """Only https, or http on this machine, gets a token."""
    done = byline.having(BYLINE_URL=url, BYLINE_TOKEN="a.b.c")("whoami")
    assert done.returncode == 2
    assert "BYLINE_URL" in done.stderr
    assert "secret" not in done.stderr


def test_explanation_names_the_source_that_is_used(byline: CommandLine) -> None:
    """`whoami --explain` lists every source in order, and which one is used."""
    with told(lambda _: Told(200, json.dumps(CALLER))) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN_FILE="token")
        (byline.config.parent / "token").write_text("a.b.c\n")
        done = ready("whoami", "--explain", "--json")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stderr.splitlines()] == [
        ["used" if source.name == "token-file" else "absent", source.name] for source in SOURCES
    ]
    assert json.loads(done.stdout)["credential"] == "token-file"
