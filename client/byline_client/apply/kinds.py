"""The interface of a kind of document: finding, comparing, writing and deleting its entries."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, Protocol

from byline_client.addresses import project_path
from byline_client.apply.documents import Wanted
from byline_client.conversation import ServiceCall

Entry = dict[str, Any]
"""An entry of a list, as the service has it."""


class Kind(Protocol):
    """A kind of documents. `segment`: its part of the path; `member`: that of its list."""

    segment: str
    member: str

    def entries(self, listed: Iterable[Entry]) -> list[Entry]:
        """The entries that documents can be about."""

    def find(self, wanted: Wanted, entries: Iterable[Entry]) -> Entry | None:
        """The entry that a document is about; None where there is none."""

    def is_certain(self, wanted: Wanted) -> bool:
        """Whether the list shows all that the document says. Otherwise the service compares."""

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """The members of the document that the list shows, with their defaults."""

    def shown(self, entry: Entry) -> dict[str, Any]:
        """The members of an entry, in the same form as those of documents."""

    def write(self, wanted: Wanted) -> ServiceCall:
        """The call that makes the service have the document. Repeating it is harmless."""

    def deletion(self, project: str, entry: Entry) -> ServiceCall:
        """The call that deletes an entry. 404 answers one that does not exist any more."""

    def key(self, entry: Entry) -> str:
        """The text by which the service knows the entry in its project."""

    def key_of(self, wanted: Wanted) -> str | None:
        """The key that the entry of a document gets; None where only the service knows it."""

    def document(self, entry: Entry) -> dict[str, Any]:
        """The entry as a document, without `kind`, `project` and `token`."""


def path_of(segment: str, project: str, *names: str) -> str:
    """The path of a list, or of one entry. Raises `Misused`."""
    return project_path(project, segment, *names)


def body_of(wanted: Wanted) -> dict[str, Any]:
    """The body of a write: the members that the document gives, as JSON, with its secret."""
    members = wanted.document.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    for name in ("kind", "name", "project", "token"):
        members.pop(name, None)
    if wanted.secret is not None:
        members["token"] = wanted.secret.reveal()
    return members


def time_of(value: object) -> str | None:
    """A time in whole seconds of UTC, so that equal times have equal texts; None for none."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    if not isinstance(value, datetime):
        return None
    return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def given(members: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are not null and not their defaults."""
    return {
        name: value
        for name, value in members.items()
        if value is not None and value != defaults.get(name)
    }
