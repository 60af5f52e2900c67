"""AWS fails in any way at any call of a worker: no runner is lost, no token goes back."""

from collections.abc import Iterator

import pytest
from _pytest.mark.structures import ParameterSet
from botocore.session import get_session

from byline.refresh.token_rows import TokenRow
from refresh_tokens.errors import ERROR_CLASSES
from refresh_tokens.retries import BREAKER_RECHECK_SECONDS
from stand_ins.faults import Fault, Hang, LoseAnswer, Reset
from stand_ins.refusal import (
    ACCESS_DENIED,
    INTERNAL_ERROR,
    RATE_EXCEEDED,
    Refusal,
    transaction_cancelled,
)
from tests.refresh.troubles import (
    assert_all_recover,
    assert_neighbour_is_well,
    of_payments,
    prepared,
    work_in_trouble,
)
from tests.refresh.world import Worker, World, new_world

IMPATIENT_SECONDS = 0.5
"""How long a call waits where no answer may come. Elsewhere a slow machine has more time."""

ON_THE_WAY: dict[str, Fault] = {
    "answer lost": LoseAnswer(),
    "connection reset": Reset(),
    "no answer": Hang(),
}

OF_SECRETS: dict[str, Fault] = {
    "throttled": RATE_EXCEEDED,
    "internal error": INTERNAL_ERROR,
    "unavailable": Refusal("ServiceUnavailable", "failed", 503),
    "too many versions": Refusal("LimitExceededException", "You've reached the maximum"),
    "access denied": ACCESS_DENIED,
    "decryption failed": Refusal("DecryptionFailure", "KMS key is disabled"),
    "encryption failed": Refusal("EncryptionFailure", "KMS key is disabled"),
    "scheduled for deletion": Refusal("InvalidRequestException", "is scheduled for deletion"),
    "invalid parameter": Refusal("InvalidParameterException", "not valid"),
    "not found": Refusal("ResourceNotFoundException", "can't find the specified secret"),
    "exists": Refusal("ResourceExistsException", "already exists"),
    "precondition": Refusal("PreconditionNotMetException", "missing prerequisite"),
    "policy": Refusal("MalformedPolicyDocumentException", "syntax errors"),
    "not known": Refusal("SomethingNewException", "an unknown error"),
    **ON_THE_WAY,
}

OF_THE_TABLE: dict[str, Fault] = {
    "throttled": Refusal("ProvisionedThroughputExceededException", "exceeded"),
    "index throttled": Refusal("ThrottlingException", "exceeded"),
    "account throttled": Refusal("RequestLimitExceeded", "exceeded"),
    "internal error": Refusal("InternalServerError", "failed", 500),
    "unavailable": Refusal("ServiceUnavailable", "failed", 503),
    "access denied": ACCESS_DENIED,
    "not valid": Refusal("ValidationException", "not valid"),
    "conflict": Refusal("TransactionConflictException", "a transaction is under way"),
    "no table": Refusal("ResourceNotFoundException", "Requested resource not found"),
    **ON_THE_WAY,
}

OF_WRITES: dict[str, Fault] = {
    "condition failed": Refusal("ConditionalCheckFailedException", "condition failed"),
    "collection full": Refusal("ItemCollectionSizeLimitExceededException", "exceeded"),
    "replica in the way": Refusal("ReplicatedWriteConflictException", "being modified"),
}

OF_TRANSACTIONS: dict[str, Fault] = {
    "a condition failed": transaction_cancelled("ConditionalCheckFailed", "None"),
    "two conflicted": transaction_cancelled("TransactionConflict", "TransactionConflict"),
    "throttled inside": transaction_cancelled("ThrottlingError", "None"),
    "in progress": Refusal("TransactionInProgressException", "still at it"),
    "token reused": Refusal("IdempotentParameterMismatchException", "another request"),
}

OF_OPERATIONS: dict[str, dict[str, Fault]] = {
    **dict.fromkeys(("GetItem", "Query", "BatchGetItem"), OF_THE_TABLE),
    **dict.fromkeys(("PutItem", "UpdateItem", "DeleteItem"), OF_THE_TABLE | OF_WRITES),
    "TransactWriteItems": OF_THE_TABLE | OF_TRANSACTIONS,
}
ALIKE = frozenset(
    {
        *("unavailable", "decryption failed", "encryption failed", "invalid parameter"),
        *("precondition", "policy", "not known", "index throttled", "account throttled"),
        *("not valid", "no table", "collection full", "replica in the way", "token reused"),
        "connection reset",
    }
)
"""Faults that the code does not tell from another one of the same operation."""

SECRET_OPERATIONS = ("GetSecretValue", "PutSecretValue", "CreateSecret", "DeleteSecret")


def case(operation: str, fault: str) -> ParameterSet:
    """A fault of an operation; an exhaustive case if the code does not tell it from others."""
    marks = [pytest.mark.exhaustive] if fault in ALIKE else []
    return pytest.param(operation, fault, marks=marks)


def worker_that_meets(world: World, trouble: Fault) -> Worker:
    """A worker that does not wait long for an answer that never comes."""
    if isinstance(trouble, Hang):
        return world.worker(read_timeout=IMPATIENT_SECONDS)
    return world.worker()


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


@pytest.fixture
def row(world: World) -> TokenRow:
    return prepared(world)


@pytest.mark.parametrize(
    ("service", "operation", "faults"),
    [
        *(("secretsmanager", operation, OF_SECRETS) for operation in SECRET_OPERATIONS),
        *(("dynamodb", operation, faults) for operation, faults in OF_OPERATIONS.items()),
    ],
)
def test_every_error_in_the_model_of_aws_is_tried(
    service: str, operation: str, faults: dict[str, Fault]
) -> None:
    """The faults of this module cover all errors of each operation."""
    model = get_session().get_service_model(service).operation_model(operation)
    tried = {fault.code for fault in faults.values() if isinstance(fault, Refusal)}
    assert {error.name for error in model.error_shapes} <= tried


@pytest.mark.parametrize(
    ("operation", "fault"),
    [case(operation, fault) for operation in SECRET_OPERATIONS for fault in OF_SECRETS],
)
def test_failing_secrets_manager_loses_no_runner_and_no_token(
    world: World, row: TokenRow, operation: str, fault: str
) -> None:
    """Rows stay due, tokens stay, calls are bounded; afterwards all are refreshed."""
    world.aws.faults.follow(operation, afterwards=OF_SECRETS[fault], concerns=of_payments)
    worker = worker_that_meets(world, OF_SECRETS[fault])
    seen = work_in_trouble(world, worker, row, operation)
    assert seen.most_calls > 0, "there was no trouble"
    assert seen.error_classes <= ERROR_CLASSES
    assert_neighbour_is_well(world, worker)
    # A missing client secret has to be created by an operator, so it is read less often.
    is_missing = (operation, fault) == ("GetSecretValue", "not found")
    assert_all_recover(world, row, after=BREAKER_RECHECK_SECONDS if is_missing else 0)


@pytest.mark.parametrize(
    ("operation", "fault"),
    [case(operation, fault) for operation, faults in OF_OPERATIONS.items() for fault in faults],
)
def test_failing_table_loses_no_runner_and_no_token(
    world: World, row: TokenRow, operation: str, fault: str
) -> None:
    """At each call of DynamoDB: lease, read, commit, release."""
    trouble = OF_OPERATIONS[operation][fault]
    world.aws.faults.follow(operation, afterwards=trouble, concerns=of_payments)
    worker = worker_that_meets(world, trouble)
    seen = work_in_trouble(world, worker, row, operation)
    assert seen.most_calls > 0, "there was no trouble"
    assert_neighbour_is_well(world, worker)
    assert_all_recover(world, row)
