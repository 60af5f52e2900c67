"""Reading and writing credentials: metadata in `AccessTable`, the secret in Secrets Manager.

A change writes a new version of the secret, then one transaction makes the row name that version
and records the caller. A request that ends in between has changed nothing that readers see.

A put reads the secret to find out whether it changes. A digest in the row would save that call, but
a reader of the table could test guessed passwords against it, even with a salt.

A deletion first replaces the row by a deletion marker, then deletes the secret, then the marker. A
young marker blocks all other changes, until the request that wrote it has certainly ended. Without
it, a delayed deletion could delete the secret of a new credential.

A put that must restore a deleted secret writes such a marker first. A restored secret has its old
token again. If the put ends in between, the marker lets a DELETE find and delete that secret.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from byline.caching import Clock
from byline.retries import jittered_wait
from byline.tables.rows import ConditionFailed, Item, write_row, write_together
from serve_runs.access.projects import keep_project_row
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.credentials.reader_entries import entry_changes
from serve_runs.credentials.readers import ChangedReaders, read_stored, stored
from serve_runs.credentials.requests import PutCredential
from serve_runs.credentials.secrets import CredentialSecret, CredentialSecrets, secret_of
from serve_runs.credentials.views import (
    DELETING_UNTIL,
    Credential,
    bound,
    changed,
    credential_item,
    credential_key,
    new_version,
    read_credential,
    refuse_during_deletion,
    unchanged,
)
from serve_runs.errors import RequestFailed, contended, not_found

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 3
"""How often a credential is read, because it may change before the write. Each attempt to write
uses a version of the secret."""

WAIT_SECONDS = 0.3
"""The longest first wait for the row of another first put, whose secret exists already."""

DELETION_SECONDS = 60
"""How long a marker blocks other changes: twice the longest request, because clocks differ."""


class CredentialStore:
    """The credentials of one table. Every change is written together with its record."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        secrets: CredentialSecrets,
        audit: AuditTrail,
        now: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._secrets = secrets
        self._secret_name = secrets.names.credential
        self._audit = audit
        self._now = now
        self._sleep = sleep

    def put(
        self, project: str, name: str, *, body: PutCredential, action: ActionContext
    ) -> tuple[Credential, Literal["created", "changed", "unchanged"]]:
        """Store a credential, or change it; where it is the same already, nothing is written.

        Raises `RequestFailed`: `store_unavailable` where other requests change it at the same time,
        `too_many_changes`.
        """
        resource = AuditedResource(project, "credential", name)
        readers = None if body.readers is msgspec.UNSET else stored(body.readers)
        record = self._audit.record(action, "write_credential", resource, readers=readers)
        own = self._marker(project, name, action, "restore")
        secret, is_written = secret_of(body), False
        try:
            for attempt in range(ATTEMPTS):
                item = self._read(project, name)
                before = None if item is None or DELETING_UNTIL in item else read_credential(item)
                if attempt and item is not None and before is None:
                    break  # a deletion began meanwhile, perhaps before the secret was written
                if before is None:
                    refuse_during_deletion(item, now=self._now())
                elif readers in (None, before.readers) and self._is_same(before, secret):
                    return before, "unchanged"
                # New for each attempt: a put of an existing version would not make it current.
                version = new_version(project, name, action, f"put {attempt}")
                key = project, name, version
                after = changed(
                    before, body, key=key, readers=readers, action=action, at=self._now()
                )
                is_written = True
                if self._write(item, after, secret, own=own, record=record, attempt=attempt):
                    return after, "created" if before is None else "changed"
        except Exception:
            if is_written:
                self._delete_orphaned_secret(project, name, action, own=own)
            raise
        self._delete_orphaned_secret(project, name, action, own=own)
        raise contended("credential")

    def bind(
        self, project: str, name: str, *, readers: ChangedReaders, action: ActionContext
    ) -> tuple[Credential, Literal["bound", "unchanged"]]:
        """Bind a credential to what `readers` makes of its readers. The secret stays.

        Raises `RequestFailed`: `not_found`; `store_unavailable` as `put`.
        """
        resource = AuditedResource(project, "credential", name)
        for _ in range(ATTEMPTS):
            item = self._read(project, name)
            if item is None or DELETING_UNTIL in item:
                raise not_found()
            before = read_credential(item)
            wanted = readers(read_stored(before.readers))
            if wanted is None or before.readers == (text := stored(wanted)):
                return before, "unchanged"
            record = self._audit.record(action, "bind_credential", resource, readers=text)
            after = bound(before, text, action=action, at=self._now())
            if self._commit(item, credential_item(after), record=record):
                return after, "bound"
        raise contended("credential")

    def find(self, project: str, name: str) -> Credential | None:
        """A credential, None where it does not exist."""
        item = self._read(project, name)
        return None if item is None or DELETING_UNTIL in item else read_credential(item)

    def get(self, project: str, name: str) -> Credential:
        """A credential. Raises `RequestFailed` (`not_found`)."""
        credential = self.find(project, name)
        if credential is None:
            raise not_found()
        return credential

    def read_secret(self, credential: Credential) -> CredentialSecret:
        """The secret, of exactly the credential's version.

        Raises `RequestFailed` (`token_unavailable`) where it cannot be read: reads of Secrets
        Manager may lag behind its writes.
        """
        name = self._secret_name(credential.project, credential.name)
        secret = self._secrets.read(name, credential.version)
        if secret is None:
            raise RequestFailed("token_unavailable")
        return secret

    def delete(self, project: str, name: str, *, action: ActionContext) -> None:
        """Delete a credential, then its secret. Raises `RequestFailed` (`not_found`).

        Where AWS does not delete the secret, its error is raised, and the same request sent again
        continues the deletion. Meanwhile no route reads the secret.
        """
        resource = AuditedResource(project, "credential", name)
        record = self._audit.record(action, "delete_credential", resource)
        marker = self._marker(project, name, action, "delete")
        for _ in range(ATTEMPTS):
            item = self._read(project, name)
            if item is None:
                raise not_found()
            refuse_during_deletion(item, now=self._now())
            # Only the request that began the deletion is recorded, not one that continues it.
            kept = keep_project_row(self._table, project)
            others = {} if DELETING_UNTIL in item else {"project": kept, "record": record}
            if self._commit(item, marker, **others):
                break
        else:
            raise contended("credential")
        self._delete_secret(project, name, marker)
        self._delete_marker(project, name, marker)

    def _write(
        self,
        item: Item | None,
        after: Credential,
        secret: CredentialSecret,
        *,
        own: Item,
        record: "TransactWriteItemTypeDef",
        attempt: int,
    ) -> bool:
        """Write the secret, then the row in place of `item`; False where the row has changed.

        `own` is the marker that stands there while a deleted secret is restored.
        """
        name = self._secret_name(after.project, after.name)
        if item is not None and DELETING_UNTIL not in item:
            self._secrets.put(name, secret, version=after.version)
        elif (remains := self._secrets.create(name, secret, version=after.version)) is not None:
            if item is None and remains == "live" and attempt < ATTEMPTS - 1:
                # Another first put may be between its secret and its row: a marker would stop both.
                self._sleep(jittered_wait(attempt + 1, base_seconds=WAIT_SECONDS))
                return False
            if not self._commit(item, own):
                return False
            item = own
            self._secrets.restore(name, secret, version=after.version)
        return self._commit(item, credential_item(after), record=record)

    def _delete_orphaned_secret(
        self, project: str, name: str, action: ActionContext, *, own: Item
    ) -> None:
        """Delete the secret that a failed put may have written or restored, unless its row exists.

        A restored secret has its old token again, which direct readers of the secret would get. The
        marker of another request, not the put's `own`, is replaced by one that stays: that request
        may be delayed.
        """
        marker = self._marker(project, name, action, "take back")
        for _ in range(ATTEMPTS):
            item = self._read(project, name)
            if item is not None and DELETING_UNTIL not in item:
                return
            if self._commit(item, marker):
                self._delete_secret(project, name, marker)
                if item is None or item["version"] == own["version"]:
                    self._delete_marker(project, name, marker)
                return

    def _delete_secret(self, project: str, name: str, marker: Item) -> None:
        try:
            self._secrets.delete(self._secret_name(project, name))
        except self._client.exceptions.ClientError:
            # AWS refused the deletion, so it cannot happen later: the next request need not wait.
            self._commit(marker, marker | {DELETING_UNTIL: {"N": "0"}})
            raise

    def _delete_marker(self, project: str, name: str, marker: Item) -> None:
        row: Any = {"TableName": self._table, "Key": credential_key(project, name)}
        with suppress(ConditionFailed):
            write_row(self._client, lambda: self._client.delete_item(**row, **unchanged(marker)))

    def _marker(self, project: str, name: str, action: ActionContext, step: str) -> Item:
        return credential_key(project, name) | {
            "version": {"S": new_version(project, name, action, step)},
            DELETING_UNTIL: {"N": str(int(self._now()) + DELETION_SECONDS)},
        }

    def _is_same(self, before: Credential, secret: CredentialSecret) -> bool:
        """Whether the credential is unchanged. Its secret is read only for unchanged metadata."""
        metadata = (before.provider, before.url, before.email)
        if metadata != (secret.provider, secret.url, secret.email):
            return False
        name = self._secret_name(before.project, before.name)
        return self._secrets.read(name, before.version) == secret

    def _commit(
        self, before: Item | None, after: Item, **others: "TransactWriteItemTypeDef"
    ) -> bool:
        """Replace `before` by `after` together with `others`; False where the row has changed."""
        put: Any = {"TableName": self._table, "Item": after, **unchanged(before)}
        entries = entry_changes(self._table, before, after)
        return not write_together(self._client, {"credential": {"Put": put}, **entries, **others})

    def _read(self, project: str, name: str) -> Item | None:
        key = credential_key(project, name)
        return self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get(
            "Item"
        )
