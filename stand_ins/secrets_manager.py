"""AWS Secrets Manager with the limits that moto does not enforce.

moto has no version quota, no request rates, no size limit and no asynchronous deletion. It lets a
caller write or create a deleted secret, uses the machine's clock, can label two versions
`AWSCURRENT`, and answers 404 where AWS answers 400. These faults are in moto's state, so no
operation can be forwarded to it. This module implements the operations that Byline may use, and a
test compares it with moto where moto is faithful.

It refuses rotation, replication, tags, policies, filters and `ListSecrets`. The list may lag by
five minutes, so no function may depend on it.
"""

import time
from typing import Any, Protocol

from stand_ins.rates import Rates
from stand_ins.refusal import Refused
from stand_ins.secret_requests import (
    Document,
    has_value,
    name_of,
    recovery_days,
    version_of,
)
from stand_ins.secret_state import (
    CURRENT,
    Secret,
    Version,
    restored,
    usable,
    version_exists,
    with_label,
)
from stand_ins.secret_store import DAY_SECONDS, SecretStore

type Answer = dict[str, Any]


class Operation(Protocol):
    """An operation of the API: returns the answer's JSON, or raises `Refused`."""

    def __call__(self, document: Document, *, store: SecretStore) -> Answer: ...


class SecretsManager:
    """The service in front of a store. Thread-safe."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store
        self._rates = Rates(store.behaviour.quotas)

    def answer(self, operation: str, document: Document) -> Answer:
        """The answer to one call. Raises `Refused` with the error that AWS would answer."""
        if operation not in OPERATIONS:
            raise Refused("UnknownOperationException", f"{operation} is not modelled")
        if self._store.behaviour.latency:
            time.sleep(self._store.behaviour.latency)
        with self._store.lock:
            self._rates.count(operation, now=self._store.now())
            return OPERATIONS[operation](document, store=self._store)


def create_secret(document: Document, *, store: SecretStore) -> Answer:
    """Create a secret. A repetition of the same call changes nothing."""
    name = name_of(document)
    version = version_of(document, now=store.now()) if has_value(document) else None
    secret = store.find(name)
    if secret is not None and secret.deletion is not None:
        message = (
            "You can't create this secret because a secret with this name is already scheduled "
            "for deletion."
        )
        raise Refused("InvalidRequestException", message)
    if secret is not None and (version is None or version.id not in secret.versions):
        message = f"The operation failed because the secret {name} already exists."
        raise Refused("ResourceExistsException", message)
    secret = secret or store.create(name)
    if version is not None:
        secret = store.put(secret, version)
    return _named(secret, version)


def put_secret_value(document: Document, *, store: SecretStore) -> Answer:
    """Add a version. A repetition with the same token and value changes nothing."""
    secret = usable(_found(document, store=store))
    version = version_of(document, now=store.now())
    labels = tuple(document.get("VersionStages", (CURRENT,)))
    secret = store.put(secret, version, labels)
    return {**_named(secret, version), "VersionStages": secret.labels_of(version.id)}


def update_secret(document: Document, *, store: SecretStore) -> Answer:
    """Add a version. Unlike a put, it refuses a token that was used before."""
    secret = usable(_found(document, store=store))
    if not has_value(document):
        return _named(secret)
    version = version_of(document, now=store.now())
    if version.id in secret.versions:
        raise version_exists(secret, version.id)
    return _named(store.put(secret, version), version)


def update_secret_version_stage(document: Document, *, store: SecretStore) -> Answer:
    """Move a label from one version to another, or remove it."""
    secret = with_label(
        usable(_found(document, store=store)),
        document["VersionStage"],
        remove_from=document.get("RemoveFromVersionId"),
        move_to=document.get("MoveToVersionId"),
        now=store.now(),
    )
    return _named(store.keep(secret))


def get_secret_value(document: Document, *, store: SecretStore) -> Answer:
    """Read a version by its id or its label, or the current one without either."""
    secret = usable(_read(document, store=store))
    version_id: str | None = document.get("VersionId")
    label: str = document.get("VersionStage") or CURRENT
    version = secret.versions.get(version_id or secret.labels.get(label, ""))
    if version is None:
        which = f"VersionId: {version_id}" if version_id else f"staging label: {label}"
        message = f"Secrets Manager can't find the specified secret value for {which}"
        raise Refused("ResourceNotFoundException", message)
    if document.get("VersionStage") and label not in secret.labels_of(version.id):
        message = "You provided a VersionStage that is not associated to the provided VersionId."
        raise Refused("InvalidRequestException", message)
    return {
        **_named(secret, version),
        **version.content,
        "VersionStages": secret.labels_of(version.id),
        "CreatedDate": version.created_at,
    }


def batch_get_secret_value(document: Document, *, store: SecretStore) -> Answer:
    """Read the current versions of up to 20 secrets. Failures are listed in `Errors`."""
    secret_ids = document.get("SecretIdList", ())
    if not 1 <= len(secret_ids) <= 20:
        raise Refused("InvalidParameterException", "SecretIdList must have 1 to 20 members.")
    answer: Answer = {"SecretValues": [], "Errors": []}
    for secret_id in secret_ids:
        try:
            answer["SecretValues"].append(get_secret_value({"SecretId": secret_id}, store=store))
        except Refused as refused:
            error = {"ErrorCode": refused.refusal.code, "Message": refused.refusal.message}
            answer["Errors"].append({"SecretId": secret_id, **error})
    return answer


def describe_secret(document: Document, *, store: SecretStore) -> Answer:
    """Describe a secret without its value. Works for a deleted secret until it is gone."""
    secret = _read(document, store=store)
    stages = {version_id: secret.labels_of(version_id) for version_id in secret.labels.values()}
    deleted = {"DeletedDate": secret.deletion.gone_at} if secret.deletion else {}
    return {
        **_named(secret),
        "CreatedDate": secret.created_at,
        "LastChangedDate": secret.changed_at,
        "VersionIdsToStages": stages,
        **deleted,
    }


def list_secret_version_ids(document: Document, *, store: SecretStore) -> Answer:
    """List the versions with a label, or all versions with `IncludeDeprecated`."""
    secret = _read(document, store=store)
    wanted = secret.versions if document.get("IncludeDeprecated") else secret.labels.values()
    versions = [
        {
            "VersionId": version.id,
            "VersionStages": secret.labels_of(version.id),
            "CreatedDate": version.created_at,
        }
        for version in secret.versions.values()
        if version.id in wanted
    ]
    return {**_named(secret), "Versions": versions}


def delete_secret(document: Document, *, store: SecretStore) -> Answer:
    """Delete a secret after a recovery window, or without one, in the background.

    A forced deletion never fails: "if you forcibly delete an already deleted or nonexistent secret,
    the operation does not return ResourceNotFoundException".
    """
    days = recovery_days(document)
    if days:
        secret, gone_at = usable(_found(document, store=store)), store.now() + days * DAY_SECONDS
        store.delete(secret, gone_at=gone_at, recoverable=True)
        return {**_named(secret), "DeletionDate": gone_at}
    found = store.find(document["SecretId"])
    if found is None:
        return {"Name": document["SecretId"], "DeletionDate": store.now()}
    if found.deletion is None or found.deletion.recoverable:
        gone_at = store.now() + store.behaviour.forced_deletion_takes
        store.delete(found, gone_at=gone_at, recoverable=False)
    return {**_named(found), "DeletionDate": store.now()}


def restore_secret(document: Document, *, store: SecretStore) -> Answer:
    """Undo a deletion with a recovery window."""
    return _named(store.keep(restored(_found(document, store=store))))


OPERATIONS: dict[str, Operation] = {
    "BatchGetSecretValue": batch_get_secret_value,
    "CreateSecret": create_secret,
    "DeleteSecret": delete_secret,
    "DescribeSecret": describe_secret,
    "GetSecretValue": get_secret_value,
    "ListSecretVersionIds": list_secret_version_ids,
    "PutSecretValue": put_secret_value,
    "RestoreSecret": restore_secret,
    "UpdateSecret": update_secret,
    "UpdateSecretVersionStage": update_secret_version_stage,
}


def _found(document: Document, *, store: SecretStore) -> Secret:
    return _present(store.find(document["SecretId"]))


def _read(document: Document, *, store: SecretStore) -> Secret:
    return _present(store.read(document["SecretId"]))


def _present(secret: Secret | None) -> Secret:
    if secret is None:
        message = "Secrets Manager can't find the specified secret."
        raise Refused("ResourceNotFoundException", message)
    return secret


def _named(secret: Secret, version: Version | None = None) -> Answer:
    named = {"ARN": secret.arn, "Name": secret.name}
    return named if version is None else {**named, "VersionId": version.id}
