"""Operations on runners and credentials, and on their tokens."""

from dataclasses import replace
from typing import Any

from tests.access.access_operations import application_of
from tests.access.comparison import APPLICATIONS, DELEGATED, SECRET, WORKLOADS, Comparison, Step
from tests.access.model import ANONYMOUS, actor_of

BINDING_PUTS = {2, 5}
"""The numbers of the steps that write a credential together with its readers."""


def register_runner(comparison: Comparison, step: Step) -> None:
    """Register a runner. The same registration again is a restart, which the runner may do too."""
    subject = APPLICATIONS[step.number % 3]
    before = comparison.resource(step, "runner", step.name)
    # The subject's issuer is that of the first registrant; an anonymous caller has no issuer.
    own = None if step.caller == ANONYMOUS else subject
    if step.caller in WORKLOADS:
        own = "workload", subject[1]
    if before is not None and before["subject"][1] == subject[1]:
        own = before["own"] or own
    known = {"subject": subject, "own": own}
    action = "restart_runner" if before == known else "register_runner"
    expected = comparison.expected(step, action, "runner", step.name, makes=True)
    expected = 201 if expected == 200 and before is None else expected
    document = {"client": "scheduler", "subject": subject[1]}
    comparison.send(step, "PUT", f"runners/{step.name}", expected, document=document)
    if expected in {200, 201}:
        comparison.add(step, "runner", step.name, **known)


def list_runners(comparison: Comparison, step: Step) -> None:
    """List the runners of a project."""
    comparison.list_all(step, "runner", "runners", by="name")


def read_runner(comparison: Comparison, step: Step) -> None:
    """Read a runner."""
    expected = comparison.expected(step, "read_runner", "runner", step.name)
    comparison.send(step, "GET", f"runners/{step.name}", expected)


def refresh_runner(comparison: Comparison, step: Step) -> None:
    """Refresh a runner's token. All runners of a project share one, which is refreshed once here,
    because a second request is refused for ten seconds."""
    expected = comparison.expected(step, "refresh_runner", "runner", step.name)
    if expected == 200:
        if step.project in comparison.refreshed:
            return
        comparison.refreshed.add(step.project)
        expected = 202
    comparison.send(step, "POST", f"runners/{step.name}/refresh", expected)


def list_tokens(comparison: Comparison, step: Step) -> None:
    """List the tokens of a project: all runners of these tests share one."""
    expected = comparison.expected(step, "read_tokens")
    answer = comparison.send(step, "GET", "tokens", expected)
    if expected == 200:
        runners = [key for key in comparison.model.resources if key[:2] == (step.project, "runner")]
        assert sum(token["runners"] for token in answer.json["tokens"]) == len(runners), step


def delete_runner(comparison: Comparison, step: Step) -> None:
    """Delete a runner."""
    comparison.delete(step, "runner", step.name, f"runners/{step.name}")
    if not [key for key in comparison.model.resources if key[:2] == (step.project, "runner")]:
        comparison.refreshed.discard(step.project)


def read_runner_token(comparison: Comparison, step: Step) -> None:
    """Read a runner's token: 503 for an allowed caller, because these tests mint no token."""
    expected = comparison.expected(step, "read_runner_token", "runner", step.name)
    status = 503 if expected == 200 else expected
    comparison.send(step, "GET", f"runners/{step.name}/token", status)


def write_credential(comparison: Comparison, step: Step) -> None:
    """Write a credential. Without `readers` it keeps those that it is bound to."""
    before = comparison.resource(step, "credential", step.name)
    readers = None if before is None else before["readers"]
    expected = comparison.expected(step, "write_credential", "credential", step.name, makes=True)
    expected = 201 if expected == 200 and before is None else expected
    document: dict[str, Any] = {"provider": "github", "token": f"{SECRET}-{step.number}"}
    if step.number in BINDING_PUTS:
        readers = _readers(step)
        document["readers"] = _as_json(comparison, readers)
    comparison.send(step, "PUT", f"credentials/{step.name}", expected, document=document)
    if expected in {200, 201}:
        known = {"token": document["token"], "readers": readers}
        comparison.add(step, "credential", step.name, **known)


def bind_credential(comparison: Comparison, step: Step) -> None:
    """Bind a credential to readers, in place of the former ones."""
    step = _of_existing(comparison, step)
    expected = comparison.expected(step, "bind_credential", "credential", step.name)
    readers = _readers(step)
    document = {"readers": _as_json(comparison, readers)}
    path = f"credentials/{step.name}/readers"
    answer = comparison.send(step, "PUT", path, expected, document=document)
    if expected == 200:
        assert answer.json["readers"] == document["readers"], step
        before = comparison.resource(step, "credential", step.name)
        assert before is not None
        comparison.add(step, "credential", step.name, token=before["token"], readers=readers)


def list_credentials(comparison: Comparison, step: Step) -> None:
    """List the credentials of a project."""
    comparison.list_all(step, "credential", "credentials", by="name")


def read_credential(comparison: Comparison, step: Step) -> None:
    """Read a credential without its token."""
    expected = comparison.expected(step, "read_credential", "credential", step.name)
    comparison.send(step, "GET", f"credentials/{step.name}", expected)


def delete_credential(comparison: Comparison, step: Step) -> None:
    """Delete a credential."""
    comparison.delete(step, "credential", step.name, f"credentials/{step.name}")


def read_credential_token(comparison: Comparison, step: Step) -> None:
    """Read a credential's token: the one that was written last. Often one of its readers does."""
    step = _as_reader(comparison, _of_existing(comparison, step))
    expected = comparison.expected(step, "read_credential_token", "credential", step.name)
    answer = comparison.send(step, "GET", f"credentials/{step.name}/token", expected)
    if expected == 200:
        credential = comparison.resource(step, "credential", step.name)
        assert credential is not None
        assert answer.json["token"] == credential["token"]


def _of_existing(comparison: Comparison, step: Step) -> Step:
    """The step, about a credential that exists in its project where there is one."""
    names = [
        key[2] for key in comparison.model.resources if key[:2] == (step.project, "credential")
    ]
    return replace(step, name=names[0]) if names and step.name not in names else step


def _as_reader(comparison: Comparison, step: Step) -> Step:
    """The step, for most numbers by an application that the credential names, itself or for a
    person."""
    known = comparison.resource(step, "credential", step.name) or {}
    named = [reader for kind, reader in known.get("readers") or () if kind == "application"]
    for kind, reader in known.get("readers") or ():
        if kind == "runner" and (runner := comparison.resource(step, "runner", reader)):
            named += [runner["own"]] if runner["own"] else []
    if not named or step.number % 4 == 0:
        return step
    application = sorted(named)[step.number // 4 % len(named)]
    delegated = [one for one in DELEGATED if actor_of(one) == application]
    if delegated and step.number % 4 == 1:
        return replace(step, caller=delegated[step.number // 4 % len(delegated)])
    return replace(step, caller=application)


def _readers(step: Step) -> frozenset[tuple[str, Any]]:
    """Some of a role, a runner and an application; sometimes none."""
    application = application_of(step.number)
    choices = (("role", step.role), ("runner", step.name), ("application", application))
    return frozenset(choice for place, choice in enumerate(choices) if step.number >> place + 1 & 1)


def _as_json(comparison: Comparison, readers: frozenset[tuple[str, Any]]) -> list[dict[str, str]]:
    return [
        {"issuer": comparison.api.issuer(reader), "subject": reader[1]}
        if kind == "application"
        else {kind: reader}
        for kind, reader in sorted(readers)
    ]
