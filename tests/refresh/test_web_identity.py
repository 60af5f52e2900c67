"""`aws_web_identity`: a client proves itself with a JWT of AWS, and its record holds no secret."""

import json
from functools import partial
from typing import Any

import jwt
import pytest

from refresh_tokens.client_secrets import read_client_secret
from refresh_tokens.errors import RefreshFailed
from stand_ins.listener import HttpAnswer
from stand_ins.security_token_service import SUBJECT
from tests.refresh.conftest import Said
from tests.refresh.deployment import Deployment, message_of
from tests.refresh.minting import KEY, minting
from tests.refresh.token_issuer import RegisteredClient
from tests.refresh.world import World

AUDIENCE = "api://AzureADTokenExchange"
CLIENT = RegisteredClient("federated", "aws_web_identity", SUBJECT)


def federated(world: World, **changes: str) -> dict[str, str]:
    """The record of a client whose issuer trusts the account's JWTs for `AUDIENCE`."""
    world.issuer.clients.append(CLIENT)
    world.issuer.federated = partial(world.aws.sts.verified, audience=AUDIENCE)
    return {
        "token_endpoint": f"{world.issuer.url}/token",
        "client_id": CLIENT.client_id,
        "auth_method": "aws_web_identity",
        "assertion_audience": AUDIENCE,
        **changes,
    }


@pytest.fixture
def world(deployment: Deployment) -> World:
    """The functions' AWS clients call its stand-ins."""
    return deployment.world


def failure_of(world: World, **changes: str) -> RefreshFailed:
    record = federated(world, **changes)
    with pytest.raises(RefreshFailed) as failed:
        minting().mint(KEY, read_client_secret(json.dumps(record)))
    assert failed.value.__context__ is None or failed.value.__suppress_context__
    return failed.value


def test_runner_gets_a_token_and_no_secret_is_stored(deployment: Deployment, said: Said) -> None:
    """From a message to the token in Secrets Manager; the JWT is in no log, row or queue."""
    world = deployment.world
    record = federated(world)
    assert not record.keys() & {"client_secret", "private_key_pem"}
    world.aws.secrets.seed(world.names.client("payments", "scheduler"), json.dumps(record))
    row = world.register("nightly")
    assert deployment.invoke([message_of(row.work_unit)]) == []
    after = world.row("nightly")
    assert after is not None
    assert world.token(after)["generation"] == after.generation
    said()


@pytest.mark.parametrize("algorithm", ["RS256", "ES384"])
def test_jwt_is_asked_for_as_the_record_says(world: World, algorithm: str) -> None:
    """One audience, the shortest life, and the algorithm; a new JWT for each token request."""
    record = federated(world, assertion_algorithm=algorithm)
    client = read_client_secret(json.dumps(record))
    for _ in range(2):
        minting().mint(KEY, client)
    calls = [call.document for call in world.aws.calls if call.service == "sts"]
    assert len(calls) == 2
    for call in calls:
        members = {name: call[name] for name in ("DurationSeconds", "SigningAlgorithm")}
        assert members == {"DurationSeconds": "60", "SigningAlgorithm": algorithm}
        assert [value for name, value in call.items() if "Audience" in name] == [AUDIENCE]
    sent = [request.form["client_assertion"] for request in world.issuer.received]
    assert len(set(sent)) == 2
    assert jwt.get_unverified_header(sent[0])["alg"] == algorithm


def test_audience_is_the_issuer_by_default(world: World) -> None:
    """As for other assertions."""
    record = federated(world, assertion_audience="", token_endpoint="", issuer=world.issuer.url)
    world.issuer.federated = partial(world.aws.sts.verified, audience=world.issuer.url)
    minting().mint(KEY, read_client_secret(json.dumps(record)))


def test_jwt_for_another_audience_is_refused_by_the_issuer(world: World) -> None:
    """The test's issuer verifies signature, audience, time and subject."""
    assert failure_of(world, assertion_audience="another").error_class == "invalid_client"


def test_audience_that_the_policy_does_not_name_is_refused_with_the_parameter(world: World) -> None:
    """The operator learns which parameter of the stack to change, and the issuer is not asked."""
    world.aws.sts.audiences = frozenset({"another"})
    failure = failure_of(world)
    assert failure.error_class == "client_secret_unusable"
    assert "WebIdentityAudiences" in failure.detail
    assert not world.issuer.received


def test_account_without_federation_is_named(world: World) -> None:
    """An administrator must switch it on once for the account."""
    world.aws.sts.is_on = False
    failure = failure_of(world)
    assert failure.error_class == "client_secret_unusable"
    assert "outbound identity federation" in failure.detail


def test_outage_of_sts_passes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is not taken for a refused one."""
    outage = HttpAnswer(503, {"Content-Type": "text/xml"}, b"")
    monkeypatch.setattr(world.aws.sts, "answer", lambda _: outage)
    assert failure_of(world).error_class == "issuer_unavailable"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"client_secret": "S3CRET"}, "`client_secret`"),
        ({"private_key_pem": "S3CRET"}, "`private_key_pem`"),
        ({"key_id": "key-1"}, "`key_id`"),
        ({"assertion_algorithm": "ES256"}, "`assertion_algorithm`"),
    ],
)
def test_member_that_the_method_does_not_have_is_refused(
    world: World, changes: dict[str, Any], named: str
) -> None:
    """A record with a secret has another method in mind."""
    failure = failure_of(world, **changes)
    assert failure.error_class == "client_secret_unusable"
    assert named in failure.detail
    assert "S3CRET" not in failure.detail
