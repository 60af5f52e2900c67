"""One secret and its versions, as AWS Secrets Manager keeps them: immutable values and functions.

Sources beside the API reference, which has each error and the rules of `ClientRequestToken`:
https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html
"""

from collections.abc import Iterable, Mapping
from copy import replace
from dataclasses import dataclass, field

from stand_ins.refusal import Refused

CURRENT = "AWSCURRENT"
PREVIOUS = "AWSPREVIOUS"

VERSIONS_KEPT = 100
KEPT_FOR_SECONDS = 86_400
LABELS_OF_A_SECRET = 20


@dataclass(frozen=True, slots=True)
class Version:
    """A stored value. `content` has one member, `SecretString` or `SecretBinary`.

    `created_at`: seconds since the epoch, as all times here.
    """

    id: str
    created_at: float
    content: Mapping[str, str] = field(repr=False)

    def text(self) -> str:
        """The value as text, in Base64 if it is binary."""
        return next(iter(self.content.values()))


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion: the secret ceases to exist at `gone_at`."""

    gone_at: float
    recoverable: bool


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret at one time. `versions` are oldest first. `labels` maps labels to version ids."""

    name: str
    arn: str
    created_at: float
    changed_at: float
    versions: Mapping[str, Version] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    deletion: Deletion | None = None

    def labels_of(self, version_id: str) -> list[str]:
        """The labels on a version, in AWS's order."""
        return sorted(label for label, version in self.labels.items() if version == version_id)

    def is_gone_at(self, time: float) -> bool:
        """Whether the secret no longer exists at `time`."""
        return self.deletion is not None and self.deletion.gone_at <= time


def usable(secret: Secret) -> Secret:
    """The secret itself. Raises `Refused` if it is deleted."""
    if secret.deletion is not None:
        how = "was marked for deletion" if secret.deletion.recoverable else "was deleted"
        message = f"You can't perform this operation on the secret because it {how}."
        raise Refused("InvalidRequestException", message)
    return secret


def restored(secret: Secret) -> Secret:
    """The secret without its deletion. Raises `Refused` if the deletion was forced."""
    if secret.deletion is not None and secret.deletion.recoverable:
        return replace(secret, deletion=None)
    return usable(secret)


def with_version(secret: Secret, version: Version, labels: Iterable[str] = (CURRENT,)) -> Secret:
    """The secret after `version` was put at the version's time.

    A repeated put changes nothing. Raises `Refused` with `ResourceExistsException` if the version
    exists with another value. `LimitExceededException` means that the secret has the most
    versions allowed and none is old enough to be removed.
    """
    known = secret.versions.get(version.id)
    if known is not None:
        if known.content != version.content:
            raise version_exists(secret, version.id)
        return secret
    # The first version is always the current one, whatever labels the request names.
    wanted = {*labels} if secret.versions else {*labels, CURRENT}
    moved = _moved(secret.labels, wanted, version.id)
    kept = _with_room_for_one(secret.versions, labelled={*moved.values()}, now=version.created_at)
    return replace(
        secret,
        versions={**kept, version.id: version},
        labels=moved,
        changed_at=version.created_at,
    )


def with_label(
    secret: Secret, label: str, *, remove_from: str | None, move_to: str | None, now: float
) -> Secret:
    """The secret after `UpdateSecretVersionStage` at `now`. Raises `Refused` if invalid."""
    for version_id in (remove_from, move_to):
        if version_id is not None and version_id not in secret.versions:
            raise Refused("InvalidParameterException", f"Not a valid version: {version_id}")
    attached = secret.labels.get(label)
    if remove_from != attached and not (remove_from is None and move_to == attached):
        message = f"Staging label {label} is attached to another version than RemoveFromVersionId."
        raise Refused("InvalidParameterException", message)
    if move_to is None:
        if label == CURRENT:
            message = f"You can only move staging label {CURRENT} to a different secret version."
            raise Refused("InvalidParameterException", message)
        labels = {name: version for name, version in secret.labels.items() if name != label}
    else:
        labels = _moved(secret.labels, {label}, move_to)
    return replace(secret, labels=labels, changed_at=now)


def version_exists(secret: Secret, version_id: str) -> Refused:
    """The error for a new value under the id of an existing version."""
    return Refused(
        "ResourceExistsException",
        f"You can't use ClientRequestToken {version_id} because that value is already in use "
        f"for a version of secret {secret.arn}.",
    )


def _moved(labels: Mapping[str, str], wanted: set[str], version_id: str) -> dict[str, str]:
    moved = {**labels, **dict.fromkeys(wanted, version_id)}
    was_current = labels.get(CURRENT, version_id)
    if moved.get(CURRENT) != was_current:
        moved[PREVIOUS] = was_current
    if len(moved) > LABELS_OF_A_SECRET:
        message = "You exceeded the maximum number of staging labels allowed on a secret."
        raise Refused("LimitExceededException", message)
    return moved


def _with_room_for_one(
    versions: Mapping[str, Version], *, labelled: set[str], now: float
) -> dict[str, Version]:
    kept = dict(versions)
    for version in versions.values():
        if len(kept) < VERSIONS_KEPT:
            break
        if version.id not in labelled and now - version.created_at >= KEPT_FOR_SECONDS:
            del kept[version.id]
    if len(kept) >= VERSIONS_KEPT:
        message = "You've reached the maximum number of versions for this secret."
        raise Refused("LimitExceededException", message)
    return kept
