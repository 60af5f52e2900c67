"""The bodies and queries of projects; docs/openapi.json is generated from them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from byline.names import Name


class CreateProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project to create. Its creator becomes its admin."""

    name: Name


class DeleteProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do with live runs, from the query."""

    live_runs: Annotated[
        Literal["refuse", "cancel"],
        Meta(description="Refuse while runs are pending or running, or cancel them."),
    ] = "refuse"
