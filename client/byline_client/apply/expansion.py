"""Variables in documents: `${NAME}` in a text, and secrets by `{env: …}` and `{file: …}`.

Faults show the text of the document, never the value of a variable, which may be a secret.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from byline_client.apply.located import Faults, FilePlace, Located
from byline_client.secret_text import SecretText

MAX_SECRET_CHARACTERS = 61_440
_VARIABLE = re.compile(r"(\$?)\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def expanded(located: Located, environ: Mapping[str, str], faults: Faults) -> Located:
    """The value with `${NAME}` replaced in each text, and `$${NAME}` by `${NAME}`."""
    value = located.value
    if isinstance(value, dict):
        members = {name: expanded(each, environ, faults) for name, each in value.items()}
        return Located(members, located.place)
    if isinstance(value, list):
        return Located([expanded(each, environ, faults) for each in value], located.place)
    if not isinstance(value, str):
        return located

    def replacement(match: "re.Match[str]") -> str:
        escape, name, end = match.groups()
        if escape:
            return match[0][1:]
        if not end or not _NAME.fullmatch(name):
            faults.add(located.place, "`${` begins no variable. Write `${NAME}`, or `$${` for it.")
        elif name not in environ:
            faults.add(located.place, f"The variable {name} is not set.")
        else:
            return environ[name]
        return ""

    return Located(_VARIABLE.sub(replacement, value), located.place)


def secret_at(
    located: Located, written: Located, environ: Mapping[str, str], faults: Faults
) -> SecretText | None:
    """The secret that `{env: NAME}` or `{file: PATH}` names; None after a fault.

    A path is relative to the folder of the document, and stays in it. One line end at the end is
    removed. `written`: the same before its variables were expanded.
    """
    place = located.place
    if name := located.text("env"):
        source = f"The variable {written.text('env')}"
        if name not in environ:
            faults.add(place, f"{source} is not set.")
            return None
        return _checked(environ[name], source, place, faults)
    source = written.text("file")
    text = _file_text(located, source, faults)
    if text is None:
        return None
    return _checked(text.removesuffix("\n").removesuffix("\r"), source, place, faults)


def _file_text(located: Located, source: str, faults: Faults) -> str | None:
    """The text of a file in the folder of the document; None after a fault."""
    place = located.place
    folder = Path(place.file).parent
    try:
        path = (folder / located.text("file")).resolve()
        if path.is_relative_to(folder.resolve()):
            return path.read_text(encoding="utf-8")
        fault = f"`{source}` must be a path in the folder of the document."
    except UnicodeDecodeError:
        fault = f"{source} is not UTF-8 text."
    except OSError as error:
        fault = f"Cannot read {source}: {error.strerror}."
    except (ValueError, RuntimeError):
        # A null character or half of a surrogate pair; a loop of links in Python 3.12 and before.
        fault = "No file has such a path."
    faults.add(place, fault)
    return None


def _checked(text: str, source: str, place: FilePlace, faults: Faults) -> SecretText | None:
    if any("\ud800" <= each <= "\udfff" for each in text):
        faults.add(place, f"{source} is not UTF-8 text.")  # a byte of the environment
        return None
    if not 0 < len(text) <= MAX_SECRET_CHARACTERS:
        what = "is empty" if not text else f"has more than {MAX_SECRET_CHARACTERS} characters"
        faults.add(place, f"{source} {what}.")
        return None
    return SecretText(text)
