"""Two stacks in one account and region share nothing, whatever names their projects use.

Both have a project `apollo` with a client `scheduler`, a runner `nightly` and a credential
`github`, and both use the same Secrets Manager and the same issuer.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from byline.errors import Misconfigured
from tests.refresh.deployment import RealTime
from tests.refresh.world import new_world
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import metrics
from tests.runs.two_stacks import PROJECT, OneStack, started

type Lines = Callable[[], list[str]]

NAMES = [("prod", "stage"), ("prod", "prod-stage"), ("prod-stage", "prod")]
"""The names of the two stacks. In two of the pairs one name begins with the other."""

ONE_SLOT_SECONDS = 1800
"""The lifetime of tokens, long enough for a runner with one secret."""


@dataclass
class TwoStacks:
    """A stack, and one beside it in which everybody may begin a project."""

    prod: OneStack
    stage: OneStack


@pytest.fixture(params=NAMES, ids="-and-".join)
def stacks(request: pytest.FixtureRequest, web: Web, log_lines: Lines) -> Iterator[TwoStacks]:
    """Both stacks, with empty tables. At the end, no log line may contain a secret's text."""
    first, second = request.param
    anyone = {"PROJECT_CREATION": "anyone", "PROJECT_ADMINS": "grace"}
    with new_world(clock=RealTime(), lifetime=ONE_SLOT_SECONDS) as world, ExitStack() as exits:
        prod = exits.enter_context(started(first, world=world, web=web))
        stage = exits.enter_context(started(second, world=world, web=web, **anyone))
        yield TwoStacks(prod, stage)
        assert not world.aws.secrets.texts.occur_in(log_lines())


@pytest.fixture
def stranger(web: Web) -> Credential:
    """A person with no role in either stack."""
    return web.browser("stranger")


@pytest.fixture
def machine(web: Web) -> Credential:
    """The service account of a stranger's machine."""
    return web.bearer("machine", client="machine")


def test_stranger_of_one_stack_gets_no_token_of_the_others_client(
    stacks: TwoStacks, ada: Credential, stranger: Credential, machine: Credential
) -> None:
    """A project of the same name in another stack does not prove itself with the first one's
    client secret, although anybody may begin it."""
    prod, stage = stacks.prod, stacks.stage
    prod.give_client()
    prod.register_runner(ada)
    mints = prod.world.mints()
    assert mints == 1
    stage.api.create(stranger, project=PROJECT)
    assert stage.register_runner(stranger, subject="machine").status == 201
    answer = stage.call("GET", "runners/nightly/token", by=machine)
    assert (answer.status, answer.json["reason"]) == (503, "token_unavailable")
    shown = stage.call("GET", "runners/nightly", by=stranger).json
    assert shown["last_error"]["class"] == "client_secret_unusable"
    assert prod.world.mints() == mints
    assert stage.secret_names() == []


def test_runners_of_the_same_name_have_their_own_tokens(
    stacks: TwoStacks, ada: Credential, grace: Credential, gpu: Credential
) -> None:
    """Each stack mints with its own client secret, writes its own secret, and answers it."""
    tokens, ids = [], []
    for stack, admin in ((stacks.prod, ada), (stacks.stage, grace)):
        stack.give_client()
        shown = stack.register_runner(admin, subject="gpu").json
        assert shown["status"] == "waiting"
        shown = stack.call("GET", "runners/nightly", by=admin).json
        assert shown["secret_arn"].endswith(f":secret:{stack.secret_of(shown['token'])}")
        ids.append(shown["token"])
        tokens.append(stack.call("GET", "runners/nightly/token", by=gpu).json["token"])
    assert len(set(tokens)) == 2
    for stack, token, id_ in zip((stacks.prod, stacks.stage), tokens, ids, strict=True):
        written = stack.world.current(stack.secret_of(id_))
        assert written["token"] == token
        assert stack.secret_names() == [
            f"{stack.name}/clients/{PROJECT}/scheduler",
            stack.secret_of(id_),
        ]


def test_runner_deleted_in_one_stack_keeps_its_token_in_the_other(
    stacks: TwoStacks, ada: Credential, grace: Credential, gpu: Credential
) -> None:
    """The sweep after a deletion revokes and deletes only what its own stack has written."""
    for stack, admin in ((stacks.prod, ada), (stacks.stage, grace)):
        stack.give_client()
        stack.register_runner(admin, subject="gpu")
    before = stacks.prod.call("GET", "runners/nightly/token", by=gpu).json
    assert stacks.stage.call("DELETE", "runners/nightly", by=grace).status == 204
    stacks.stage.deliver()
    assert stacks.stage.secret_names() == [f"{stacks.stage.name}/clients/{PROJECT}/scheduler"]
    assert stacks.prod.call("GET", "runners/nightly/token", by=gpu).json == before
    assert before["token"] not in stacks.prod.world.issuer.revoked


@pytest.fixture
def reader(web: Web) -> Credential:
    """A service account that reads credentials, once it has the role."""
    return web.bearer("reader", client="reader")


def github_of(stack: OneStack, reader: Credential) -> str:
    """The token of the credential `github`, as its reader gets it."""
    answer = stack.call("GET", "credentials/github/token", by=reader)
    return str(answer.json["token"] if answer.status == 200 else answer.reason)


def test_credential_of_one_stack_is_not_changed_by_the_other(
    stacks: TwoStacks, ada: Credential, grace: Credential, reader: Credential
) -> None:
    """A put and a deletion under the same name in another stack change neither the secret's
    current value nor what a reader gets."""
    prod, stage = stacks.prod, stacks.stage
    name = f"{prod.name}/credentials/{PROJECT}/github"
    for stack, admin, token in ((prod, ada, "ghp_prod"), (stage, grace, "ghp_stage")):
        give_reader(stack, admin)
        body = {"provider": "github", "token": token}
        assert stack.call("PUT", "credentials/github", by=admin, document=body).status == 201
    assert [github_of(prod, reader), github_of(stage, reader)] == ["ghp_prod", "ghp_stage"]
    assert json.loads(prod.world.aws.secrets.current(name))["token"] == "ghp_prod"
    assert stage.call("DELETE", "credentials/github", by=grace).status == 204
    assert github_of(stage, reader) == "not_found"
    assert github_of(prod, reader) == "ghp_prod"
    assert prod.secret_names() == [name]


def give_reader(stack: OneStack, admin: Credential) -> None:
    """Assign the reader its role in the project, which begins with a run."""
    stack.api.create(admin, project=PROJECT)
    role = {"role": "credential:token-reader", "kind": "application", "subject": "reader"}
    answer = stack.call("PUT", "role-bindings", by=admin, document=role)
    assert answer.status in {200, 201}, answer.body


def test_tick_of_one_stack_is_no_metric_of_the_other(
    stacks: TwoStacks, web: Web, log_lines: Lines
) -> None:
    """The alarm on missing ticks selects by the stack's name, so ticks of another stack do not
    keep it quiet."""
    for stack in (stacks.stage, stacks.prod):
        log_lines()
        seen = len(log_lines())
        stack.refresh.tick()
        stack.call("GET", "runs", by=web.browser_token({"signer": "another"}, {"sub": "ada"}))
        written = log_lines()[seen:]
        documents = [json.loads(line) for line in written if '"_aws"' in line]
        assert metrics(written, "Ticks")
        assert metrics(written, "Rejected")
        assert {document["service"] for document in documents} == {stack.name}


@pytest.mark.parametrize(
    "prefix",
    ["", "prod/clients", "prod/", "/prod", "*", "pro?", "${x}", "é", "-a", "a" * 129, "a\n"],
)
def test_prefix_that_could_match_other_secrets_fails_the_cold_start(web: Web, prefix: str) -> None:
    """The error names the variable."""
    with (
        new_world(clock=RealTime()) as world,
        pytest.raises(Misconfigured, match="SECRET_PREFIX"),
        started("prod", world=world, web=web, SECRET_PREFIX=prefix),
    ):
        pass
