"""Operations on runs and their messages: the request, and the status that the model expects."""

from tests.access.comparison import ALL, PROJECTS, Comparison, Step
from tests.access.model import ANONYMOUS, actor_of

BEFORE = {
    "start": {"pending"},
    "finish": {"running"},
    "fail": {"pending", "running"},
    "cancel": {"pending", "running"},
}
AFTER = {"start": "running", "finish": "succeeded", "fail": "failed", "cancel": "cancelled"}


def create_run(comparison: Comparison, step: Step) -> None:
    """Create a run.

    Where anyone may create a project, the creator of its first run becomes its admin.
    """
    expected = comparison.expected(step, "create_run")
    creates_project = (
        comparison.anyone_creates
        and expected in {403, 404}
        and step.caller != ANONYMOUS
        and comparison.model.represented(step.caller, step.project)[0] is None
        and step.project not in comparison.existing_projects
    )
    created = 201 if creates_project or expected == 200 else expected
    answer = comparison.send(step, "POST", "runs", created, document={"runner": step.name})
    if created == 201:
        if creates_project:
            comparison.model.roles[step.project, step.caller].add("project:admin")
        run = answer.json["id"]
        comparison.runs.append(run)
        by = actor_of(step.caller)
        comparison.add(step, "run", run, by=by, runner=step.name, status="pending")
        comparison.check_on_behalf_of(step, answer.json["on_behalf_of"])
        comparison.check_actor(step, answer.json["executed_by"])


def read_run(comparison: Comparison, step: Step) -> None:
    """Read a run."""
    run = comparison.choose_run(step)
    comparison.send(step, "GET", f"runs/{run}", comparison.expected(step, "read_run", "run", run))


def list_runs(comparison: Comparison, step: Step) -> None:
    """List the runs of a project."""
    comparison.list_all(step, "run", "runs", by="id")


def list_created_runs(comparison: Comparison, step: Step) -> None:
    """List one subject's runs across projects; only runs that the caller may see are listed."""
    expected = 401 if step.caller == ANONYMOUS and not comparison.allows_anonymous else 200
    run = comparison.model.resources.get(
        (step.project, "run", comparison.choose_run(step)), {"by": step.other}
    )
    query = {**ALL, "created_by": run["by"][1] or "nobody"}
    answer = comparison.send(step, "GET", "/v1/runs", expected, query=query)
    if expected == 200:
        visible = {
            project
            for project in PROJECTS
            if comparison.model.may(step.caller, "read_run", project, {})
        }
        assert {run["id"] for run in answer.json["runs"]} == {
            name
            for (project, kind, name), run in comparison.model.resources.items()
            if kind == "run" and project in visible and run["by"][1] == query["created_by"]
        }, step


def change_run(comparison: Comparison, step: Step) -> None:
    """Start, finish, fail or cancel a run: 409 from a wrong state."""
    change, run = list(AFTER)[step.number % len(AFTER)], comparison.choose_run(step)
    expected = comparison.expected(step, f"{change}_run", "run", run)
    resource = comparison.resource(step, "run", run) or {}
    if expected == 200 and resource["status"] not in BEFORE[change]:
        expected = 409
    if comparison.send(step, "POST", f"runs/{run}/{change}", expected).status == 200:
        resource["status"] = AFTER[change]


def delete_run(comparison: Comparison, step: Step) -> None:
    """Delete a run."""
    run = comparison.choose_run(step)
    comparison.delete(step, "run", run, f"runs/{run}")


def read_messages(comparison: Comparison, step: Step) -> None:
    """Read the messages of a run."""
    expected = _expected_for_messages(comparison, step, "read_messages")
    comparison.send(step, "GET", f"runs/{comparison.choose_run(step)}/messages", expected)


def post_message(comparison: Comparison, step: Step) -> None:
    """Post a message as a user or as the runner."""
    role = "runner" if step.role.startswith("credential") else "user"
    expected = _expected_for_messages(comparison, step, f"post_{role}_message")
    created = 201 if expected == 200 else expected
    document = {"role": role, "content": "hello"}
    answer = comparison.send(
        step, "POST", f"runs/{comparison.choose_run(step)}/messages", created, document=document
    )
    if created == 201:
        if role == "runner":
            # What is a runner's own needs no person, also where it is registered for one.
            assert answer.json["on_behalf_of"] is None, step
        else:
            comparison.check_on_behalf_of(step, answer.json["on_behalf_of"])
        comparison.check_actor(step, answer.json["author"])


def _expected_for_messages(comparison: Comparison, step: Step, action: str) -> int:
    """The expected status: the runner of a run may see it without a role."""
    if step.caller == ANONYMOUS and not comparison.allows_anonymous:
        return 401
    run = comparison.resource(step, "run", comparison.choose_run(step))
    runner = run and comparison.resource(step, "runner", run["runner"])
    attributes = {"own": runner["own"]} if runner else {}
    if run is None:
        return 404
    if comparison.model.may(step.caller, action, step.project, attributes):
        return 200
    visibility = ("read_run", "read_messages")
    return (
        403
        if any(
            comparison.model.may(step.caller, one, step.project, attributes) for one in visibility
        )
        else 404
    )
