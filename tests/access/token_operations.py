"""Operations on runners and credentials, and on the tokens of both."""

from tests.access.model import NOBODY
from tests.access.play import APPLICATIONS, SECRET, Play, Step


def register_runner(play: Play, step: Step) -> None:
    """The same once more is a restart, which the runner may do by itself; a change it may not."""
    subject = APPLICATIONS[step.number % 3]
    before = play.thing(step, "runner", step.name)
    # A subject is one of the issuer of whoever registers it first, and nobody has none.
    own = None if step.who == NOBODY else subject
    if before is not None and before["subject"][1] == subject[1]:
        own = before["own"] or own
    known = {"subject": subject, "own": own}
    action = "restart_runner" if before == known else "register_runner"
    expected = play.expected(step, action, "runner", step.name, makes=True)
    expected = 201 if expected == 200 and before is None else expected
    document = {"client": "scheduler", "subject": subject[1]}
    play.send(step, "PUT", f"runners/{step.name}", expected, document=document)
    if expected in {200, 201}:
        play.make(step, "runner", step.name, **known)


def list_runners(play: Play, step: Step) -> None:
    play.show_all(step, "runner", "runners", by="name")


def read_runner(play: Play, step: Step) -> None:
    expected = play.expected(step, "read_runner", "runner", step.name)
    play.send(step, "GET", f"runners/{step.name}", expected)


def delete_runner(play: Play, step: Step) -> None:
    play.delete(step, "runner", step.name, f"runners/{step.name}")


def read_runner_token(play: Play, step: Step) -> None:
    """Nobody mints here: whoever may have the token is told that there is none."""
    expected = play.expected(step, "read_runner_token", "runner", step.name)
    told = 503 if expected == 200 else expected
    play.send(step, "GET", f"runners/{step.name}/token", told)


def write_credential(play: Play, step: Step) -> None:
    before = play.thing(step, "credential", step.name)
    expected = play.expected(step, "write_credential", "credential", step.name, makes=True)
    expected = 201 if expected == 200 and before is None else expected
    document = {"provider": "github", "token": f"{SECRET}-{step.number}"}
    play.send(step, "PUT", f"credentials/{step.name}", expected, document=document)
    if expected in {200, 201}:
        play.make(step, "credential", step.name, token=document["token"])


def list_credentials(play: Play, step: Step) -> None:
    play.show_all(step, "credential", "credentials", by="name")


def read_credential(play: Play, step: Step) -> None:
    expected = play.expected(step, "read_credential", "credential", step.name)
    play.send(step, "GET", f"credentials/{step.name}", expected)


def delete_credential(play: Play, step: Step) -> None:
    play.delete(step, "credential", step.name, f"credentials/{step.name}")


def read_credential_token(play: Play, step: Step) -> None:
    """The token that was written last."""
    expected = play.expected(step, "read_credential_token", "credential", step.name)
    answer = play.send(step, "GET", f"credentials/{step.name}/token", expected)
    if expected == 200:
        credential = play.thing(step, "credential", step.name)
        assert credential is not None
        assert answer.json["token"] == credential["token"]
