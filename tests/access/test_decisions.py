"""What the shipped policies permit, held against a table that was written without them."""

import re
from collections.abc import Mapping
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from byline.identity.caller import ANONYMOUS, Principal
from serve_runs.access.control import question
from serve_runs.access.decisions import POLICIES, Decisions, Resource, decisions, role_names
from tests.access.model import FOR_PEOPLE, ROLES, TOKENS

ACTIONS = {
    "Project": "create_run create_service_account",
    "Run": "read_run start_run finish_run fail_run cancel_run delete_run"
    " read_messages post_user_message post_runner_message",
    "Runner": "read_runner register_runner restart_runner delete_runner read_runner_token",
    "ServiceAccount": "read_service_account delete_service_account",
    "Credential": "read_credential write_credential delete_credential read_credential_token",
    "RoleBindings": "read_roles grant_role revoke_role",
    "Audit": "read_audit",
}
KINDS = {action: kind for kind, actions in ACTIONS.items() for action in actions.split()}
"""Every action that there is, and what it is asked of."""

ISSUER = "https://login.example.com"
ADA = Principal("user", ISSUER, "ada")
GRACE = Principal("user", ISSUER, "grace")
GPU = Principal("application", ISSUER, "gpu")
VERIFIED = {"source": "bearer", "verified": True}
EVERYTHING = frozenset(ROLES)


def permits(
    principal: Principal,
    action: str,
    *roles: str,
    kind: str = "",
    context: Mapping[str, Any] = VERIFIED,
    policies: Decisions | None = None,
    **attributes: Principal,
) -> bool:
    """Whether it is permitted of a resource of the action's own type, with `attributes`."""
    resource = Resource(kind or KINDS.get(action, "Run"), "apollo/it", attributes)
    asked = policies or decisions()
    return asked.answer(question(principal, action, resource, roles=roles, context=context))


def folder_of(tmp_path: Path, *policies: str) -> Path:
    """The shipped schema with these policies alone."""
    copy(POLICIES / "byline.cedarschema", tmp_path)
    for number, policy in enumerate(policies):
        (tmp_path / f"{number}.cedar").write_text(policy)
    return tmp_path


class TestRoles:
    """Each built-in role, and each action."""

    @pytest.mark.parametrize("action", KINDS)
    @pytest.mark.parametrize("role", ROLES)
    def test_role_permits_a_person_what_is_written_of_it(self, role: str, action: str) -> None:
        """A role permits exactly the actions that are documented for it."""
        assert permits(ADA, action, role) == (action in ROLES[role])

    @pytest.mark.parametrize("action", KINDS)
    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize("principal", [GPU, ANONYMOUS], ids=["application", "anonymous"])
    def test_role_permits_others_the_same_but_what_is_for_people(
        self, principal: Principal, role: str, action: str
    ) -> None:
        """Only a person can let somebody act for itself, and nobody reads no token."""
        tokens = {"read_credential_token", "read_runner_token"}
        kept = FOR_PEOPLE | (tokens if principal == ANONYMOUS else set())
        assert permits(principal, action, role) == (action in ROLES[role] - kept)

    def test_roles_that_can_be_granted_are_these(self) -> None:
        """`roles.json` names the built-in ones, and no other."""
        assert role_names() == ROLES.keys()

    def test_actions_of_the_schema_are_these(self) -> None:
        """None of them is left out above."""
        schema = (POLICIES / "byline.cedarschema").read_text()
        declared = re.findall(r"^ *action ([\w, ]+) in .* appliesTo", schema, re.MULTILINE)
        assert {name.strip() for names in declared for name in names.split(",")} == KINDS.keys()

    @pytest.mark.parametrize("action", KINDS)
    def test_nobody_may_anything_without_a_role(self, action: str) -> None:
        """Being known gives no right."""
        for principal in (ADA, GPU, ANONYMOUS):
            assert not permits(principal, action)

    @pytest.mark.parametrize("role", ["project:owner", "viewer", "PROJECT:ADMIN", "", "*"])
    def test_role_that_no_policy_knows_gives_nothing(self, role: str) -> None:
        """Whatever a row may say."""
        assert not any(permits(ADA, action, role) for action in KINDS)

    @pytest.mark.parametrize("action", sorted(TOKENS))
    def test_admin_reads_no_token_until_they_make_themselves_a_token_reader(
        self, action: str
    ) -> None:
        """Granting oneself the token-reader role is a change, and changes are on record."""
        assert not permits(ADA, action, "project:admin", "project:editor", "credential:reader")
        assert permits(ADA, action, "project:admin", "credential:token-reader")


class TestUnmapped:
    """An action that no policy maps is refused to every caller."""

    @pytest.mark.parametrize(
        "action", ["archive_run", "", "read", "update", "read_token", 'read_run"; permit', "*"]
    )
    def test_action_that_is_not_mapped_is_refused(self, action: str) -> None:
        """Groups of actions are no actions either."""
        assert not permits(ADA, action, *EVERYTHING)

    def test_action_on_another_kind_of_thing_is_refused(self) -> None:
        """Reading audits by way of a run is not reading a run."""
        assert permits(ADA, "read_run", *EVERYTHING, kind="Run")
        for kind in ("Credential", "Audit", "Secret", ""):
            assert not permits(ADA, "read_run", *EVERYTHING, kind=kind or "Nothing")

    @pytest.mark.parametrize(
        "context",
        [{}, {"verified": True}, {"source": "alb"}, VERIFIED | {"more": 1}, {"source": 1}],
    )
    def test_context_of_another_shape_is_refused(self, context: dict[str, Any]) -> None:
        """A fact that a policy goes by is never taken for granted."""
        assert permits(ADA, "read_run", *EVERYTHING)
        assert not permits(ADA, "read_run", *EVERYTHING, context=context)

    def test_attribute_that_the_schema_does_not_know_is_refused(self) -> None:
        """A mistake in our own code permits nothing."""
        assert permits(GPU, "read_runner_token", own=GPU)
        assert not permits(GPU, "read_runner_token", owner=GPU)


class TestKinds:
    """A client that somebody registers as `ada` is not the person `ada`."""

    APPLICATION = Principal("application", ISSUER, "ada")

    def test_person_cannot_take_back_what_acts_for_a_namesake(self) -> None:
        """Only whom it acts for, without any role; an application of the same name is not."""
        action = "delete_service_account"
        assert permits(ADA, action, person=ADA)
        assert not permits(GRACE, action, person=ADA)
        assert not permits(self.APPLICATION, action, person=ADA)
        assert not permits(Principal("user", "https://other.example", "ada"), action, person=ADA)

    def test_runners_own_token_is_for_the_application_alone(self) -> None:
        """A person with the subject of a runner is not the runner."""
        assert permits(self.APPLICATION, "read_runner_token", own=self.APPLICATION)
        assert not permits(ADA, "read_runner_token", own=self.APPLICATION)

    @pytest.mark.parametrize("attribute", ["own", "executor"])
    def test_person_is_no_runner_whatever_a_row_says(self, attribute: str) -> None:
        """An attribute of the wrong kind is no attribute."""
        action = "read_runner_token" if attribute == "own" else "post_runner_message"
        spoiled: dict[str, Any] = {attribute: ADA}
        assert not permits(ADA, action, **spoiled)


class TestRunners:
    """What a runner may by being the runner, without any role."""

    @pytest.mark.parametrize("action", ["read_runner_token", "restart_runner"])
    def test_runner_looks_after_its_own(self, action: str) -> None:
        """A runner reads its own token and restarts itself, by its own Bearer token only."""
        assert permits(GPU, action, own=GPU)
        other = Principal("application", ISSUER, "cpu")
        assert not permits(other, action, own=GPU)
        assert not permits(
            Principal("application", "https://other.example", "gpu"), action, own=GPU
        )
        assert not permits(GPU, action, own=GPU, context=VERIFIED | {"source": "alb"})
        assert not permits(GPU, action)

    @pytest.mark.parametrize("action", ["read_messages", "post_runner_message"])
    def test_runner_talks_in_the_run_that_it_executes(self, action: str) -> None:
        """A runner reads and writes messages only in the run that it executes."""
        assert permits(GPU, action, executor=GPU)
        assert not permits(Principal("application", ISSUER, "cpu"), action, executor=GPU)
        assert not permits(GPU, action, executor=GPU, context=VERIFIED | {"source": "alb"})
        assert not permits(GPU, action)
        assert not permits(ANONYMOUS, action)

    def test_runner_does_not_speak_as_a_user(self) -> None:
        """A runner without a role does not write messages as a user."""
        assert not permits(GPU, "post_user_message", executor=GPU)
        assert not permits(GPU, "post_user_message", "project:viewer", executor=GPU)
        assert permits(GPU, "post_user_message", "project:viewer")

    def test_nobody_else_speaks_as_the_runner(self) -> None:
        """Not with all roles together."""
        assert not permits(ADA, "post_runner_message", *EVERYTHING, executor=GPU)
        assert not permits(ADA, "post_runner_message", *EVERYTHING)
        other = Principal("application", ISSUER, "cpu")
        assert not permits(other, "post_runner_message", *EVERYTHING, executor=GPU)

    @pytest.mark.parametrize("action", KINDS)
    def test_own_runner_gives_nothing_else(self, action: str) -> None:
        """Neither its own runner's registration nor anything about others."""
        kind = KINDS[action]
        own: dict[str, dict[str, Any]] = {"Runner": {"own": GPU}, "Run": {"executor": GPU}}
        expected = {"read_runner_token", "restart_runner", "read_messages", "post_runner_message"}
        assert permits(GPU, action, **own.get(kind, {})) == (action in expected)


class TestUnverifiedCallers:
    """Where an operator has checks off, anybody can be anybody."""

    UNVERIFIED = VERIFIED | {"verified": False}

    @pytest.mark.parametrize("action", sorted(TOKENS))
    def test_tokens_are_nobodys(self, action: str) -> None:
        """Not a token reader's, and not the runner's own."""
        assert permits(ADA, action, "credential:token-reader")
        assert not permits(ADA, action, *EVERYTHING, context=self.UNVERIFIED)
        if action == "read_runner_token":
            assert not permits(GPU, action, own=GPU, context=self.UNVERIFIED)

    def test_the_rest_goes_on(self) -> None:
        """What they were promised is who they say they are."""
        assert permits(ADA, "create_run", "project:editor", context=self.UNVERIFIED)


def decisions_with(folder: Path, policy: str) -> Decisions:
    """Ours, and one that an operator has put beside them."""
    for file in POLICIES.glob("*.cedar*"):
        copy(file, folder)
    (folder / "zz.cedar").write_text(policy)
    return Decisions(folder)


class TestOperatorsPolicies:
    """Files that an operator adds or takes away."""

    def test_empty_folder_refuses_everyone(self, tmp_path: Path) -> None:
        """An empty policy permits nothing, admins or not."""
        empty = Decisions(folder_of(tmp_path))
        for action in KINDS:
            assert not permits(ADA, action, *EVERYTHING, policies=empty)

    def test_another_role_is_one_more_file(self, tmp_path: Path) -> None:
        """It permits what its policy says, and takes nothing from the others."""
        extended = decisions_with(
            tmp_path,
            'permit (principal in Byline::Role::"night-watch",'
            ' action == Byline::Action::"cancel_run", resource);',
        )
        assert permits(ADA, "cancel_run", "night-watch", policies=extended)
        assert not permits(ADA, "delete_run", "night-watch", policies=extended)
        assert permits(ADA, "delete_run", "project:editor", policies=extended)
        assert not permits(ADA, "cancel_run", "night-watch")

    def test_forbid_counts_for_more_than_any_permit(self, tmp_path: Path) -> None:
        """An operator can take something from everybody, admins too."""
        stricter = decisions_with(
            tmp_path,
            'forbid (principal, action == Byline::Action::"delete_run", resource);',
        )
        assert not permits(ADA, "delete_run", *EVERYTHING, policies=stricter)
        assert permits(ADA, "cancel_run", *EVERYTHING, policies=stricter)

    def test_forbid_that_fails_is_not_passed_over(self, tmp_path: Path) -> None:
        """Cedar would: here one that asks for an attribute which not every runner has."""
        failing = decisions_with(
            tmp_path,
            'forbid (principal, action == Byline::Action::"restart_runner", resource)'
            ' when { resource.own == Byline::Application::"nobody" };',
        )
        assert permits(ADA, "restart_runner", "project:editor")
        assert not permits(ADA, "restart_runner", "project:editor", policies=failing)
        assert permits(ADA, "cancel_run", "project:editor", policies=failing)

    def test_policy_that_cannot_be_read_is_an_error(self, tmp_path: Path) -> None:
        """Broken text neither permits nor is passed over."""
        with pytest.raises(ValueError, match="unexpected end"):
            Decisions(folder_of(tmp_path, "permit (principal, action, resource"))
