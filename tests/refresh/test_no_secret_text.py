"""Whatever fails, no secret text is in a log line, a metric, a message or a row.

Everything that may quote one does so here: issuers echo the client's secret, AWS's errors the value
that was sent, and tokens that were handed out are refused. Then all that was said is searched.
"""

import json
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
from tests.refresh.minting import LIMIT, failure_of, secret_of
from tests.refresh.test_store_faults import OF_OPERATIONS, OF_SECRETS
from tests.refresh.token_issuer import serve_issuer
from tests.refresh.world import CLIENT
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


@pytest.mark.parametrize("name", TROUBLES)
def test_detail_of_a_failing_issuer_is_a_sentence_of_our_own(name: str) -> None:
    """It says what happened, and quotes neither the client's secret nor the issuer's answer."""
    with serve_issuer(CLIENT) as issuer:
        issuer.respond["/token"] = TROUBLES[name].respond
        failure = failure_of(issuer, secret_of(issuer, CLIENT), timeout_seconds=LIMIT)
    assert failure.error_class == TROUBLES[name].error_class
    assert failure.detail[0].isupper()
    assert failure.detail.endswith(".")
    assert len(failure.detail.split()) > 4
    secrets = [CLIENT.secret, PROOF, REFUSED_TOKEN, "for ", "html", issuer.url]
    assert [secret for secret in secrets if secret in failure.detail] == []


def test_each_mistake_in_a_client_secret_is_told_by_row_and_log(
    deployment: Deployment, said: Said
) -> None:
    """Another sentence for each, which names the member and not its value, and where to look."""
    world = deployment.world
    issuer, secret = world.issuer.url, CLIENT.secret
    mistakes: dict[str, dict[str, Any]] = {
        "`scope`": {"scope": "runs"},
        "no `auth_method`": {"auth_method": ""},
        "character in `client_secret`": {"client_secret": f"{secret}\n"},
        "character in `token_endpoint`": {"token_endpoint": f"{issuer}/token "},
        f"'{issuer}/'": {"token_endpoint": "", "issuer": f"{issuer}/"},
        "`issuer`: write its value": {"token_endpoint": "", "issuer": f"{issuer}/{{tenantid}}"},
        "status 404": {"token_endpoint": "", "issuer": f"{issuer}/nothing-here"},
        "has no secret": {},
    }
    records = []
    for number, (named, changes) in enumerate(mistakes.items()):
        project = f"project-{number}"
        if named != "has no secret":
            world.give_client(project=project, **changes)
        records.append(message_of(world.register("nightly", project=project).work_unit))
    deployment.invoke(records)
    lines = said()
    details = set()
    for number, named in enumerate(mistakes):
        row = world.row("nightly", project=f"project-{number}")
        assert row is not None
        assert row.last_error is not None, named
        assert row.last_error.error_class != "issuer_unavailable"
        assert named in row.last_error.detail
        details.add(row.last_error.detail)
        logged = [json.loads(line) for line in lines if f'"project-{number}"' in line]
        assert row.last_error.detail in [line.get("detail") for line in logged]
    assert len(details) == len(mistakes)
    assert_no_secret_in_output(deployment, lines)


@pytest.mark.parametrize("operation", ["GetSecretValue", "PutSecretValue", "CreateSecret"])
def test_failing_secrets_manager_puts_no_secret_into_logs_or_rows(
    deployment: Deployment, said: Said, operation: str
) -> None:
    """One project for each of its errors."""
    meet(deployment, [(operation, fault) for fault in OF_SECRETS.values()])
    assert_no_secret_in_output(deployment, said())


def test_failing_table_puts_no_secret_into_logs_or_rows(deployment: Deployment, said: Said) -> None:
    """One project for each operation that is called while a worker holds a token."""
    meet(
        deployment,
        [(operation, INTERNAL_ERROR) for operation in OF_OPERATIONS if operation != "UpdateItem"],
    )
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
    """Refuse a call of each project's two tokens, with a message that quotes a secret."""
    world = deployment.world
    records = []
    refusals = [(operation, fault) for operation, fault in faults if isinstance(fault, Refusal)]
    for number, (operation, refusal) in enumerate(refusals):
        project = f"project-{number:02}"
        world.give_client(project=project)
        for row in world.register_all(["first", "second"], project=project):
            # The secret exists, so its creation is refused and a put follows: both are tried.
            for slot in range(2):
                world.aws.secrets.seed(world.secret(row, slot), "made by hand")
        records.append(message_of(row.work_unit))
        quoting = replace(refusal, message=f"{refusal.message}: {QUOTED}")
        world.aws.faults.follow(operation, afterwards=quoting, concerns=partial(_is_about, project))
    for some in batched(records, BATCH, strict=False):
        deployment.invoke(some)
    for operation, refusal in refusals:
        assert world.aws.count(operation, refusal.code), "there was no trouble"


def _is_about(project: str, call: Call) -> bool:
    return project in str(call.document)
