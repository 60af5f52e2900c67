"""The kinds of documents whose names are those at the service: agents, credentials, runners."""

from collections.abc import Iterable
from typing import Any

from byline_client.apply.documents import Wanted
from byline_client.apply.kinds import Entry, body_of, given, path_of, time_of
from byline_client.apply.models import (
    AgentDocument,
    CredentialDocument,
    ReaderMember,
    RunnerDocument,
)
from byline_client.conversation import ServiceCall

EDITOR = "project:editor"


class _Named:
    """The parts that credentials, runners and agents have in common."""

    segment = member = ""

    def entries(self, listed: Iterable[Entry]) -> list[Entry]:
        return list(listed)

    def find(self, wanted: Wanted, entries: Iterable[Entry]) -> Entry | None:
        name = wanted.document.name
        return next((each for each in entries if each.get("name") == name), None)

    def write(self, wanted: Wanted) -> ServiceCall:
        path = path_of(self.segment, wanted.project, wanted.document.name)
        return ServiceCall("PUT", path, body=body_of(wanted))

    def deletion(self, project: str, entry: Entry) -> ServiceCall:
        return ServiceCall("DELETE", path_of(self.segment, project, self.key(entry)))

    def key(self, entry: Entry) -> str:
        return str(entry.get("name"))

    def key_of(self, wanted: Wanted) -> str | None:
        return wanted.document.name


class Agents(_Named):
    """Agents. Without `issuer` only the service knows the default, so it compares."""

    segment = member = "agents"

    def is_certain(self, wanted: Wanted) -> bool:
        """Whether the document names the issuer."""
        return _agent(wanted).issuer is not None

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """Subject, issuer if it is given, roles and end."""
        agent = _agent(wanted)
        return {
            "subject": agent.subject or agent.name,
            **({} if agent.issuer is None else {"issuer": agent.issuer}),
            "roles": sorted(set(agent.roles)),
            "expires_at": time_of(agent.expires_at),
        }

    def shown(self, entry: Entry) -> dict[str, Any]:
        """The same of an entry."""
        return {
            "subject": entry.get("subject"),
            "issuer": entry.get("issuer"),
            "roles": sorted(entry.get("roles") or []),
            "expires_at": time_of(entry.get("expires_at")),
        }

    def document(self, entry: Entry) -> dict[str, Any]:
        """The agent as a document."""
        defaults = {"subject": entry.get("name"), "roles": [EDITOR]}
        return {"name": self.key(entry), **given(self.shown(entry), defaults)}


class Credentials(_Named):
    """Credentials. The service compares their secrets, which no list shows."""

    segment = member = "credentials"

    def is_certain(self, wanted: Wanted) -> bool:
        """False: the secret is not shown."""
        return False

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """Provider, URL, e-mail address, and readers if they are given."""
        document = wanted.document
        assert isinstance(document, CredentialDocument)  # noqa: S101 - by `kind`
        readers = document.readers
        return {
            "provider": document.provider,
            "url": document.url,
            "email": document.email,
            **({} if readers is None else {"readers": [_reader(each) for each in readers]}),
        }

    def shown(self, entry: Entry) -> dict[str, Any]:
        """The same of an entry."""
        readers = entry.get("readers")
        return {
            "provider": entry.get("provider"),
            "url": entry.get("url"),
            "email": entry.get("email"),
            "readers": None
            if readers is None
            else [given(each, {"run_labels": {}}) for each in readers],
        }

    def document(self, entry: Entry) -> dict[str, Any]:
        """The credential as a document."""
        return {"name": self.key(entry), **given(self.shown(entry), {})}


class Runners(_Named):
    """Runners. An unchanged one is not written again, because that reports a restart."""

    segment = member = "runners"

    def is_certain(self, wanted: Wanted) -> bool:
        """True: all members are shown."""
        return True

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """All members."""
        return wanted.document.model_dump(include=_RUNNER)

    def shown(self, entry: Entry) -> dict[str, Any]:
        """The same of an entry."""
        return {name: entry.get(name) for name in RunnerDocument.model_fields if name in _RUNNER}

    def document(self, entry: Entry) -> dict[str, Any]:
        """The runner as a document."""
        return {"name": self.key(entry), **given(self.shown(entry), {"isolated": False})}


_RUNNER = set(RunnerDocument.model_fields) - {"kind", "name", "project"}


def _agent(wanted: Wanted) -> AgentDocument:
    assert isinstance(wanted.document, AgentDocument)  # noqa: S101 - by `kind`
    return wanted.document


def _reader(reader: ReaderMember) -> dict[str, Any]:
    return given(reader.model_dump(), {"run_labels": {}})
