"""Baseline: runs as pydantic models."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1, max_length=200)]
LabelName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9._/-]+$")]
LabelValue = Annotated[str, Field(max_length=256)]


class CreateRun(BaseModel):
    """A run to create."""

    model_config = ConfigDict(extra="forbid")

    name: Text | None = None
    agent: Text | None = None
    runner: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")] | None = None
    parent_run: str | None = None
    labels: Annotated[dict[LabelName, LabelValue], Field(max_length=32)] = {}


class Run(CreateRun):
    """A run."""

    model_config = ConfigDict(extra="ignore")

    id: str
    project: str
    status: Literal["pending", "running", "succeeded", "failed", "cancelled"]
    created_at: datetime
    updated_at: datetime
    executed_by: dict[str, Any] | None = None
    started_by: dict[str, Any] | None = None
    finished_by: dict[str, Any] | None = None
    cancelled_by: dict[str, Any] | None = None
    creator_user_id: str | None = None
    creator_service_account_id: str | None = None


class RunPage(BaseModel):
    """A page of a listing."""

    runs: list[Run]
