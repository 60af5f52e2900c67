"""The bodies and queries of runs; docs/openapi.json is generated from them."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from byline.names import Name, RunId
from serve_runs.web.paging import PageQuery
from serve_runs.web.requests import END, PRINTABLE, PersonText, SubjectText, Time

Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=PRINTABLE)]
LabelName = Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9._/-]+" + END)]
LabelValue = Annotated[str, Meta(max_length=256, pattern=PRINTABLE)]
LabelText = Annotated[
    str, Meta(max_length=320, pattern=r"^[A-Za-z0-9._/-]{1,63}=[^\x00-\x1f\x7f]{0,256}" + END)
]
Status = Literal["pending", "running", "lost", "succeeded", "failed", "cancelled"]


class CreateRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run to create. The creator is never in the body: it follows from the credential.

    `heartbeat_seconds`: how long a running run may be silent until it is lost.
    """

    name: Text | None = None
    agent: Text | None = None
    runner: Name | None = None
    parent_run: RunId | None = None
    labels: Annotated[dict[LabelName, LabelValue], Meta(max_length=32)] = {}
    # Absent from the digest of a body without it, which an `Idempotency-Key` is compared by.
    # JSON has one kind of number, so 30.0 is a whole number too (RFC 8259, section 6).
    heartbeat_seconds: Annotated[float, Meta(ge=10, le=3_600, multiple_of=1)] | UnsetType = UNSET


class EndRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a run ended. The run and the audit record of the change keep it.

    `reason`: why, for people. `exit_code`: that of the run's process.
    """

    reason: Annotated[str, Meta(min_length=1, max_length=1_000, pattern=PRINTABLE)] | None = None
    exit_code: Annotated[float, Meta(ge=0, le=255, multiple_of=1)] | None = None


class ListRuns(PageQuery, frozen=True, forbid_unknown_fields=True):
    """The filters and the page of a listing, from the query."""

    status: Status | None = None
    created_by: SubjectText | None = None
    person: Annotated[
        PersonText | None,
        Meta(
            description="The runs of a person, by whomever they were created: its own, those of "
            "applications on its behalf, and their children. `me`, a subject of the issuer that "
            "browsers sign in with, an e-mail address, or the `principal` of an audit record. Not "
            "with `created_by`."
        ),
    ] = None
    through: Annotated[
        SubjectText | None,
        Meta(description="The client with whose token the run was created (`through` in `who`)."),
    ] = None
    started_by: Annotated[
        PersonText | None,
        Meta(
            description="Only runs that this person or application started, in the forms of "
            "`person`. What others started on its behalf does not count."
        ),
    ] = None
    agent: Annotated[Text | None, Meta(description="Only runs of this agent.")] = None
    runner: Annotated[Name | None, Meta(description="Only runs that name this runner.")] = None
    parent_run: Annotated[RunId | None, Meta(description="Only children of this run.")] = None
    label: Annotated[
        LabelText | None, Meta(description="Only runs with this label, as `name=value`.")
    ] = None
    since: Annotated[
        Time | None, Meta(description="Only runs created at this time or later (RFC 3339).")
    ] = None
    until: Annotated[
        Time | None, Meta(description="Only runs created before this time (RFC 3339).")
    ] = None

    @property
    def is_filtered(self) -> bool:
        """Whether the query has one of the filters of `filters_of`."""
        filters = (self.started_by, self.agent, self.runner, self.parent_run, self.label)
        return any(each is not None for each in (*filters, self.since, self.until))
