"""The decisions of the shipped policies equal a table that was written without them."""

import re
from collections.abc import Mapping
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from byline.identity.caller import ANONYMOUS, Principal
from serve_runs.access.control import question
from serve_runs.access.decisions import (
    POLICIES,
    BoundReaders,
    Decisions,
    Resource,
    decisions,
    role_names,
)
from serve_runs.access.permissions import permissions, permitted_by, roles_json
from tests.access.model import PERSON_ONLY_ACTIONS, ROLES, TOKEN_ACTIONS

ACTIONS = {
    "Project": "read_project delete_project create_run create_service_account read_tokens",
    "Run": "read_run start_run finish_run fail_run send_heartbeat cancel_run delete_run"
    " read_messages post_user_message post_runner_message execute_run",
    "Runner": "read_runner register_runner restart_runner refresh_runner delete_runner"
    " read_runner_token",
    "Agent": "read_agent allow_agent delete_agent",
    "ServiceAccount": "read_service_account delete_service_account",
    "Credential": "read_credential write_credential bind_credential delete_credential"
    " read_credential_token",
    "ApplySet": "read_apply_set write_apply_set",
    "RoleBindings": "read_roles read_access grant_role revoke_role",
    "Audit": "read_audit",
    "Person": "read_person offboard_person",
    "Deployment": "create_project",
}
KINDS = {action: kind for kind, actions in ACTIONS.items() for action in actions.split()}
"""Every action, with the type of its resource."""

OUTSIDE = {"Person", "Deployment"}
"""The types of resources that belong to no project."""

ISSUER = "https://login.example.com"
ADA = Principal("user", ISSUER, "ada")
GRACE = Principal("user", ISSUER, "grace")
GPU = Principal("application", ISSUER, "gpu")
VERIFIED = {"source": "bearer", "verified": True}
EVERYTHING = frozenset(ROLES)
TOKEN_ROLES = {
    "read_credential_token": "credential:token-reader",
    "read_runner_token": "runner:token-reader",
}
"""The one role that permits reading each kind of token."""


def permits(
    principal: Principal,
    action: str,
    *roles: str,
    kind: str = "",
    context: Mapping[str, Any] = VERIFIED,
    policies: Decisions | None = None,
    **attributes: Principal,
) -> bool:
    """Whether the policies permit an action, by default on a resource of the action's own type."""
    resource = Resource(kind or KINDS.get(action, "Run"), "apollo/it", attributes)
    evaluated = policies or decisions()
    return evaluated.answer(question(principal, action, resource, roles=roles, context=context))


def folder_of(tmp_path: Path, *policies: str) -> Path:
    """A folder with the shipped schema and only these policies."""
    copy(POLICIES / "byline.cedarschema", tmp_path)
    for number, policy in enumerate(policies):
        (tmp_path / f"{number}.cedar").write_text(policy)
    return tmp_path


class TestRoles:
    """Each built-in role with each action."""

    @pytest.mark.parametrize("action", KINDS)
    @pytest.mark.parametrize("role", ROLES)
    def test_role_of_a_person_permits_its_documented_actions(self, role: str, action: str) -> None:
        """A role permits a person exactly the actions that are documented for it."""
        assert permits(ADA, action, role) == (action in ROLES[role])

    @pytest.mark.parametrize("action", KINDS)
    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("principal", [GPU, ANONYMOUS], ids=["application", "anonymous"])
    def test_role_of_an_application_or_anonymous_permits_less(
        self, principal: Principal, role: str, action: str
    ) -> None:
        """Only a person may create a service account, and an anonymous caller reads no token."""
        denied = PERSON_ONLY_ACTIONS | (TOKEN_ACTIONS if principal == ANONYMOUS else set())
        assert permits(principal, action, role) == (action in ROLES[role] - denied)

    def test_grantable_roles_are_the_built_in_ones(self) -> None:
        """`roles.json` names the built-in roles and no other."""
        assert role_names() == ROLES.keys()

    def test_listed_permissions_of_a_role_are_its_documented_actions(self) -> None:
        """What the list of roles says is what the policies decide."""
        listed = {str(each["role"]): each["permits"] for each in roles_json()}
        assert {role: set(permitted_by(role)) for role in listed} == ROLES
        assert all(len(set(permits)) == len(permits) for permits in map(permitted_by, listed))

    def test_actions_of_the_schema_are_all_listed(self) -> None:
        """Each action is read from the schema, with the type of its resource."""
        assert {each.action: each.resource_type for each in permissions()} == KINDS

    def test_actions_of_the_schema_are_all_tested(self) -> None:
        """The table of actions above contains every action of the schema."""
        schema = (POLICIES / "byline.cedarschema").read_text()
        declared = re.findall(r"^ *action ([\w, ]+) in .* appliesTo", schema, re.MULTILINE)
        assert {name.strip() for names in declared for name in names.split(",")} == KINDS.keys()

    @pytest.mark.parametrize("action", KINDS)
    def test_principal_without_a_role_is_refused_every_action(self, action: str) -> None:
        """A principal without a role is permitted no action."""
        for principal in (ADA, GPU, ANONYMOUS):
            assert not permits(principal, action)

    @pytest.mark.parametrize("role", ["project:owner", "viewer", "PROJECT:ADMIN", "", "*"])
    def test_unknown_role_permits_nothing(self, role: str) -> None:
        """A role that no policy names permits no action."""
        assert not any(permits(ADA, action, role) for action in KINDS)

    @pytest.mark.parametrize(("action", "role"), TOKEN_ROLES.items())
    def test_admin_without_the_token_reader_role_reads_no_token(
        self, action: str, role: str
    ) -> None:
        """An admin reads a token only after an audited grant of the token-reader role to itself."""
        others = EVERYTHING - {role}
        assert not permits(ADA, action, *others)
        assert permits(ADA, action, "project:admin", role)


class TestPeople:
    """Only admins of the deployment ask about others."""

    @pytest.mark.parametrize("action", ["read_person", "offboard_person"])
    def test_role_of_the_deployment_permits_its_actions(self, action: str) -> None:
        """It permits them to people and applications, and never to anonymous callers."""
        assert permits(ADA, action, "deployment:admin", user=GRACE)
        assert permits(GPU, action, "deployment:admin", user=GRACE)
        assert not permits(ANONYMOUS, action, "deployment:admin", user=GRACE)

    @pytest.mark.parametrize(
        "action", [each for each, kind in KINDS.items() if kind not in OUTSIDE]
    )
    def test_role_of_the_deployment_permits_nothing_else(self, action: str) -> None:
        """In a project it permits nothing."""
        assert not permits(ADA, action, "deployment:admin")

    def test_role_of_the_deployment_creates_projects(self) -> None:
        """An admin of a project does not create others."""
        assert permits(ADA, "create_project", "deployment:admin")
        assert permits(GPU, "create_project", "deployment:admin")
        assert not permits(ANONYMOUS, "create_project", "deployment:admin")
        assert not permits(ADA, "create_project", "project:admin")

    def test_everyone_reads_about_itself_and_offboards_nobody(self) -> None:
        """Kind, issuer and subject must all be the caller's."""
        namesake = Principal("application", ISSUER, "ada")
        assert permits(ADA, "read_person", user=ADA)
        assert permits(GPU, "read_person", application=GPU)
        assert not permits(ADA, "read_person", user=GRACE)
        assert not permits(ADA, "read_person", application=namesake)
        assert not permits(namesake, "read_person", user=ADA)
        assert not permits(ADA, "offboard_person", *EVERYTHING, user=ADA)


class TestUnmapped:
    """An action that no policy maps is refused to every caller."""

    @pytest.mark.parametrize(
        "action", ["archive_run", "", "read", "update", "read_token", 'read_run"; permit', "*"]
    )
    def test_unknown_action_is_refused(self, action: str) -> None:
        """An action that the schema does not declare is refused, and so is a group of actions."""
        assert not permits(ADA, action, *EVERYTHING)

    def test_action_on_another_resource_type_is_refused(self) -> None:
        """An action is refused on a resource of a type that is not its own."""
        assert permits(ADA, "read_run", *EVERYTHING, kind="Run")
        for kind in ("Credential", "Audit", "Secret", ""):
            assert not permits(ADA, "read_run", *EVERYTHING, kind=kind or "Nothing")

    @pytest.mark.parametrize(
        "context",
        [{}, {"verified": True}, {"source": "alb"}, VERIFIED | {"more": 1}, {"source": 1}],
    )
    def test_context_of_another_shape_is_refused(self, context: dict[str, Any]) -> None:
        """A missing, additional or mistyped fact of the context makes the decision a refusal."""
        assert permits(ADA, "read_run", *EVERYTHING)
        assert not permits(ADA, "read_run", *EVERYTHING, context=context)

    def test_unknown_attribute_is_refused(self) -> None:
        """A resource with an attribute that the schema does not declare is refused."""
        assert permits(GPU, "read_runner_token", own=GPU)
        assert not permits(GPU, "read_runner_token", owner=GPU)


class TestKinds:
    """An application with the subject `ada` is not the person `ada`."""

    APPLICATION = Principal("application", ISSUER, "ada")

    def test_namesake_of_a_person_cannot_delete_the_persons_service_account(self) -> None:
        """Only the person that a service account acts for may delete it without a role."""
        action = "delete_service_account"
        assert permits(ADA, action, person=ADA)
        assert not permits(GRACE, action, person=ADA)
        assert not permits(self.APPLICATION, action, person=ADA)
        assert not permits(Principal("user", "https://other.example", "ada"), action, person=ADA)

    def test_person_with_the_subject_of_a_runner_cannot_read_its_token(self) -> None:
        """A person with the subject of a runner is not the runner."""
        assert permits(self.APPLICATION, "read_runner_token", own=self.APPLICATION)
        assert not permits(ADA, "read_runner_token", own=self.APPLICATION)

    @pytest.mark.parametrize("attribute", ["own", "executor"])
    def test_person_as_the_runner_attribute_is_refused(self, attribute: str) -> None:
        """A runner attribute that names a person permits that person nothing."""
        action = "read_runner_token" if attribute == "own" else "post_runner_message"
        attributes: dict[str, Any] = {attribute: ADA}
        assert not permits(ADA, action, **attributes)


class TestRunners:
    """Actions that a runner may carry out without a role, because it is the runner."""

    @pytest.mark.parametrize("action", ["read_runner_token", "refresh_runner", "restart_runner"])
    def test_runner_reads_and_refreshes_its_own_token_and_restarts_itself(
        self, action: str
    ) -> None:
        """A runner uses its own token and restarts itself, by its own Bearer token only."""
        assert permits(GPU, action, own=GPU)
        other = Principal("application", ISSUER, "cpu")
        assert not permits(other, action, own=GPU)
        assert not permits(
            Principal("application", "https://other.example", "gpu"), action, own=GPU
        )
        assert not permits(GPU, action, own=GPU, context=VERIFIED | {"source": "alb"})
        assert not permits(GPU, action)

    @pytest.mark.parametrize("action", ["read_messages", "post_runner_message"])
    def test_runner_uses_messages_of_the_run_that_it_executes(self, action: str) -> None:
        """A runner reads and posts messages only in the run that it executes."""
        assert permits(GPU, action, executor=GPU)
        assert not permits(Principal("application", ISSUER, "cpu"), action, executor=GPU)
        assert not permits(GPU, action, executor=GPU, context=VERIFIED | {"source": "alb"})
        assert not permits(GPU, action)
        assert not permits(ANONYMOUS, action)

    def test_runner_cannot_post_messages_as_a_user(self) -> None:
        """A runner posts no message as a user in the run that it executes."""
        assert not permits(GPU, "post_user_message", executor=GPU)
        assert not permits(GPU, "post_user_message", "project:viewer", executor=GPU)
        assert permits(GPU, "post_user_message", "project:viewer")

    def test_other_principals_cannot_post_messages_as_the_runner(self) -> None:
        """A principal with all roles cannot post a message as the runner."""
        assert not permits(ADA, "post_runner_message", *EVERYTHING, executor=GPU)
        assert not permits(ADA, "post_runner_message", *EVERYTHING)
        other = Principal("application", ISSUER, "cpu")
        assert not permits(other, "post_runner_message", *EVERYTHING, executor=GPU)

    @pytest.mark.parametrize("action", KINDS)
    def test_runner_is_permitted_no_other_action(self, action: str) -> None:
        """Being the runner permits six actions and no other."""
        kind = KINDS[action]
        own: dict[str, dict[str, Any]] = {"Runner": {"own": GPU}, "Run": {"executor": GPU}}
        expected = {"read_runner_token", "refresh_runner", "restart_runner"}
        expected |= {"read_messages", "post_runner_message", "execute_run"}
        assert permits(GPU, action, **own.get(kind, {})) == (action in expected)


class TestExecution:
    """Reading a token for a run, which only those may who execute it."""

    def test_runner_executes_the_runs_that_name_it(self) -> None:
        """By its own Bearer token, and without a role."""
        assert permits(GPU, "execute_run", executor=GPU)
        assert not permits(GPU, "execute_run", executor=GPU, context=VERIFIED | {"source": "alb"})
        assert not permits(ADA, "execute_run", *EVERYTHING, executor=GPU)

    @pytest.mark.parametrize("role", ["project:editor", "project:admin"])
    def test_creator_and_person_execute_a_run_while_they_may_change_it(self, role: str) -> None:
        """Without the role they do not, and nobody executes a run of others."""
        assert permits(GPU, "execute_run", role, creator=GPU, person=ADA)
        assert permits(ADA, "execute_run", role, creator=GPU, person=ADA)
        assert not permits(GRACE, "execute_run", *EVERYTHING, creator=GPU, person=ADA)
        others = EVERYTHING - {"project:editor", "project:admin"}
        for principal in (GPU, ADA):
            assert not permits(principal, "execute_run", *others, creator=GPU, person=ADA)

    def test_unverified_creator_executes_no_run(self) -> None:
        """Where callers are not verified, nobody executes a run."""
        unverified = VERIFIED | {"verified": False}
        assert not permits(ADA, "execute_run", "project:admin", person=ADA, context=unverified)
        assert not permits(GPU, "execute_run", executor=GPU, context=unverified)


class TestBoundCredentials:
    """A credential that is bound to readers."""

    CPU = Principal("application", ISSUER, "cpu")

    def reads(
        self, principal: Principal, *roles: str, policies: Decisions | None = None, **facts: Any
    ) -> bool:
        """Whether a principal reads the token of a credential that is bound to these readers."""
        unbound: dict[str, Any] = {"roles": (), "applications": (), "runners": ()}
        source = facts.pop("source", "bearer")
        attributes: dict[str, Any] = {"readers": BoundReaders(**unbound | facts)}
        context = VERIFIED | {"source": source}
        return permits(
            principal,
            "read_credential_token",
            *roles,
            context=context,
            policies=policies,
            **attributes,
        )

    def test_nobody_reads_a_credential_that_is_bound_to_nobody(self) -> None:
        """All roles together permit nothing."""
        for principal in (ADA, GPU, ANONYMOUS):
            assert not self.reads(principal, *EVERYTHING)

    def test_role_reads_that_the_credential_is_bound_to(self) -> None:
        """The role alone is enough, and no other role."""
        assert self.reads(ADA, "project:viewer", roles=("project:viewer",))
        assert not self.reads(ADA, *EVERYTHING - {"project:viewer"}, roles=("project:viewer",))
        assert not self.reads(ANONYMOUS, "project:viewer", roles=("project:viewer",))

    @pytest.mark.parametrize("kind", ["applications", "runners"])
    def test_application_reads_that_the_credential_is_bound_to(self, kind: str) -> None:
        """Neither a person nor an application of another issuer with its subject reads."""
        both: dict[str, Any] = {kind: (self.CPU, GPU)}
        one: dict[str, Any] = {kind: (GPU,)}
        assert self.reads(GPU, **both)
        assert not self.reads(self.CPU, *EVERYTHING, **one)
        for namesake in (
            Principal("user", ISSUER, "gpu"),
            Principal("application", "https://other.example", "gpu"),
        ):
            assert not self.reads(namesake, *EVERYTHING, **one)

    def test_runner_reads_by_its_own_bearer_token_only(self) -> None:
        """The load balancer's token names no runner."""
        assert not self.reads(GPU, runners=(GPU,), source="alb")

    def test_policy_of_an_operator_does_not_pass_the_readers(self, tmp_path: Path) -> None:
        """A role of an operator reads a credential only until that is bound to others."""
        extended = decisions_with(
            tmp_path,
            'permit (principal in Byline::Role::"night-watch",'
            ' action == Byline::Action::"read_credential_token", resource);',
        )
        assert permits(ADA, "read_credential_token", "night-watch", policies=extended)
        assert not self.reads(ADA, "night-watch", policies=extended, applications=(GPU,))

    def test_readers_of_another_shape_are_refused(self) -> None:
        """A person among the applications makes the decision a refusal."""
        assert not self.reads(GPU, applications=(ADA, GPU))


class TestUnverifiedCallers:
    """Decisions where the operator has switched verification off."""

    UNVERIFIED = VERIFIED | {"verified": False}

    @pytest.mark.parametrize("action", sorted(TOKEN_ROLES))
    def test_unverified_caller_reads_no_token(self, action: str) -> None:
        """An unverified caller reads no token, neither as a token reader nor as the runner."""
        assert permits(ADA, action, TOKEN_ROLES[action])
        assert not permits(ADA, action, *EVERYTHING, context=self.UNVERIFIED)
        if action == "read_runner_token":
            assert not permits(GPU, action, own=GPU, context=self.UNVERIFIED)

    def test_unverified_caller_keeps_the_other_actions_of_its_role(self) -> None:
        """An unverified caller with the editor role creates runs."""
        assert permits(ADA, "create_run", "project:editor", context=self.UNVERIFIED)


def decisions_with(folder: Path, policy: str) -> Decisions:
    """The shipped policies with one policy of an operator beside them."""
    for file in POLICIES.glob("*.cedar*"):
        copy(file, folder)
    (folder / "zz.cedar").write_text(policy)
    return Decisions(folder)


class TestOperatorsPolicies:
    """Policy files that an operator adds or removes."""

    def test_empty_folder_refuses_everyone(self, tmp_path: Path) -> None:
        """A folder without policies permits no action, not even to admins."""
        empty = Decisions(folder_of(tmp_path))
        for action in KINDS:
            assert not permits(ADA, action, *EVERYTHING, policies=empty)

    def test_added_role_permits_its_actions(self, tmp_path: Path) -> None:
        """An added policy permits its role its action, and the other roles stay the same."""
        extended = decisions_with(
            tmp_path,
            'permit (principal in Byline::Role::"night-watch",'
            ' action == Byline::Action::"cancel_run", resource);',
        )
        assert permits(ADA, "cancel_run", "night-watch", policies=extended)
        assert not permits(ADA, "delete_run", "night-watch", policies=extended)
        assert permits(ADA, "delete_run", "project:editor", policies=extended)
        assert not permits(ADA, "cancel_run", "night-watch")

    def test_forbid_overrides_every_permit(self, tmp_path: Path) -> None:
        """An operator's `forbid` policy refuses an action to every caller, admins included."""
        stricter = decisions_with(
            tmp_path,
            'forbid (principal, action == Byline::Action::"delete_run", resource);',
        )
        assert not permits(ADA, "delete_run", *EVERYTHING, policies=stricter)
        assert permits(ADA, "cancel_run", *EVERYTHING, policies=stricter)

    def test_forbid_policy_with_an_error_refuses(self, tmp_path: Path) -> None:
        """A `forbid` policy that fails for a missing attribute refuses; Cedar would skip it."""
        failing = decisions_with(
            tmp_path,
            'forbid (principal, action == Byline::Action::"restart_runner", resource)'
            ' when { resource.own == Byline::Application::"nobody" };',
        )
        assert permits(ADA, "restart_runner", "project:editor")
        assert not permits(ADA, "restart_runner", "project:editor", policies=failing)
        assert permits(ADA, "cancel_run", "project:editor", policies=failing)

    def test_policy_with_a_syntax_error_raises(self, tmp_path: Path) -> None:
        """A policy file that cannot be parsed raises an error."""
        with pytest.raises(ValueError, match="unexpected end"):
            Decisions(folder_of(tmp_path, "permit (principal, action, resource"))
