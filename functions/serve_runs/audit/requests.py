"""What a request about the audit trail may say, checked on the way in.

The shapes here are the API's: `docs/openapi.json` is generated from them.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from byline.identity.caller import MAX_PRINCIPAL_BYTES
from byline.names import Name, RunId
from serve_runs.web.requests import PRINTABLE

SUBJECTS = ("run", "runner", "credential", "person")
"""What a listing may be about."""

Principal = Annotated[str, Meta(min_length=1, max_length=MAX_PRINCIPAL_BYTES, pattern=PRINTABLE)]


class ListAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a listing is about, one of the first four, and how much of it; from the query."""

    run: Annotated[RunId | None, Meta(description="What was done to this run.")] = None
    runner: Annotated[Name | None, Meta(description="What was done to this runner.")] = None
    credential: Annotated[Name | None, Meta(description="What was done to this credential.")] = None
    person: Annotated[
        Principal | None,
        Meta(
            description="What was done by them or on their behalf: `me`, a subject of the issuer "
            "that browsers sign in with, an e-mail, or a `principal` of a record."
        ),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=512)] | None = None

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not None for name in SUBJECTS) != 1:
            raise ValueError("Say of whom or what: one of `run`, `runner`, `credential`, `person`.")


class ReadToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of a token that is read, from the query."""

    run: Annotated[
        RunId | None, Meta(description="For which run it is read, as the caller says; recorded.")
    ] = None
