"""The tokens of sign-ins: in the keyring of the system, or in private files."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from byline_client.errors import ClientError
from byline_client.private_files import read_private, write_private
from byline_client.secret_text import SecretText

KEYRING_SERVICE = "byline"


@dataclass(frozen=True)
class StoredTokens:
    """The tokens of a sign-in. `expires_at`: Unix seconds."""

    access_token: SecretText
    refresh_token: SecretText | None
    expires_at: float


class TokenStore(Protocol):
    """A place for tokens. `key` is the name of a profile."""

    def read(self, key: str) -> StoredTokens | None:
        """The tokens; None if there are none. Raises `ClientError`."""

    def write(self, key: str, tokens: StoredTokens) -> None:
        """Replace the tokens. Raises `ClientError`."""

    def forget(self, key: str) -> None:
        """Remove the tokens. Raises `ClientError`."""


class FileStore:
    """Tokens in files with mode 0600."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tokens"

    def path(self, key: str) -> Path:
        """The file of a profile."""
        return self._folder / f"{key}.json"

    def read(self, key: str) -> StoredTokens | None:
        """The tokens in the file. Raises `ClientError` for a file that others can read."""
        path = self.path(key)
        text = read_private(path)
        if text is None:
            return None
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ClientError(
                f"Other users can read {path}. Run `byline logout` and sign in again."
            )
        return _parsed(text, str(path))

    def write(self, key: str, tokens: StoredTokens) -> None:
        """Replace the file."""
        write_private(self.path(key), _text_of(tokens))

    def forget(self, key: str) -> None:
        """Remove the file."""
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as error:
            raise ClientError(f"Cannot delete {self.path(key)}: {error.strerror}.") from None


class KeyringStore:
    """Tokens in the keyring of the system."""

    def __init__(self, keyring: Any) -> None:
        self._keyring = keyring

    def read(self, key: str) -> StoredTokens | None:
        """The tokens in the keyring."""
        text = self._call("get_password", key)
        return None if text is None else _parsed(text, "the keyring")

    def write(self, key: str, tokens: StoredTokens) -> None:
        """Replace the entry."""
        self._call("set_password", key, _text_of(tokens))

    def forget(self, key: str) -> None:
        """Remove the entry."""
        if self._call("get_password", key) is not None:
            self._call("delete_password", key)

    def _call(self, name: str, *arguments: str) -> Any:
        from keyring.errors import KeyringError  # noqa: PLC0415

        try:
            return getattr(self._keyring, name)(KEYRING_SERVICE, *arguments)
        except KeyringError as error:
            raise ClientError(f"The keyring refuses ({type(error).__name__}).") from None


def open_store(kind: str, folder: Path) -> TokenStore:
    """The store of a profile: `keyring` or `file`."""
    if kind != "keyring":
        return FileStore(folder)
    import keyring  # noqa: PLC0415 - slow to import, and not needed with files

    return KeyringStore(keyring)


def keep_in_best_store(
    key: str, tokens: StoredTokens, folder: Path, environ: Mapping[str, str]
) -> str:
    """Write the tokens into the keyring, or into a file where there is no keyring.

    Returns the kind of the store. BYLINE_TOKEN_STORE names one. Raises `ClientError`.
    """
    wanted = environ.get("BYLINE_TOKEN_STORE", "")
    if wanted not in ("", "keyring", "file"):
        raise ClientError("BYLINE_TOKEN_STORE must be `keyring` or `file`.")
    if wanted != "file":
        try:
            store = open_store("keyring", folder)
            store.write(key, tokens)
            # Some backends take everything and keep nothing.
            if store.read(key) is not None:
                return "keyring"
        except ClientError:
            if wanted:
                raise
        if wanted:
            raise ClientError("The keyring did not keep the tokens.")
    FileStore(folder).write(key, tokens)
    return "file"


def _text_of(tokens: StoredTokens) -> str:
    refresh = tokens.refresh_token
    return json.dumps(
        {
            "access_token": tokens.access_token.reveal(),
            "refresh_token": None if refresh is None else refresh.reveal(),
            "expires_at": tokens.expires_at,
        }
    )


def _parsed(text: str, place: str) -> StoredTokens:
    try:
        members = json.loads(text)
        refresh = members["refresh_token"]
        return StoredTokens(
            SecretText(str(members["access_token"])),
            None if refresh is None else SecretText(str(refresh)),
            float(members["expires_at"]),
        )
    except (ValueError, KeyError, TypeError):
        # `from None`: the message of the parser may quote the text.
        raise ClientError(f"The tokens in {place} are damaged. Sign in again.") from None
