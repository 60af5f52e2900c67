"""The shapes of answers, for the OpenAPI document. Tests hold the real answers to them.

Those of requests are `run_requests`' and `runner_requests`' own: the function checks with them.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from byline.identity.caller import ExecutedBy, Source
from byline.names import Name, RunId
from serve_runs.audit.trail import Action, ResourceType
from serve_runs.credentials.requests import Provider
from serve_runs.messages.requests import MessageRole
from serve_runs.runners.views import RunnerStatus
from serve_runs.runs.requests import Status
from serve_runs.service_accounts.requests import ServiceAccountId
from serve_runs.web.reasons import REASONS

Time = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, with milliseconds.", extra_json_schema={"format": "date-time"}
    ),
]
Reason = Annotated[
    str,
    Meta(
        description="From a closed list; clients may match on it. Meanings: docs/reasons.md.",
        extra_json_schema={"enum": list(REASONS)},
    ),
]
Identity = Annotated[ExecutedBy | None, Meta(description="Null where nobody is known.")]


class Health(msgspec.Struct, forbid_unknown_fields=True):
    """The function answers."""

    status: Literal["ok"]


class Caller(msgspec.Struct, forbid_unknown_fields=True):
    """Who sent the request, after verification."""

    executed_by: ExecutedBy
    kind: Literal["user", "application"]
    source: Source
    on_behalf_of: Identity


class Run(msgspec.Struct, forbid_unknown_fields=True):
    """One execution in a project, and who did what to it."""

    id: RunId
    project: Name
    name: str | None
    status: Status
    created_at: Time
    updated_at: Time
    executed_by: Identity
    on_behalf_of: Identity
    creator_user_id: Annotated[
        str | None, Meta(description="The subject of the person who created it.")
    ]
    creator_service_account_id: Annotated[
        str | None,
        Meta(description="The subject of the service account that created it; never both."),
    ]
    started_by: Identity
    finished_by: Annotated[
        ExecutedBy | None, Meta(description="Who finished or failed it; null before that.")
    ]
    cancelled_by: Identity
    agent: str | None
    runner: str | None
    parent_run: str | None
    labels: dict[str, str]


class RunList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of runs, newest first. It may have fewer than `limit` and still not be the last."""

    runs: list[Run]
    next_cursor: Annotated[
        str | None, Meta(description="For the next page of the same query; null on the last one.")
    ]


class LastError(msgspec.Struct, forbid_unknown_fields=True):
    """Why the last refresh of a runner's token failed."""

    error_class: Annotated[
        str, Meta(description="As the issuer named it (RFC 6749, section 5.2), or as we do.")
    ] = msgspec.field(name="class")
    at: Time


class Runner(msgspec.Struct, forbid_unknown_fields=True):
    """What executes runs, and how its token is doing; never the token."""

    name: Name
    project: Name
    client: Name
    audience: str | None
    resource: str | None
    scope: str | None
    subject: str | None
    status: Annotated[
        RunnerStatus,
        Meta(description="`failing`: the last refresh did; a token may be there all the same."),
    ]
    issued_at: Time | None
    expires_at: Time | None
    refreshed_at: Time | None
    secret_arn: Annotated[
        str | None,
        Meta(
            description="The secret with the newest token; a partial ARN, without the six random "
            "characters that Secrets Manager appends. Null before the first one."
        ),
    ]
    last_error: Annotated[
        LastError | None, Meta(description="Null where the last refresh succeeded.")
    ]
    created_at: Time
    updated_at: Time
    registered_by: Identity


class RunnerList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of runners, by name."""

    runners: list[Runner]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class RunnerToken(msgspec.Struct, forbid_unknown_fields=True):
    """A runner's newest token. Go by `expires_at`, and keep it no longer."""

    token: str
    token_type: Literal["Bearer"]
    issued_at: Time
    expires_at: Time


class RoleBindingOf(msgspec.Struct, forbid_unknown_fields=True):
    """Roles of somebody in a project; issuer and subject are null for nobody."""

    kind: Literal["user", "application", "anonymous"]
    issuer: str | None
    subject: str | None
    roles: list[str]


class RoleBindingList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of role bindings, by kind, issuer and subject."""

    role_bindings: list[RoleBindingOf]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class AuditedResource(msgspec.Struct, forbid_unknown_fields=True):
    """What something was done to."""

    type: ResourceType
    id: Annotated[str, Meta(description="A run's id, a name, or a role and whose it is.")]


class AuditRecord(msgspec.Struct, forbid_unknown_fields=True):
    """That something was done. It never changes."""

    id: RunId
    at: Time
    action: Action
    project: Name
    resource: AuditedResource
    principal: Annotated[str, Meta(description="The actor by kind, issuer and subject.")]
    actor: Identity
    on_behalf_of: Annotated[
        ExecutedBy | None, Meta(description="The person that the actor acts for.")
    ]
    request_id: Annotated[str, Meta(description="To be found in the logs.")]
    run: Annotated[
        RunId | None, Meta(description="For which run a token was read, as its reader said.")
    ]


class AuditRecordList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of records, newest first. It may have fewer than `limit` and still not be the last."""

    records: list[AuditRecord]
    next_cursor: Annotated[
        str | None, Meta(description="For the next page of the same query; null on the last one.")
    ]


class Credential(msgspec.Struct, forbid_unknown_fields=True):
    """A secret of another service that runs may use; never its token."""

    name: Name
    project: Name
    provider: Provider
    url: str | None
    email: str | None
    created_at: Time
    created_by: Identity
    updated_at: Time
    updated_by: Identity


class CredentialList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of credentials, by name."""

    credentials: list[Credential]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class CredentialToken(msgspec.Struct, forbid_unknown_fields=True):
    """A credential with its token. That it was read is on record."""

    credential_id: Name
    provider: Provider
    token: str
    url: str | None
    email: str | None


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody said in a run. It never changes."""

    id: RunId
    role: MessageRole
    content: str | dict[str, Any]
    created_at: Time
    author: Identity
    on_behalf_of: Annotated[
        ExecutedBy | None, Meta(description="The person that the author acts for.")
    ]


class MessageList(msgspec.Struct, forbid_unknown_fields=True):
    """Messages, the oldest first."""

    messages: list[Message]
    next_after: Annotated[
        RunId | None,
        Meta(description="`after` of the next request; null where there is no message yet."),
    ]


class ServiceAccount(msgspec.Struct, forbid_unknown_fields=True):
    """An application that acts for a person, in one project; never its token."""

    id: Annotated[
        ServiceAccountId, Meta(description="Of its issuer and subject: it never changes.")
    ]
    project: Name
    name: str
    issuer: str
    subject: str
    role: Annotated[
        str, Meta(description="What it may do at most: nothing that the person may not.")
    ]
    acts_for: Annotated[
        ExecutedBy | None, Meta(description="The person, as they were when they registered it.")
    ]
    created_at: Time
    updated_at: Time


class ServiceAccountList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of service accounts, by id."""

    service_accounts: list[ServiceAccount]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class Problem(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """RFC 9457."""

    type: Literal["about:blank"]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="For people. It may change.")]
    instance: Annotated[str, Meta(description="The request's id, to be found in the logs.")]
    reason: Reason
    current_status: Annotated[
        Status | msgspec.UnsetType, Meta(description="With `wrong_state`: the run's state.")
    ] = msgspec.UNSET


ANSWERS: tuple[Any, ...] = (
    Health,
    Caller,
    Run,
    RunList,
    Runner,
    RunnerList,
    RunnerToken,
    RoleBindingOf,
    RoleBindingList,
    AuditRecord,
    AuditRecordList,
    Credential,
    CredentialList,
    CredentialToken,
    Message,
    MessageList,
    ServiceAccount,
    ServiceAccountList,
    Problem,
)
