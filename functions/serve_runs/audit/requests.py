"""The queries of the audit trail and of token reads; docs/openapi.json is generated from them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from byline.names import Name, RunId
from serve_runs.web.paging import PageQuery
from serve_runs.web.requests import PersonText, SubjectText

RESOURCES: tuple[Literal["run", "runner", "credential"], ...] = ("run", "runner", "credential")
"""The parameters for the resource of a listing, by the types of resources."""

SUBJECTS = (*RESOURCES, "person")
"""The parameters for the subject of a listing."""


class ListAudit(PageQuery, frozen=True, forbid_unknown_fields=True):
    """The subject of a listing, exactly one of four parameters, and its page; from the query."""

    run: Annotated[RunId | None, Meta(description="Records about this run.")] = None
    runner: Annotated[Name | None, Meta(description="Records about this runner.")] = None
    credential: Annotated[Name | None, Meta(description="Records about this credential.")] = None
    person: Annotated[
        PersonText | None,
        Meta(
            description="Records of actions by a principal or on its behalf: `me`, a subject of "
            "the issuer that browsers sign in with, an e-mail address, or a record's `principal`."
        ),
    ] = None
    through: Annotated[
        SubjectText | None,
        Meta(description="Only records of actors who used this client (`through` in `who`)."),
    ] = None

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not None for name in SUBJECTS) != 1:
            raise ValueError("Give exactly one of `run`, `runner`, `credential`, `person`.")


class ReadToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The purpose of reading a token, from the query."""

    run: Annotated[
        RunId | None,
        Meta(description="The running run that needs the token. The caller must execute it."),
    ] = None
