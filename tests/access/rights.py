"""What the built-in roles permit, written down once more: by hand, and not from the policies."""

from typing import Final

ACTIONS: Final = {
    "read_run": "Run",
    "create_run": "Project",
    "start_run": "Run",
    "finish_run": "Run",
    "fail_run": "Run",
    "cancel_run": "Run",
    "delete_run": "Run",
    "read_messages": "Run",
    "post_user_message": "Run",
    "post_runner_message": "Run",
    "read_runner": "Runner",
    "register_runner": "Runner",
    "restart_runner": "Runner",
    "delete_runner": "Runner",
    "read_runner_token": "Runner",
    "read_service_account": "ServiceAccount",
    "create_service_account": "Project",
    "delete_service_account": "ServiceAccount",
    "read_credential": "Credential",
    "write_credential": "Credential",
    "delete_credential": "Credential",
    "read_credential_token": "Credential",
    "read_roles": "RoleBindings",
    "grant_role": "RoleBindings",
    "revoke_role": "RoleBindings",
    "read_audit": "Audit",
}
"""Every action that there is, and what it is asked of."""

TOKENS: Final = {"read_runner_token", "read_credential_token"}
FOR_RUNNERS: Final = {"post_runner_message"}
FOR_PEOPLE: Final = {"create_service_account"}
"""What nobody but a person may do, whatever their role."""

_VIEWER: Final = {
    "read_run",
    "read_messages",
    "post_user_message",
    "read_runner",
    "read_service_account",
    "read_roles",
}

ROLES: Final[dict[str, set[str]]] = {
    "project:viewer": _VIEWER,
    "project:editor": _VIEWER
    | {
        "create_run",
        "start_run",
        "finish_run",
        "fail_run",
        "cancel_run",
        "delete_run",
        "restart_runner",
        "create_service_account",
        "read_credential",
    },
    "project:admin": ACTIONS.keys() - TOKENS - FOR_RUNNERS,
    "credential:reader": {"read_credential"},
    "credential:token-reader": {"read_credential", "read_runner"} | TOKENS,
}
"""The built-in roles, and what each permits to a person."""
