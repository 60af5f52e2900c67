"""Whatever fails, no secret text is in a log line, a metric, a message or a row.

Everything that may quote one does so here: issuers echo the client's secret, AWS's errors the value
that was sent, and tokens that were handed out are refused. Then all that was said is searched.
"""

import logging
from base64 import b64encode
from copy import replace
from functools import partial
from itertools import batched
from typing import Any, cast

import pytest

from stand_ins.faults import Call, Fault
from stand_ins.refusal import INTERNAL_ERROR, Refusal
from tests.refresh.conftest import Said
from tests.refresh.deployment import BATCH, Deployment, message_of
from tests.refresh.issuer_troubles import REFUSED_TOKEN, TROUBLES
from tests.refresh.test_store_faults import OF_OPERATIONS, OF_SECRETS
from tests.refresh.world import CLIENT, SECRETS
from tests.runs.runs_api import StandardOutput

QUOTED = "t0ken-that-an-error-quotes"

PROOF = b64encode(f"{CLIENT.client_id}:{CLIENT.secret}".encode()).decode()
"""What `client_secret_basic` puts into a header."""


def assert_no_secret_in_output(deployment: Deployment, lines: list[str]) -> None:
    """No secret is in logs, metrics, rows, or members of calls that are not for it."""
    world = deployment.world
    secrets = [CLIENT.secret, PROOF, QUOTED, REFUSED_TOKEN, "opaque-token-"]
    outside = [call.document for call in world.aws.calls if call.service != "secretsmanager"]
    assert outside
    output = "\n".join([*lines, str(outside), str(world.rows())])
    assert [secret for secret in secrets if secret in output] == []
    assert world.aws.leaks() == []
    assert not world.aws.secrets.texts.occur_in(output)


def test_failing_issuers_put_no_secret_into_logs_or_rows(
    deployment: Deployment, said: Said
) -> None:
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
    assert_no_secret_in_output(deployment, said())


@pytest.mark.parametrize("operation", ["GetSecretValue", "PutSecretValue", "CreateSecret"])
def test_failing_secrets_manager_puts_no_secret_into_logs_or_rows(
    deployment: Deployment, said: Said, operation: str
) -> None:
    """One project for each of its errors."""
    meet(deployment, [(operation, fault) for fault in OF_SECRETS.values()])
    assert_no_secret_in_output(deployment, said())


def test_failing_table_puts_no_secret_into_logs_or_rows(deployment: Deployment, said: Said) -> None:
    """One project for each operation that is called while a worker holds a token."""
    meet(deployment, [(operation, INTERNAL_ERROR) for operation in OF_OPERATIONS])
    assert_no_secret_in_output(deployment, said())


def test_debug_level_of_the_function_puts_no_secret_into_logs(
    deployment: Deployment, said: Said
) -> None:
    """Lambda's ApplicationLogLevel is the root logger's level; DEBUG shows no token either."""
    root = logging.getLogger()
    handler = logging.StreamHandler(cast(Any, StandardOutput()))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        records = [message_of(deployment.world.register("nightly").work_unit)]
        assert deployment.invoke(records) == []
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert deployment.world.aws.count("PutSecretValue", "done") + deployment.world.aws.count(
        "CreateSecret", "done"
    )
    assert_no_secret_in_output(deployment, said())


def meet(deployment: Deployment, faults: list[tuple[str, Fault]]) -> None:
    """Refuse a call of each project's two runners, with a message that quotes a secret."""
    world = deployment.world
    records = []
    refusals = [(operation, fault) for operation, fault in faults if isinstance(fault, Refusal)]
    for number, (operation, refusal) in enumerate(refusals):
        project = f"project-{number:02}"
        world.give_client(project=project)
        for runner in ("first", "second"):
            # The secret exists, so its creation is refused and a put follows: both are tried.
            for slot in range(2):
                world.aws.secrets.seed(SECRETS.token(project, runner, slot), "made by hand")
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
