"""The shapes of answers for the OpenAPI document. Tests compare the real answers with them.

The shapes of requests are in `serve_runs`, in the module `requests` of each subject.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from byline.identity.caller import ExecutedBy, Source
from byline.names import Name, RunId
from serve_runs.apply_sets.requests import SetMember
from serve_runs.audit.trail import Action, ResourceType
from serve_runs.credentials.readers import Reader
from serve_runs.credentials.requests import Provider
from serve_runs.messages.requests import MessageRole
from serve_runs.role_bindings.views import WARNING_CODES
from serve_runs.runners.views import TokenStatus
from serve_runs.runners.warnings import CODES
from serve_runs.runs.requests import Status
from serve_runs.web.reasons import REASONS
from serve_runs.web.requests import ServiceAccountId

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
Ends = Annotated[Time | None, Meta(description="When it ends by itself; null for never.")]
Identity = Annotated[
    ExecutedBy | None, Meta(description="Null if there is no verified person or application.")
]


ActedFor = Annotated[
    ExecutedBy | None,
    Meta(
        description="The person that this actor acted for; null if it acted for itself, and in "
        "changes by a version without it."
    ),
]


class Health(msgspec.Struct, forbid_unknown_fields=True):
    """The function answers."""

    status: Literal["ok"]


class AcceptedIssuer(msgspec.Struct, forbid_unknown_fields=True):
    """An issuer whose tokens are accepted, and how to ask it for one."""

    issuer: str
    profile: Annotated[str, Meta(description="That of `TrustedIssuers`, see docs/issuers.md.")]
    audience: Annotated[str, Meta(description="The audience to ask for.")]
    cli_client_id: Annotated[
        str | msgspec.UnsetType, Meta(description="The public client of the command `byline`.")
    ] = msgspec.UNSET
    cli_scope: Annotated[
        str | msgspec.UnsetType, Meta(description="The scopes that this client asks for.")
    ] = msgspec.UNSET


class ResourceMetadata(msgspec.Struct, forbid_unknown_fields=True):
    """The metadata of a protected resource (RFC 9728, section 2)."""

    resource: Annotated[str, Meta(description="The address of the service, `PublicUrl`.")]
    authorization_servers: list[str]
    bearer_methods_supported: list[Literal["header"]]
    resource_name: str
    byline_issuers: list[AcceptedIssuer]


class SignedOut(msgspec.Struct, forbid_unknown_fields=True):
    """The browser has no session at the load balancer any more."""

    status: Literal["signed_out"]


class Shown(msgspec.Struct, forbid_unknown_fields=True):
    """A person or an application, readable. Kind, issuer and subject identify it."""

    kind: Literal["user", "application"]
    issuer: Annotated[str | None, Meta(description="Null in rows of a version without it.")]
    subject: str
    name: Annotated[str, Meta(description="For people to read. Two may have the same name.")]
    email: str | None
    through: Annotated[
        str | None, Meta(description="The client whose token it was; null by browser.")
    ]
    link: Annotated[str | None, Meta(description="A page about the workload's job.")]
    started_for: Annotated[
        str | None,
        Meta(description="Who set the job off, as its issuer claims. It gives no right."),
    ]


class CallerShown(msgspec.Struct, forbid_unknown_fields=True):
    """Who `executed_by` and `on_behalf_of` are."""

    executed_by: Shown
    on_behalf_of: Shown | None


class RunShown(msgspec.Struct, forbid_unknown_fields=True):
    """Who the people and applications of a run are."""

    executed_by: Shown | None
    on_behalf_of: Shown | None
    started_by: Shown | None
    started_on_behalf_of: Shown | None
    finished_by: Shown | None
    finished_on_behalf_of: Shown | None
    cancelled_by: Shown | None
    cancelled_on_behalf_of: Shown | None


class RecordShown(msgspec.Struct, forbid_unknown_fields=True):
    """Who `actor` and `on_behalf_of` are."""

    actor: Shown | None
    on_behalf_of: Shown | None


class MessageShown(msgspec.Struct, forbid_unknown_fields=True):
    """Who `author` and `on_behalf_of` are."""

    author: Shown | None
    on_behalf_of: Shown | None


class RunnerShown(msgspec.Struct, forbid_unknown_fields=True):
    """Who `registered_by` is."""

    registered_by: Shown | None


class CredentialShown(msgspec.Struct, forbid_unknown_fields=True):
    """Who `created_by` and `updated_by` are."""

    created_by: Shown | None
    updated_by: Shown | None


class AccountShown(msgspec.Struct, forbid_unknown_fields=True):
    """Who `acts_for` is."""

    acts_for: Shown | None


class Agent(msgspec.Struct, forbid_unknown_fields=True):
    """An agent that a delegated token names."""

    issuer: str
    subject: str


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    """A person that the calling service account acts for in one project."""

    project: Name
    id: ServiceAccountId
    role: str
    expires_at: Ends
    acts_for: Identity
    who: AccountShown


class Caller(msgspec.Struct, forbid_unknown_fields=True):
    """The verified caller of the request."""

    executed_by: ExecutedBy
    kind: Literal["user", "application"]
    source: Source
    on_behalf_of: Annotated[
        ExecutedBy | None,
        Meta(
            description="The person that its token names, else the one of all its registrations; "
            "null where these name several."
        ),
    ]
    who: CallerShown
    registrations: Annotated[
        list[Registration],
        Meta(description="A service account's own registrations. Empty for all other callers."),
    ]
    next_cursor: Annotated[
        str | None, Meta(description="For more registrations; null where these are all.")
    ]


class Run(msgspec.Struct, forbid_unknown_fields=True):
    """An execution in a project, and who created, started and ended it."""

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
    started_on_behalf_of: ActedFor
    finished_by: Annotated[
        ExecutedBy | None, Meta(description="Who finished or failed it; null before that.")
    ]
    finished_on_behalf_of: ActedFor
    cancelled_by: Identity
    cancelled_on_behalf_of: ActedFor
    who: RunShown
    agent: str | None
    runner: str | None
    parent_run: str | None
    heartbeat_seconds: Annotated[
        int | None,
        Meta(description="How long it may be silent while it runs. Null: it sends no heartbeats."),
    ]
    heartbeat_at: Annotated[
        str | None, Meta(description="Its last heartbeat, or its start before the first one.")
    ]
    lost_at: Annotated[
        str | None, Meta(description="When its heartbeats were found to have stopped, last.")
    ]
    reason: Annotated[
        str | None, Meta(description="Why it ended, as whoever finished or failed it said.")
    ]
    exit_code: Annotated[int | None, Meta(description="The exit code of its process, likewise.")]
    labels: dict[str, str]


MorePeople = Annotated[
    bool,
    Meta(
        description="Whether more people have the e-mail address than were searched. Those whose "
        "issuer has verified the address are searched first."
    ),
]


class RunList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of runs, newest first. A page that is not the last may have fewer than `limit`."""

    runs: list[Run]
    next_cursor: Annotated[
        str | None, Meta(description="For the next page of the same query; null on the last one.")
    ]
    more_people: MorePeople


class LastError(msgspec.Struct, forbid_unknown_fields=True):
    """Why the last refresh of a token failed, and what to do about it."""

    error_class: Annotated[
        str, Meta(description="The issuer's error code (RFC 6749, section 5.2), or Byline's own.")
    ] = msgspec.field(name="class")
    detail: Annotated[str, Meta(description="What happened, as a sentence; may be empty.")]
    hint: Annotated[str, Meta(description="What to do, by the class: docs/runners.md.")]
    since: Annotated[Time, Meta(description="The first failure since the last success.")]
    next_try_at: Time | None


TokenState = Annotated[
    TokenStatus,
    Meta(description="`failing`: the last refresh failed. There may still be a valid token."),
]
SecretArn = Annotated[
    str | None,
    Meta(
        description="The secret with the newest token; a partial ARN, without the six random "
        "characters that Secrets Manager appends. Null before the first one."
    ),
]
SecretArns = Annotated[
    list[str],
    Meta(
        description="The secrets that tokens are written to in turn. Empty before the first token. "
        "With more than one, read the one in `secret_arn`."
    ),
]
LastErrorOrNull = Annotated[
    LastError | None, Meta(description="Null where the last refresh succeeded.")
]


class Runner(msgspec.Struct, forbid_unknown_fields=True):
    """A service that executes runs, with the state of its token, without the token."""

    name: Name
    project: Name
    client: Name
    audience: str | None
    resource: str | None
    scope: str | None
    subject: str | None
    isolated: Annotated[bool, Meta(description="Whether the token is the runner's alone.")]
    token: Annotated[str, Meta(description="The id of the token that the runner points to.")]
    status: TokenState
    issued_at: Time | None
    expires_at: Time | None
    refreshed_at: Time | None
    secret_arn: SecretArn
    secret_arns: SecretArns
    last_error: LastErrorOrNull
    created_at: Time
    updated_at: Time
    registered_by: Identity
    who: RunnerShown


class RegistrationWarning(msgspec.Struct, forbid_unknown_fields=True):
    """Why a registered runner will get no token, or what its readers have to know."""

    code: Annotated[
        str,
        Meta(
            description="The class of an error (docs/runners.md), or `several_secrets`.",
            extra_json_schema={"enum": list(CODES)},
        ),
    ]
    detail: Annotated[str, Meta(description="What is wrong, and what to do.")]


class RegisteredRunner(Runner, forbid_unknown_fields=True):
    """A runner in the answer to its registration, with warnings."""

    warnings: list[RegistrationWarning]


class Token(msgspec.Struct, forbid_unknown_fields=True):
    """What one client gets for one audience, resource and scope, with its state, without its text.

    The runners of a project that ask for the same point to one token."""

    id: str
    project: Name
    client: Name
    audience: str | None
    resource: str | None
    scope: str | None
    isolated_for: Annotated[Name | None, Meta(description="Its only runner; null if shared.")]
    runners: Annotated[int, Meta(description="How many runners point to it.")]
    generation: Annotated[int, Meta(description="How often it was minted.")]
    status: TokenState
    issued_at: Time | None
    expires_at: Time | None
    refreshed_at: Time | None
    secret_arn: SecretArn
    secret_arns: SecretArns
    last_error: LastErrorOrNull
    created_at: Time


class TokenList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of tokens, by client."""

    tokens: list[Token]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class RunnerList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of runners, by name."""

    runners: list[Runner]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class RunnerToken(msgspec.Struct, forbid_unknown_fields=True):
    """A runner's newest token. Do not keep it longer than `expires_at`."""

    token: str
    token_type: Literal["Bearer"]
    issued_at: Time
    expires_at: Time


class PrincipalShown(msgspec.Struct, forbid_unknown_fields=True):
    """A principal with its latest names. For `anonymous`, only the kind is not null."""

    kind: Literal["user", "application", "anonymous"]
    issuer: str | None
    subject: str | None
    name: Annotated[str | None, Meta(description="Its latest name; the subject without one.")]
    email: Annotated[str | None, Meta(description="Its latest e-mail address.")]
    seen: Annotated[
        bool | None,
        Meta(description="Whether it has called with a credential that was verified."),
    ]


class RoleBindingOf(PrincipalShown, forbid_unknown_fields=True):
    """The roles of a principal in a project."""

    roles: list[str]


class PermittingBinding(msgspec.Struct, forbid_unknown_fields=True):
    """A role of a principal, its origin, and the actions that it permits."""

    by: Annotated[
        Literal["project_admins", "registration", "agent", "project_claim", "role_binding"],
        Meta(
            description="`ProjectAdmins`, the registration of a service account, the permission of "
            "an agent, the first run of the project, or a role binding."
        ),
    ]
    role: str
    permits: list[str]


class RepresentedAccess(PrincipalShown, forbid_unknown_fields=True):
    """The person that an application acts for. An action must be permitted to both."""

    bindings: list[PermittingBinding]


class PrincipalAccess(PrincipalShown, forbid_unknown_fields=True):
    """What a principal may do in a project."""

    bindings: list[PermittingBinding]
    acts_for: RepresentedAccess | None
    permissions: Annotated[
        list[str],
        Meta(
            description="The actions that are permitted, without those that depend on a resource, "
            "such as a runner's on its own token."
        ),
    ]


class Role(msgspec.Struct, forbid_unknown_fields=True):
    """A role that can be granted."""

    role: str
    description: str
    permits: Annotated[
        list[str],
        Meta(
            description="The actions that it permits, by the names of audit records and of "
            "`permission` in a 403."
        ),
    ]


class RoleList(msgspec.Struct, forbid_unknown_fields=True):
    """The roles that can be granted, the same in every project."""

    roles: list[Role]


class BindingWarning(msgspec.Struct, forbid_unknown_fields=True):
    """Why a role has no effect yet."""

    code: Annotated[str, Meta(extra_json_schema={"enum": list(WARNING_CODES)})]
    detail: Annotated[str, Meta(description="What is wrong, and what to do.")]


class GrantedRole(RoleBindingOf, forbid_unknown_fields=True):
    """A principal and the role that it was granted, with warnings."""

    warnings: list[BindingWarning]


class EmailOwner(msgspec.Struct, forbid_unknown_fields=True):
    """A person who states an e-mail address."""

    principal: Annotated[str, Meta(description="The text that names it in a request.")]
    name: str
    email: str
    email_verified: Annotated[bool, Meta(description="Whether its issuer has verified it.")]


class RoleBindingList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of role bindings, by kind, issuer and subject."""

    role_bindings: list[RoleBindingOf]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class AuditedResource(msgspec.Struct, forbid_unknown_fields=True):
    """The resource of an action."""

    type: ResourceType
    id: Annotated[str, Meta(description="A run's id, a name, or a role with its principal.")]


class GivenRights(msgspec.Struct, forbid_unknown_fields=True):
    """The rights that a change gave to a principal, or took away."""

    principal: Annotated[str, Meta(description="Who has the rights, by kind, issuer and subject.")]
    roles: list[str]
    expires_at: Time | None
    acts_for: Annotated[
        str | None, Meta(description="The person for whom a service account acts, likewise.")
    ]


class AuditRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The record of an action. It never changes."""

    id: RunId
    at: Time
    action: Action
    project: Name
    resource: AuditedResource
    principal: Annotated[
        str,
        Meta(
            description="The actor by kind, issuer and subject; `service` for what Byline does by "
            "itself (`lose_run`)."
        ),
    ]
    source: Annotated[
        Literal["alb", "bearer", "none"] | None,
        Meta(
            description="The actor's credential: the load balancer's token, a Bearer token, or "
            "none. Null in records of earlier versions."
        ),
    ]
    verified: Annotated[
        bool | None,
        Meta(
            description="Whether the deployment verified callers then: false with another "
            "`IdentityTrust` than `verify`. Null in records of earlier versions."
        ),
    ]
    actor: Identity
    on_behalf_of: Annotated[
        ExecutedBy | None, Meta(description="The person that the actor acts for.")
    ]
    who: RecordShown
    chain: Annotated[
        list[Agent],
        Meta(description="The agents before the actor in its delegated token, the latest first."),
    ]
    request_id: Annotated[str, Meta(description="The request's id in the logs.")]
    run: Annotated[
        RunId | None,
        Meta(
            description="The run that a token was read for. In records of versions that did not "
            "check it: as its reader stated."
        ),
    ]
    reason: Annotated[str | None, Meta(description="Why a run ended; null for all other actions.")]
    exit_code: Annotated[int | None, Meta(description="The exit code of a run's process.")]
    readers: Annotated[
        list[Reader] | None,
        Meta(description="The readers that a credential was bound to; null for other records."),
    ]
    rights: Annotated[
        GivenRights | None,
        Meta(
            description="The rights that the change gave or took away, for service accounts, "
            "agents and role bindings. Null for other records, and in those of earlier versions."
        ),
    ]


class AuditRecordList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of records, newest first. A page that is not the last may have fewer than `limit`."""

    records: list[AuditRecord]
    next_cursor: Annotated[
        str | None, Meta(description="For the next page of the same query; null on the last one.")
    ]
    more_people: MorePeople


class Credential(msgspec.Struct, forbid_unknown_fields=True):
    """A secret of another service that runs may use, without its token."""

    name: Name
    project: Name
    provider: Provider
    url: str | None
    email: str | None
    readers: Annotated[
        list[Reader] | None,
        Meta(
            description="Who may read the token. Null: the credential is not bound, so whoever has "
            "the role `credential:token-reader`."
        ),
    ]
    created_at: Time
    created_by: Identity
    updated_at: Time
    updated_by: Identity
    who: CredentialShown


class CredentialList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of credentials, by name."""

    credentials: list[Credential]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class CredentialToken(msgspec.Struct, forbid_unknown_fields=True):
    """A credential with its token. Each read has an audit record."""

    credential_id: Name
    provider: Provider
    token: str
    url: str | None
    email: str | None


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """A message in a run. It never changes."""

    id: RunId
    role: MessageRole
    content: str | dict[str, Any]
    created_at: Time
    author: Identity
    on_behalf_of: Annotated[
        ExecutedBy | None, Meta(description="The person that the author acts for.")
    ]
    who: MessageShown


class MessageList(msgspec.Struct, forbid_unknown_fields=True):
    """Messages, oldest first."""

    messages: list[Message]
    next_after: Annotated[
        RunId | None,
        Meta(description="`after` of the next request; null if there is no message yet."),
    ]


class ServiceAccount(msgspec.Struct, forbid_unknown_fields=True):
    """An application that acts for a person in one project, without its token."""

    id: Annotated[
        ServiceAccountId, Meta(description="Derived from the application and the project.")
    ]
    project: Name
    name: str
    issuer: str
    subject: str
    role: Annotated[
        str, Meta(description="The most it may do: the person's own roles limit it too.")
    ]
    acts_for: Annotated[ExecutedBy | None, Meta(description="The person, as of the registration.")]
    who: AccountShown
    expires_at: Ends
    created_at: Time
    updated_at: Time


class AllowedAgent(msgspec.Struct, forbid_unknown_fields=True):
    """An agent that may act in the project for whoever's token it carries."""

    name: Name
    project: Name
    issuer: str
    subject: str
    roles: Annotated[
        list[str], Meta(description="The most it may do: the person's own roles limit it too.")
    ]
    expires_at: Ends
    created_at: Time
    updated_at: Time


class AllowedAgentList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of agents, by name."""

    agents: list[AllowedAgent]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class ApplySet(msgspec.Struct, forbid_unknown_fields=True):
    """What a client's declarative applies made under a name, so that they delete nothing else."""

    name: Name
    project: Name
    members: list[SetMember]
    created_at: Time
    updated_at: Time


class ServiceAccountList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of service accounts, by id."""

    service_accounts: list[ServiceAccount]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class Problem(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A problem (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="A sentence for people, which may change.")]
    instance: Annotated[str, Meta(description="The request's id in the logs.")]
    reason: Reason
    current_status: Annotated[
        Status | msgspec.UnsetType, Meta(description="With `wrong_state`: the run's state.")
    ] = msgspec.UNSET
    permission: Annotated[
        str | msgspec.UnsetType,
        Meta(description="With `forbidden`: the permission that is missing, such as `cancel_run`."),
    ] = msgspec.UNSET
    live_runs: Annotated[
        int | msgspec.UnsetType, Meta(description="With `runs_live`: their number.")
    ] = msgspec.UNSET
    candidates: Annotated[
        list[EmailOwner] | msgspec.UnsetType,
        Meta(
            description="With `unknown_email` and `ambiguous_email`, for a caller who may read the "
            "project's roles: up to five people who state the address."
        ),
    ] = msgspec.UNSET


class ProjectRoles(msgspec.Struct, forbid_unknown_fields=True):
    """The roles that a principal has in a project."""

    project: Name
    roles: list[str]


class NamedCredential(msgspec.Struct, forbid_unknown_fields=True):
    """A credential that names the application as a reader."""

    project: Name
    credential: Name


class Person(msgspec.Struct, forbid_unknown_fields=True):
    """What a person or an application has in all projects, in the order of these lists."""

    principal: Annotated[str, Meta(description="Kind, issuer and subject, as records name it.")]
    who: Shown
    project_admin: Annotated[
        bool, Meta(description="Whether `ProjectAdmins` names it, which only a deployment changes.")
    ]
    complete: Annotated[
        bool,
        Meta(
            description="False until the rows that earlier versions wrote are in the indexes: then "
            "some of them may be missing here."
        ),
    ]
    roles: list[ProjectRoles]
    service_accounts: Annotated[
        list[ServiceAccount], Meta(description="The service accounts that act for the person.")
    ]
    registrations: Annotated[
        list[ServiceAccount], Meta(description="Of an application: the people it acts for.")
    ]
    agent_permissions: Annotated[
        list[AllowedAgent],
        Meta(
            description="Of an application: the projects in which it may act for whoever's token "
            "it carries."
        ),
    ]
    credential_readers: Annotated[
        list[NamedCredential],
        Meta(description="Of an application: the credentials that name it as a reader."),
    ]
    runs: Annotated[
        list[Run],
        Meta(description="The pending and running runs that it is accountable for, oldest first."),
    ]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class Ended(msgspec.Struct, forbid_unknown_fields=True):
    """How many roles, registrations, permissions and runs a request ended."""

    roles: int
    service_accounts: int
    registrations: int
    agent_permissions: int
    credential_readers: int
    runs: int


class OffboardedPerson(Person, forbid_unknown_fields=True):
    """What a request ended, and what is left: empty lists where everything was ended."""

    ended: Ended
    projects_without_admin: Annotated[
        list[str],
        Meta(
            description="Projects whose last admin the request removed. `ProjectAdmins` administer "
            "them: grant the role to somebody else."
        ),
    ]


class Project(msgspec.Struct, forbid_unknown_fields=True):
    """A project, and the caller's roles in it."""

    name: Name
    created_at: Annotated[
        Time | None,
        Meta(description="When it was created; null for a project of an earlier version."),
    ]
    created_by: Annotated[Shown | None, Meta(description="Who created it; null if not known.")]
    deleted_at: Annotated[
        Time | None,
        Meta(description="When it was deleted; only `ProjectAdmins` see such a project."),
    ]
    roles: Annotated[
        list[str],
        Meta(
            description="The caller's roles by role bindings, a service account's by its "
            "registration, an agent's by its permission."
        ),
    ]
    project_admin: Annotated[
        bool,
        Meta(description="Whether `ProjectAdmins` names the caller, who then needs no role."),
    ]


class EndedContents(msgspec.Struct, forbid_unknown_fields=True):
    """How many things of a project a request ended. `runs`: those that it cancelled."""

    roles: int
    agents: int
    service_accounts: int
    runs: int
    runners: int
    credentials: int
    apply_sets: int


class DeletedProject(msgspec.Struct, forbid_unknown_fields=True):
    """What a request ended of a project, and whether that was all."""

    name: Name
    complete: bool
    retry_after_seconds: Annotated[
        int | None,
        Meta(description="When to send the request again; null where the project is deleted."),
    ]
    ended: EndedContents


class ProjectList(msgspec.Struct, forbid_unknown_fields=True):
    """A page of the projects in which the caller has roles, in no particular order."""

    projects: list[Project]
    all_projects: Annotated[
        bool,
        Meta(
            description="Whether the caller administers all projects by `ProjectAdmins`. The list "
            "has only those where it has roles too."
        ),
    ]
    complete: Annotated[
        bool,
        Meta(
            description="False until the rows that earlier versions wrote are in the index: then "
            "some projects may be missing here."
        ),
    ]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


ANSWERS: tuple[Any, ...] = (
    Health,
    SignedOut,
    ResourceMetadata,
    Caller,
    Run,
    RunList,
    Runner,
    RegisteredRunner,
    RunnerList,
    TokenList,
    RunnerToken,
    RoleBindingOf,
    RoleBindingList,
    GrantedRole,
    RoleList,
    PrincipalAccess,
    AuditRecord,
    AuditRecordList,
    Credential,
    CredentialList,
    CredentialToken,
    Message,
    MessageList,
    ServiceAccount,
    ServiceAccountList,
    AllowedAgent,
    AllowedAgentList,
    ApplySet,
    Person,
    OffboardedPerson,
    Project,
    ProjectList,
    DeletedProject,
    Problem,
)
