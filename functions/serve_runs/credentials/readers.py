"""The readers that a credential is bound to: in requests, in its row, and as policies see them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from byline.identity.caller import MAX_PRINCIPAL_BYTES, Principal
from byline.identity.typed_text import fault_of_typed
from byline.names import Name
from byline.tables.rows import Item
from serve_runs.access.decisions import BoundReaders, role_names
from serve_runs.errors import RequestFailed
from serve_runs.role_bindings.requests import IssuerText, RoleName, SubjectText
from serve_runs.runs.requests import LabelName, LabelValue
from serve_runs.web.requests import read_body

READER = (
    "Each of `readers` is a role of the project (`role`), the name of a runner (`runner`), or an"
    " application (`issuer` and `subject`), optionally with `run_labels`. At most 20 readers."
)


class Reader(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """A reader of a credential: a role of the project, a runner, or an application.

    `run_labels`: it reads the credential only for a run that has all these labels.
    """

    role: RoleName | None = None
    runner: Name | None = None
    issuer: IssuerText | None = None
    subject: SubjectText | None = None
    run_labels: Annotated[dict[LabelName, LabelValue], Meta(max_length=8)] = {}

    def __post_init__(self) -> None:
        kinds = (self.role, self.runner, self.subject)
        if sum(kind is not None for kind in kinds) != 1 or (self.issuer is None) != (
            self.subject is None
        ):
            raise ValueError(READER)
        principal = self.principal
        if principal is not None and (
            fault_of_typed(principal.subject)
            or fault_of_typed(principal.issuer)
            or len(principal.text.encode()) > MAX_PRINCIPAL_BYTES
        ):
            raise ValueError(READER)

    @property
    def principal(self) -> Principal | None:
        """The application that is the reader; None for a role and a runner."""
        if self.issuer is None or self.subject is None:
            return None
        return Principal("application", self.issuer, self.subject)


type Readers = tuple[Reader, ...]
type ChangedReaders = Callable[[Readers | None], Readers | None]
"""The readers in place of the present ones; None for a credential that is not bound, and stays so.
"""

BoundTo = Annotated[tuple[Reader, ...], Meta(max_length=20)]


class BindCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The readers to bind a credential to, in place of all others. Without any, nobody reads it."""

    readers: BoundTo


def require_known_roles(readers: Readers) -> None:
    """Raise `RequestFailed` (`invalid_body`) unless each role among `readers` can be granted."""
    if not role_names().issuperset(reader.role for reader in readers if reader.role is not None):
        roles = ", ".join(sorted(role_names()))
        raise RequestFailed("invalid_body", f"Unknown `role` of a reader. Roles: {roles}.")


def bind_credential(event: Mapping[str, Any]) -> Readers:
    """The readers of a request's body. Raises `RequestFailed`; no detail quotes the body."""
    try:
        readers = read_body(event, BindCredential).readers
    except RequestFailed as failure:
        if failure.reason != "invalid_body":
            raise
        detail = READER
    else:
        require_known_roles(readers)
        return readers
    raise RequestFailed("invalid_body", detail)


def stored(readers: Readers) -> str:
    """The readers as a row has them, JSON. Equal readers have equal texts."""
    return msgspec.json.encode(readers, order="deterministic").decode()


def read_stored(text: str | None) -> Readers | None:
    """The readers of a row's text; None for a credential that is not bound."""
    if text is None:
        return None
    return msgspec.json.decode(text, type=tuple[Reader, ...])


def without_labels(readers: Readers) -> Readers:
    """The readers that need no run."""
    return tuple(reader for reader in readers if not reader.run_labels)


def for_run(readers: Readers, run: Item) -> Readers:
    """The readers whose labels a run has."""
    found = run.get("labels", {}).get("M", {})
    labels = {name: value.get("S") for name, value in found.items()}
    return tuple(reader for reader in readers if reader.run_labels.items() <= labels.items())


def as_facts(
    readers: Readers, *, runners: Mapping[str, Principal], applications_count: bool
) -> BoundReaders:
    """The readers as the policies see them.

    `runners`: the service accounts of the runners by name. `applications_count`: False for a caller
    whose person may not start runs, so that an agent reads nothing for a person without rights.
    """
    return BoundReaders(
        roles=_unique(reader.role for reader in readers),
        applications=_unique(reader.principal for reader in readers) if applications_count else (),
        runners=_unique(runners.get(reader.runner or "") for reader in readers),
    )


def _unique[Kind](values: Iterable[Kind | None]) -> tuple[Kind, ...]:
    return tuple({value: None for value in values if value is not None})
