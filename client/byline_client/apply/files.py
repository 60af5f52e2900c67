"""The files of documents: one file, a folder, or standard input."""

import sys
from collections.abc import Sequence
from pathlib import Path

from byline_client.apply.located import FilePlace, Located, refused
from byline_client.apply.yaml_text import read_documents

ENDINGS = (".yaml", ".yml")
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml")
STANDARD_INPUT = "-"


def read_sources(sources: Sequence[str]) -> list[Located]:
    """The documents of files and folders, and of standard input for `-`. Raises `Misused`."""
    found: list[Located] = []
    for source in sources:
        if source == STANDARD_INPUT:
            found += _read_standard_input()
        elif Path(source).is_dir():
            found += read_folder(Path(source))
        else:
            found += read_file(Path(source))
    return found


def read_folder(folder: Path) -> list[Located]:
    """The documents of a folder's YAML files by name, without its folders. Raises `Misused`."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        text = f"Cannot read the folder: {error.strerror}."
        raise refused(FilePlace(str(folder), 1), text) from None
    files = sorted(
        path
        for path in entries
        if path.suffix in ENDINGS and path.name not in KUSTOMIZATIONS and path.is_file()
    )
    if not files:
        raise refused(FilePlace(str(folder), 1), "The folder has no file *.yaml or *.yml.")
    return [document for file in files for document in read_file(file)]


def _read_standard_input() -> list[Located]:
    name = "standard input"
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise refused(FilePlace(name, 1), "The text is not UTF-8.") from None
    return read_documents(text, file=name)


def read_file(path: Path) -> list[Located]:
    """The documents of a file. Raises `Misused`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise refused(FilePlace(str(path), 1), "The file is not UTF-8 text.") from None
    except OSError as error:
        raise refused(FilePlace(str(path), 1), f"Cannot read the file: {error.strerror}.") from None
    return read_documents(text, file=str(path))
