"""Operations on runs and what is said in them: the request, and what the model expects of it."""

from tests.access.model import NOBODY
from tests.access.play import ALL, PROJECTS, Play, Step

BEFORE = {
    "start": {"pending"},
    "finish": {"running"},
    "fail": {"pending", "running"},
    "cancel": {"pending", "running"},
}
AFTER = {"start": "running", "finish": "succeeded", "fail": "failed", "cancel": "cancelled"}


def create_run(play: Play, step: Step) -> None:
    expected = play.expected(step, "create_run")
    begins = (
        play.anyone
        and expected in {403, 404}
        and step.who != NOBODY
        and step.who not in play.model.acts_for
        and step.project not in play.begun
    )
    created = 201 if begins or expected == 200 else expected
    answer = play.send(step, "POST", "runs", created, document={"runner": step.name})
    if created == 201:
        if begins:
            play.model.roles[step.project, step.who].add("project:admin")
        run = answer.json["id"]
        play.runs.append(run)
        play.make(step, "run", run, by=step.who, runner=step.name, status="pending")
        play.is_for(step, answer.json["on_behalf_of"])


def read_run(play: Play, step: Step) -> None:
    run = play.run(step)
    play.send(step, "GET", f"runs/{run}", play.expected(step, "read_run", "run", run))


def list_runs(play: Play, step: Step) -> None:
    play.show_all(step, "run", "runs", by="id")


def list_created_runs(play: Play, step: Step) -> None:
    """Lists one subject's runs across projects; only runs that the caller may see are listed."""
    expected = 401 if step.who == NOBODY and not play.is_open else 200
    run = play.model.things.get((step.project, "run", play.run(step)), {"by": step.other})
    query = {**ALL, "created_by": run["by"][1] or "nobody"}
    answer = play.send(step, "GET", "/v1/runs", expected, query=query)
    if expected == 200:
        seen = {place for place in PROJECTS if play.model.may(step.who, "read_run", place, {})}
        assert {run["id"] for run in answer.json["runs"]} == {
            name
            for (project, kind, name), run in play.model.things.items()
            if kind == "run" and project in seen and run["by"][1] == query["created_by"]
        }, step


def change_run(play: Play, step: Step) -> None:
    change, run = list(AFTER)[step.number % len(AFTER)], play.run(step)
    expected = play.expected(step, f"{change}_run", "run", run)
    thing = play.thing(step, "run", run) or {}
    if expected == 200 and thing["status"] not in BEFORE[change]:
        expected = 409
    if play.send(step, "POST", f"runs/{run}/{change}", expected).status == 200:
        thing["status"] = AFTER[change]


def delete_run(play: Play, step: Step) -> None:
    run = play.run(step)
    play.delete(step, "run", run, f"runs/{run}")


def read_messages(play: Play, step: Step) -> None:
    expected = _about_messages(play, step, "read_messages")
    play.send(step, "GET", f"runs/{play.run(step)}/messages", expected)


def post_message(play: Play, step: Step) -> None:
    role = "runner" if step.role.startswith("credential") else "user"
    expected = _about_messages(play, step, f"post_{role}_message")
    created = 201 if expected == 200 else expected
    document = {"role": role, "content": "hello"}
    answer = play.send(step, "POST", f"runs/{play.run(step)}/messages", created, document=document)
    if created == 201:
        play.is_for(step, answer.json["on_behalf_of"])


def _about_messages(play: Play, step: Step, action: str) -> int:
    """A caller that may read a run's messages may know of the run, and so may its runner."""
    if step.who == NOBODY and not play.is_open:
        return 401
    run = play.thing(step, "run", play.run(step))
    runner = run and play.thing(step, "runner", run["runner"])
    itself = {"own": runner["own"]} if runner else {}
    if run is None:
        return 404
    if play.model.may(step.who, action, step.project, itself):
        return 200
    knows = ("read_run", "read_messages")
    return 403 if any(play.model.may(step.who, one, step.project, itself) for one in knows) else 404
