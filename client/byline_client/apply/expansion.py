"""Variables in documents: `${NAME}` in a text, and secrets by `{env: …}` and `{file: …}`."""

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


def secret_at(located: Located, environ: Mapping[str, str], faults: Faults) -> SecretText | None:
    """The secret that `{env: NAME}` or `{file: PATH}` names; None after a fault.

    A path is relative to the folder of the document. One line end at the end is removed.
    """
    place = located.place
    if name := located.text("env"):
        if name not in environ:
            faults.add(place, f"The variable {name} is not set.")
            return None
        return _checked(environ[name], f"The variable {name}", place, faults)
    path = Path(place.file).parent / located.text("file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        faults.add(place, f"{path} is not UTF-8 text.")
        return None
    except OSError as error:
        faults.add(place, f"Cannot read {path}: {error.strerror}.")
        return None
    return _checked(text.removesuffix("\n").removesuffix("\r"), str(path), place, faults)


def _checked(text: str, source: str, place: FilePlace, faults: Faults) -> SecretText | None:
    if not 0 < len(text) <= MAX_SECRET_CHARACTERS:
        what = "is empty" if not text else f"has more than {MAX_SECRET_CHARACTERS} characters"
        faults.add(place, f"{source} {what}.")
        return None
    return SecretText(text)
