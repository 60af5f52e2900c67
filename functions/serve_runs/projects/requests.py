"""The bodies and queries of projects; docs/openapi.json is generated from them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from byline.names import Name


class CreateProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project to create. Its creator becomes its admin."""

    name: Name


class DeleteProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a deletion: how to treat live runs."""

    live_runs: Annotated[
        Literal["refuse", "cancel"],
        Meta(description="Refuse while runs are pending or running, or cancel them."),
    ] = "refuse"
