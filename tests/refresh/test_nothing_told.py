"""Whatever fails, no secret is told: not in a log line, a metric, a message or a row.

Everything that may quote one does so here: issuers echo the client's secret, AWS's errors the value
that was sent, and tokens that were handed out are refused. Then all that was said is searched.
"""

from base64 import b64encode
from dataclasses import replace
from functools import partial
from itertools import batched

import pytest

from byline.refresh.work_units import token_secret_name
from stand_ins.faults import Call, Fault
from stand_ins.refusal import INTERNAL_ERROR, Refusal
from tests.refresh.conftest import Said
from tests.refresh.deployment import BATCH, Deployment, message_of
from tests.refresh.issuer_troubles import REFUSED_TOKEN, TROUBLES
from tests.refresh.test_store_faults import OF_OPERATIONS, OF_SECRETS
from tests.refresh.world import CLIENT

QUOTED = "t0ken-that-an-error-quotes"

PROOF = b64encode(f"{CLIENT.client_id}:{CLIENT.secret}".encode()).decode()
"""What `client_secret_basic` puts into a header."""


def assert_nothing_told(deployment: Deployment, lines: list[str]) -> None:
    """No secret in logs and metrics, in any call's other members, or in any row."""
    world = deployment.world
    secrets = [CLIENT.secret, PROOF, QUOTED, REFUSED_TOKEN, "opaque-token-"]
    outside = [call.document for call in world.aws.calls if call.service != "secretsmanager"]
    assert outside
    told = "\n".join([*lines, str(outside), str(world.rows())])
    assert [secret for secret in secrets if secret in told] == []
    assert world.aws.leaks() == []
    assert not world.aws.secrets.texts.occur_in(told)


def test_issuers_that_fail_make_nobody_tell(deployment: Deployment, said: Said) -> None:
    """One project for each way in which an issuer can fail."""
    world = deployment.world
    records = []
    for number, trouble in enumerate(TROUBLES.values()):
        project, path = f"project-{number}", f"/trouble-{number}"
        world.issuer.respond[path] = trouble.respond
        world.give_client(project=project, token_endpoint=f"{world.issuer.url}{path}")
        records.append(message_of(world.register("nightly", project=project).work_unit))
    for some in batched(records, BATCH, strict=False):
        assert deployment.invoke(some) == []
    for number, (name, trouble) in enumerate(TROUBLES.items()):
        row = world.row("nightly", project=f"project-{number}")
        assert row is not None
        assert row.last_error is not None, name
        assert row.last_error.error_class == trouble.error_class
    assert_nothing_told(deployment, said())


@pytest.mark.parametrize("operation", ["GetSecretValue", "PutSecretValue", "CreateSecret"])
def test_secrets_manager_that_fails_makes_nobody_tell(
    deployment: Deployment, said: Said, operation: str
) -> None:
    """One project for each of its errors."""
    meet(deployment, [(operation, fault) for fault in OF_SECRETS.values()])
    assert_nothing_told(deployment, said())


def test_table_that_fails_makes_nobody_tell(deployment: Deployment, said: Said) -> None:
    """One project for each operation, in the course of which a token is in the worker's hands."""
    meet(deployment, [(operation, INTERNAL_ERROR) for operation in OF_OPERATIONS])
    assert_nothing_told(deployment, said())


def meet(deployment: Deployment, faults: list[tuple[str, Fault]]) -> None:
    """Let a project's two runners meet each refusal, in words that quote a secret."""
    world = deployment.world
    records = []
    refusals = [(operation, fault) for operation, fault in faults if isinstance(fault, Refusal)]
    for number, (operation, refusal) in enumerate(refusals):
        project = f"project-{number:02}"
        world.give_client(project=project)
        for runner in ("first", "second"):
            # A secret that is there already is put after its creation is refused: both are tried.
            for slot in range(2):
                world.aws.secrets.seed(token_secret_name(project, runner, slot), "made by hand")
            row = world.register(runner, project=project)
        records.append(message_of(row.work_unit))
        quoting = replace(refusal, message=f"{refusal.message}: {QUOTED}")
        world.aws.faults.follow(operation, afterwards=quoting, concerns=partial(_is_about, project))
    for some in batched(records, BATCH, strict=False):
        deployment.invoke(some)
    for operation, refusal in refusals:
        assert world.aws.count(operation, refusal.code), "there was no trouble"


def _is_about(project: str, call: Call) -> bool:
    return project in str(call.document)
