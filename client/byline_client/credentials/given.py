"""Tokens that somebody else provides: in a variable, or in a file that is kept fresh."""

from collections.abc import Mapping
from pathlib import Path

from byline_client.errors import ClientError, Misused, SignInRequired
from byline_client.private_files import read_private
from byline_client.secret_text import SecretText, checked_token


class GivenToken:
    """The token in BYLINE_TOKEN. There is no other one when it has expired."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._token = checked_token(environ["BYLINE_TOKEN"], source="BYLINE_TOKEN")

    def token(self, *, renew: bool = False) -> SecretText:
        """The token."""
        return self._token


class TokenFile:
    """The token in the file BYLINE_TOKEN_FILE, read anew for each request.

    Kubernetes and sidecars replace such a file before the token in it expires.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._path = Path(environ["BYLINE_TOKEN_FILE"])

    def token(self, *, renew: bool = False) -> SecretText:
        """The token that the file has now. Raises `SignInRequired` without a usable one."""
        try:
            text = read_private(self._path)
            if text is None:
                raise SignInRequired(f"BYLINE_TOKEN_FILE: there is no file {self._path}.")
            return checked_token(text, source=str(self._path))
        except Misused as error:
            raise SignInRequired(str(error)) from None
        except ClientError as error:
            raise SignInRequired(f"BYLINE_TOKEN_FILE: {error}") from None
