"""The queries of the audit trail and of token reads; docs/openapi.json is generated from them."""

from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from byline.identity.caller import MAX_PRINCIPAL_BYTES
from byline.names import Name, RunId
from serve_runs.audit.trail import Action, ResourceType
from serve_runs.web.paging import PageQuery
from serve_runs.web.requests import PRINTABLE, PersonText, ServiceAccountId, SubjectText, Time

RESOURCES: tuple[ResourceType, ...] = tuple(
    kind for kind in get_args(ResourceType) if kind != "project"
)
"""The parameters for the resource of a listing, by the types of resources. The project has none: it
is in the path."""

SUBJECTS = (*RESOURCES, "person")
"""The parameters for the subject of a listing."""

BindingText = Annotated[
    str, Meta(min_length=1, max_length=MAX_PRINCIPAL_BYTES + 65, pattern=PRINTABLE)
]
"""A role, a space, and a principal."""


class ListAudit(PageQuery, frozen=True, forbid_unknown_fields=True):
    """The subject of a listing, at most one parameter, and its page; from the query.

    Without a subject it is the project.
    """

    run: Annotated[RunId | None, Meta(description="Records about this run.")] = None
    runner: Annotated[Name | None, Meta(description="Records about this runner.")] = None
    credential: Annotated[Name | None, Meta(description="Records about this credential.")] = None
    service_account: Annotated[
        ServiceAccountId | None, Meta(description="Records about this service account, by its id.")
    ] = None
    agent: Annotated[
        Name | None, Meta(description="Records about the permission of this agent.")
    ] = None
    role_binding: Annotated[
        BindingText | None,
        Meta(
            description="Records about a role of a principal: both, with a space between them, as "
            "`resource.id` of a record has them."
        ),
    ] = None
    apply_set: Annotated[
        Name | None, Meta(description="Records about this list of what applies made.")
    ] = None
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
    action: Annotated[Action | None, Meta(description="Only records of this action.")] = None
    resource: Annotated[
        ResourceType | None, Meta(description="Only records about resources of this type.")
    ] = None
    since: Annotated[
        Time | None, Meta(description="Only records of this time and later (RFC 3339).")
    ] = None
    until: Annotated[Time | None, Meta(description="Only records before this time (RFC 3339).")] = (
        None
    )

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not None for name in SUBJECTS) > 1:
            names = ", ".join(f"`{name}`" for name in SUBJECTS)
            raise ValueError(f"Give one of {names}, or none.")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("`since` must be before `until`.")


class ReadToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The purpose of reading a token, from the query."""

    run: Annotated[
        RunId | None,
        Meta(description="The running run that needs the token. The caller must execute it."),
    ] = None
