"""The bodies and queries of runs; docs/openapi.json is generated from them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

<<<<<<< HEAD
from byline.names import Name, RunId
from serve_runs.web.paging import PageQuery
from serve_runs.web.requests import END, PRINTABLE

=======
from byline.identity.identity import header_values
from byline.names import RUN_ID, Name, RunId
from serve_runs.web.problems import Problem, not_found
from serve_runs.web.requests import END, PRINTABLE, read_body

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

>>>>>>> h-identity
Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=PRINTABLE)]
LabelName = Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9._/-]+" + END)]
LabelValue = Annotated[str, Meta(max_length=256, pattern=PRINTABLE)]
Status = Literal["pending", "running", "succeeded", "failed", "cancelled"]


class CreateRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run to create. The creator is never in the body: it follows from the credential."""

    name: Text | None = None
    agent: Text | None = None
    runner: Name | None = None
    parent_run: RunId | None = None
    labels: Annotated[dict[LabelName, LabelValue], Meta(max_length=32)] = {}


class ListRuns(PageQuery, frozen=True, forbid_unknown_fields=True):
    """The filters of a listing, and how much of it; from the query."""

    status: Status | None = None
    created_by: Annotated[str, Meta(min_length=1, max_length=255, pattern=PRINTABLE)] | None = None
<<<<<<< HEAD
=======
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=512)] | None = None


def run_id(text: str) -> str:
    """A run's id from the path. What cannot be one does not exist: `Problem` 404."""
    if not RUN_ID.fullmatch(text):
        raise not_found()
    return text


def create_run(event: Mapping[str, Any]) -> CreateRun:
    """The body of a create, which may be empty. Raises `Problem` 400, 413, 415."""
    return read_body(event, CreateRun) if event.get("body") else CreateRun()


def idempotency_key(event: Mapping[str, Any]) -> str | None:
    """The header `Idempotency-Key`, None where it is not sent. Raises `Problem` 400."""
    values = header_values(event, "idempotency-key")
    if not values:
        return None
    if len(values) > 1 or not _IDEMPOTENCY_KEY.fullmatch(values[0]):
        raise Problem(
            400, "invalid_idempotency_key", "Send one key of 1 to 255 visible ASCII characters."
        )
    return values[0]
>>>>>>> h-identity
