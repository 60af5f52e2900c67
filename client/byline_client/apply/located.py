"""YAML values with their places, so that every error names a file and a line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from byline_client.errors import Misused

Scalar = str | int | bool | None


@dataclass(frozen=True, order=True)
class FilePlace:
    """A line of a file. Lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Located:
    """A value with its place."""

    value: "Scalar | dict[str, Located] | list[Located]"
    place: FilePlace

    @property
    def members(self) -> "dict[str, Located]":
        """The members of a mapping; empty for another value."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def entries(self) -> "list[Located]":
        """The entries of a list; empty for another value."""
        return self.value if isinstance(self.value, list) else []

    def text(self, name: str) -> str:
        """A member that is a text; empty where it is absent or something else."""
        found = self.members.get(name)
        return found.value if found is not None and isinstance(found.value, str) else ""

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {name: each.plain() for name, each in self.value.items()}
        if isinstance(self.value, list):
            return [each.plain() for each in self.value]
        return self.value

    def place_of(self, path: Sequence[object]) -> FilePlace:
        """The place of the value at a path of names and numbers, or of the nearest around it."""
        found = self
        for step in path:
            if isinstance(step, str) and step in found.members:
                found = found.members[step]
            elif isinstance(step, int) and step < len(found.entries):
                found = found.entries[step]
            else:
                break
        return found.place


@dataclass
class Faults:
    """The faults of documents, reported together and in the order of their places."""

    found: list[tuple[FilePlace, str]] = field(default_factory=list)

    def add(self, place: FilePlace, text: str) -> None:
        """Note a fault. The text contains no secret."""
        self.found.append((place, text))

    def raise_any(self) -> None:
        """Raise `Misused` with a line for each fault, unless there is none."""
        if self.found:
            raise Misused("\n".join(["the documents are not valid.", *self._lines()]))

    def _lines(self) -> Iterator[str]:
        for place, text in sorted(set(self.found)):
            yield f"{place}: {text}"


def refused(place: FilePlace, text: str) -> Misused:
    """The error of one fault."""
    return Misused(f"{place}: {text}")
