"""Examples of requests and answers for the OpenAPI document. Tests check them by its schemas."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from serve_runs.errors import forbidden
from serve_runs.web.reasons import REASONS, ProblemReason

PROJECT = "apollo"
RUN_ID = "01M6DMBE000000000000000001"
PARENT_RUN_ID = "01M6DMBE000000000000000000"

CREATE_RUN: Mapping[str, Any] = {
    "name": "nightly training",
    "agent": "trainer",
    "runner": "gpu-1",
    "parent_run": PARENT_RUN_ID,
    "labels": {"team": "research"},
    "heartbeat_seconds": 120,
}

FAIL_RUN: Mapping[str, Any] = {"reason": "Ended by signal SIGKILL.", "exit_code": 137}

ADA: Mapping[str, Any] = {
    "user": {
        "id": {"subject": "ada"},
        "spec": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
    }
}
NIGHTLY: Mapping[str, Any] = {
    "application": {"id": {"subject": "nightly-train"}, "spec": {"name": "nightly-train"}}
}

_SHOWN_ADA: Mapping[str, Any] = {
    "kind": "user",
    "issuer": "https://issuer.example.com",
    "subject": "ada",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "through": None,
    "link": None,
    "started_for": None,
}
_SHOWN_NIGHTLY: Mapping[str, Any] = {
    "kind": "application",
    "issuer": "https://issuer.example.com",
    "subject": "nightly-train",
    "name": "nightly-train",
    "email": None,
    "through": None,
    "link": None,
    "started_for": None,
}

RUN: Mapping[str, Any] = {
    "id": RUN_ID,
    "project": PROJECT,
    **CREATE_RUN,
    "status": "running",
    "heartbeat_seconds": 120,
    "heartbeat_at": "2026-11-02T08:00:01.250Z",
    "lost_at": None,
    "reason": None,
    "exit_code": None,
    "created_at": "2026-11-02T08:00:00.000Z",
    "updated_at": "2026-11-02T08:00:01.250Z",
    "executed_by": ADA,
    "on_behalf_of": None,
    "creator_user_id": "ada",
    "creator_service_account_id": None,
    "started_by": NIGHTLY,
    "started_on_behalf_of": None,
    "finished_by": None,
    "finished_on_behalf_of": None,
    "cancelled_by": None,
    "cancelled_on_behalf_of": None,
    "who": {
        "executed_by": _SHOWN_ADA,
        "on_behalf_of": None,
        "started_by": _SHOWN_NIGHTLY,
        "started_on_behalf_of": None,
        "finished_by": None,
        "finished_on_behalf_of": None,
        "cancelled_by": None,
        "cancelled_on_behalf_of": None,
    },
}

RUNNER_NAME = "gpu-1"

REGISTER_RUNNER: Mapping[str, Any] = {
    "client": "trainer",
    "audience": "https://models.example.com",
    "scope": "models:read models:write",
    "subject": "gpu-1",
}

TOKEN_ID = "01m6dmbe000000000000000002"

_SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:byline/tokens/apollo/trainer/"

_TOKEN_STATE: Mapping[str, Any] = {
    "status": "ready",
    "issued_at": "2026-11-02T08:00:02.000Z",
    "expires_at": "2026-11-02T08:15:02.000Z",
    "refreshed_at": "2026-11-02T08:00:03.000Z",
    "secret_arn": f"{_SECRET}{TOKEN_ID}/1",
    "secret_arns": [f"{_SECRET}{TOKEN_ID}/{slot}" for slot in (0, 1)],
    "last_error": None,
}

RUNNER: Mapping[str, Any] = {
    "name": RUNNER_NAME,
    "project": PROJECT,
    **REGISTER_RUNNER,
    "resource": None,
    "isolated": False,
    "token": TOKEN_ID,
    **_TOKEN_STATE,
    "created_at": "2026-11-02T08:00:00.000Z",
    "updated_at": "2026-11-02T08:00:00.000Z",
    "registered_by": ADA,
    "who": {"registered_by": _SHOWN_ADA},
}

REGISTERED_RUNNER: Mapping[str, Any] = {
    **RUNNER,
    "warnings": [
        {
            "code": "several_secrets",
            "detail": "The token is written to 2 secrets in turn. A reader of one of them by its "
            "name finds an expired token part of the time: read docs/runners.md, Readers.",
        }
    ],
}

TOKEN: Mapping[str, Any] = {
    "id": TOKEN_ID,
    "project": PROJECT,
    "client": REGISTER_RUNNER["client"],
    "audience": REGISTER_RUNNER["audience"],
    "resource": None,
    "scope": REGISTER_RUNNER["scope"],
    "isolated_for": None,
    "runners": 12,
    "generation": 97,
    **_TOKEN_STATE,
    "created_at": "2026-11-02T08:00:00.000Z",
}

AUDIT_RECORD: Mapping[str, Any] = {
    "id": "01M6DMBF79ZQ8W7V6R5N4M3K2J",
    "at": "2026-11-02T08:00:01.250Z",
    "action": "start_run",
    "project": PROJECT,
    "resource": {"type": "run", "id": RUN_ID},
    "principal": "application:https://issuer.example.com#nightly-train",
    "source": "bearer",
    "verified": True,
    "actor": NIGHTLY,
    "on_behalf_of": ADA,
    "who": {"actor": _SHOWN_NIGHTLY, "on_behalf_of": _SHOWN_ADA},
    "chain": [],
    "request_id": "5c3f1a52-8d0e-4a57-9f51-6a1f5d3c2b10",
    "run": None,
    "reason": None,
    "exit_code": None,
    "readers": None,
    "rights": None,
}

CREDENTIAL_NAME = "github"

PUT_CREDENTIAL: Mapping[str, Any] = {
    "provider": "github",
    "token": "opaque-or-not",
    "url": "https://github.example.com/api/v3",
}

BIND_CREDENTIAL: Mapping[str, Any] = {
    "readers": [
        {"runner": "trainer"},
        {
            "issuer": "https://login.example.com",
            "subject": "release-agent",
            "run_labels": {"environment": "production"},
        },
    ]
}

CREDENTIAL: Mapping[str, Any] = {
    "name": CREDENTIAL_NAME,
    "project": PROJECT,
    "provider": PUT_CREDENTIAL["provider"],
    "url": PUT_CREDENTIAL["url"],
    "email": None,
    "readers": BIND_CREDENTIAL["readers"],
    "created_at": "2026-11-02T08:00:00.000Z",
    "created_by": ADA,
    "updated_at": "2026-11-02T08:00:00.000Z",
    "updated_by": ADA,
    "who": {"created_by": _SHOWN_ADA, "updated_by": _SHOWN_ADA},
}

MESSAGE_ID = "01M6DMBF79ZQ8W7V6R5N4M3K2J"

POST_MESSAGE: Mapping[str, Any] = {
    "role": "user",
    "content": {"text": "Stop after this epoch."},
}

MESSAGE: Mapping[str, Any] = {
    "id": MESSAGE_ID,
    **POST_MESSAGE,
    "created_at": "2026-11-02T08:00:01.250Z",
    "author": NIGHTLY,
    "on_behalf_of": ADA,
    "who": {"author": _SHOWN_NIGHTLY, "on_behalf_of": _SHOWN_ADA},
}

SERVICE_ACCOUNT_ID = "mfzwg2ltnfxwmylsm4xgkzlnmu"

CREATE_SERVICE_ACCOUNT: Mapping[str, Any] = {
    "token": "its own current access token",
    "name": "nightly training",
    "role": "project:editor",
}

SERVICE_ACCOUNT: Mapping[str, Any] = {
    "id": SERVICE_ACCOUNT_ID,
    "project": PROJECT,
    "name": CREATE_SERVICE_ACCOUNT["name"],
    "issuer": "https://id.example.com",
    "subject": "nightly-train",
    "role": CREATE_SERVICE_ACCOUNT["role"],
    "acts_for": ADA,
    "who": {"acts_for": _SHOWN_ADA},
    "expires_at": None,
    "created_at": "2026-11-02T08:00:00.000Z",
    "updated_at": "2026-11-02T08:00:00.000Z",
}

APPLY_SET_NAME = "team"
CHANGE_MEMBERS: Mapping[str, Any] = {
    "add": [{"kind": "Runner", "key": "trainer"}],
    "remove": [{"kind": "Agent", "key": "planner"}],
}
APPLY_SET: Mapping[str, Any] = {
    "name": APPLY_SET_NAME,
    "project": PROJECT,
    "members": CHANGE_MEMBERS["add"],
    "created_at": "2026-11-02T08:00:00.000Z",
    "updated_at": "2026-11-02T08:00:00.000Z",
}

AGENT_NAME = "planner"

ALLOW_AGENT: Mapping[str, Any] = {
    "subject": "0oa1planner",
    "issuer": "https://id.example.com",
    "roles": ["project:editor"],
    "expires_at": "2026-12-31T00:00:00Z",
}

AGENT: Mapping[str, Any] = {
    "name": AGENT_NAME,
    "project": PROJECT,
    **ALLOW_AGENT,
    "expires_at": "2026-12-31T00:00:00.000Z",
    "created_at": "2026-11-02T08:00:00.000Z",
    "updated_at": "2026-11-02T08:00:00.000Z",
}

PERSON: Mapping[str, Any] = {
    "principal": "user:https://issuer.example.com#ada",
    "who": _SHOWN_ADA,
    "project_admin": False,
    "complete": True,
    "roles": [{"project": PROJECT, "roles": ["project:editor"]}],
    "service_accounts": [SERVICE_ACCOUNT],
    "registrations": [],
    "agent_permissions": [],
    "credential_readers": [],
    "runs": [RUN],
    "next_cursor": None,
}

OFFBOARDED: Mapping[str, Any] = {
    **PERSON,
    "roles": [],
    "service_accounts": [],
    "runs": [],
    "ended": {
        "roles": 1,
        "service_accounts": 1,
        "registrations": 0,
        "agent_permissions": 0,
        "credential_readers": 0,
        "runs": 1,
    },
    "projects_without_admin": [],
}

OWN_PROJECT: Mapping[str, Any] = {
    "name": PROJECT,
    "created_at": "2026-11-02T08:00:00.000Z",
    "created_by": _SHOWN_ADA,
    "deleted_at": None,
    "roles": ["project:admin"],
    "project_admin": False,
}

GRANT_ROLE = {"role": "project:editor", "email": "ada@example.com"}
ROLE_BINDING = {
    "kind": "user",
    "issuer": "https://issuer.example.com",
    "subject": "ada",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "seen": True,
    "roles": ["project:editor"],
}

EXAMPLES: Mapping[str, Any] = {
    "Health": {"status": "ok"},
    "SignedOut": {"status": "signed_out"},
    "ResourceMetadata": {
        "resource": "https://byline.example.com",
        "authorization_servers": ["https://issuer.example"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Byline",
        "byline_issuers": [
            {
                "issuer": "https://issuer.example",
                "profile": "generic",
                "audience": "byline",
                "cli_client_id": "byline-cli",
                "cli_scope": "openid profile email offline_access",
            }
        ],
    },
    "Caller": {
        "executed_by": ADA,
        "kind": "user",
        "source": "alb",
        "on_behalf_of": None,
        "who": {"executed_by": _SHOWN_ADA, "on_behalf_of": None},
        "registrations": [],
        "next_cursor": None,
    },
    "Run": RUN,
    "RunList": {"runs": [RUN], "next_cursor": None, "more_people": False},
    "Runner": RUNNER,
    "RegisteredRunner": REGISTERED_RUNNER,
    "RunnerList": {"runners": [RUNNER], "next_cursor": None},
    "TokenList": {"tokens": [TOKEN], "next_cursor": None},
    "RoleBindingOf": ROLE_BINDING,
    "GrantedRole": {**ROLE_BINDING, "warnings": []},
    "PrincipalAccess": {
        **{name: value for name, value in ROLE_BINDING.items() if name != "roles"},
        "bindings": [
            {"by": "role_binding", "role": "credential:reader", "permits": ["read_credential"]}
        ],
        "acts_for": None,
        "permissions": ["read_credential"],
    },
    "RoleList": {
        "roles": [
            {
                "role": "credential:reader",
                "description": "Lists credentials, without their tokens.",
                "permits": ["read_credential"],
            }
        ]
    },
    "RoleBindingList": {"role_bindings": [ROLE_BINDING], "next_cursor": None},
    "AuditRecord": AUDIT_RECORD,
    "AuditRecordList": {"records": [AUDIT_RECORD], "next_cursor": None, "more_people": False},
    "Credential": CREDENTIAL,
    "CredentialList": {"credentials": [CREDENTIAL], "next_cursor": None},
    "CredentialToken": {
        "credential_id": CREDENTIAL_NAME,
        **PUT_CREDENTIAL,
        "email": None,
    },
    "AllowedAgent": AGENT,
    "ApplySet": APPLY_SET,
    "AllowedAgentList": {"agents": [AGENT], "next_cursor": None},
    "ServiceAccount": SERVICE_ACCOUNT,
    "ServiceAccountList": {"service_accounts": [SERVICE_ACCOUNT], "next_cursor": None},
    "Person": PERSON,
    "OffboardedPerson": OFFBOARDED,
    "Project": OWN_PROJECT,
    "DeletedProject": {
        "name": PROJECT,
        "complete": False,
        "retry_after_seconds": 70,
        "ended": {
            "roles": 2,
            "agents": 0,
            "service_accounts": 1,
            "runs": 0,
            "runners": 3,
            "credentials": 1,
            "apply_sets": 0,
        },
    },
    "ProjectList": {
        "projects": [OWN_PROJECT],
        "all_projects": False,
        "complete": True,
        "next_cursor": None,
    },
    "Message": MESSAGE,
    "MessageList": {"messages": [MESSAGE], "next_after": MESSAGE_ID},
    "RunnerToken": {
        "token": "opaque-or-not",
        "token_type": "Bearer",
        "issued_at": RUNNER["issued_at"],
        "expires_at": RUNNER["expires_at"],
    },
}
"""Examples by the name of their shape."""


def _problem(reason: ProblemReason) -> Mapping[str, Any]:
    """The problem of a reason, with the detail that a request gets."""
    entry = REASONS[reason]
    return {
        "type": "about:blank",
        "title": HTTPStatus(entry.status).phrase,
        "status": entry.status,
        "detail": _DETAILS.get(reason, entry.sentence),
        "instance": "5c3f1a52-8d0e-4a57-9f51-6a1f5d3c2b10",
        "reason": reason,
        **_MEMBERS.get(reason, {}),
    }


_OWNER: Mapping[str, Any] = {
    "principal": "user:https://issuer.example.com#ada",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "email_verified": True,
}
_FORBIDDEN = forbidden("cancel_run")

_MEMBERS: Mapping[ProblemReason, Mapping[str, Any]] = {
    "wrong_state": {"current_status": "succeeded"},
    "forbidden": _FORBIDDEN.members,
    "unknown_email": {"candidates": [{**_OWNER, "email_verified": False}]},
    "ambiguous_email": {
        "candidates": [
            _OWNER,
            {**_OWNER, "principal": "user:https://other.example.com#ada.lovelace"},
        ]
    },
}
"""The members that a reason adds to its problem."""

_DETAILS: Mapping[ProblemReason, str] = {
    "invalid_body": "Expected `object`, got `array`",
    "invalid_parameter": "Expected `int` <= 100 - at `$.limit`",
    "invalid_name": "A project's name has 1 to 63 characters: a-z, 0-9 and inner hyphens.",
    "wrong_state": "Cannot cancel a run that is succeeded.",
    "forbidden": _FORBIDDEN.detail,
}
"""Details that name a fact of the request. The others are the sentences of the reasons."""

PROBLEMS: Mapping[str, Mapping[str, Any]] = {reason: _problem(reason) for reason in REASONS}
"""An example of each reason."""
