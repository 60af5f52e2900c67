"""Secrets as a person or a job gives them: by a file, by standard input, never as an argument.

Other users see the arguments of a process, and a shell keeps them in its history.
"""

import sys
from getpass import getpass
from pathlib import Path

from byline_client.errors import Misused
from byline_client.private_files import read_private
from byline_client.secret_text import SecretText


def read_secret(file: Path | None, default: str = "", *, what: str) -> SecretText | None:
    """The text of `file`, by default `default`; None without both. `-` is standard input.

    On a terminal it is typed unseen. Line ends at its end are removed. Raises `Misused` for an
    empty text, and `ClientError` for a file that cannot be read.
    """
    if file is None:
        return SecretText(default) if default else None
    if str(file) != "-":
        text = read_private(file)
        if text is None:
            raise Misused(f"There is no file {file}.")
    elif sys.stdin.isatty():
        text = getpass(f"The {what} (it is not shown): ")
    else:
        text = sys.stdin.read()
    if not text.strip():
        raise Misused(f"The {what} is empty.")
    return SecretText(text.rstrip("\r\n"))
