"""Reading and writing credentials: metadata in `AccessTable`, the secret in Secrets Manager.

A change is a new version of the secret, then one transaction that makes the row name that version
and records who did it. A request that dies in between has changed nothing that can be read.

Whether anything changes is told by the secret itself. A digest in the row would say it without the
call, but whoever reads the table could try passwords against it, salted or not.

A deletion first makes the row a mark that a deletion is under way, then deletes the secret, then
the mark. Nobody writes past a mark that is younger than any request can live: a deletion of the
secret that comes late would take a new credential's with it.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from byline.caching import Clock
from byline.tables.items import Item, rfc3339
from serve_runs.access.context import Act
from serve_runs.access.rows import kept_project, project_key
from serve_runs.audit.records import AuditTrail, Resource
from serve_runs.credentials.items import (
    MARKED,
    PREFIX,
    Credential,
    credential_item,
    credential_key,
    new_version,
    read_credential,
    still,
)
from serve_runs.credentials.requests import PutCredential
from serve_runs.credentials.secrets import (
    CredentialSecret,
    CredentialSecrets,
    secret_name,
    secret_of,
)
from serve_runs.transactions import write_together
from serve_runs.web.problems import Problem, not_found, unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 3
"""How often a credential that is changed meanwhile is read anew. Each costs a version."""

DELETION_SECONDS = 60
"""Twice as long as a request can live, for clocks that differ."""


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
    ) -> None:
        self._client = client
        self._table = table
        self._secrets = secrets
        self._audit = audit
        self._now = now

    def put(
        self, project: str, name: str, *, body: PutCredential, act: Act
    ) -> tuple[Credential, Literal["created", "changed", "unchanged"]]:
        """Store a credential, or change it to this; where it is this already, nothing is written.

        Raises `Problem`: 503 where others change it at the same time, 429 where that is too often.
        """
        resource = Resource(project, "credential", name)
        record = self._audit.record(act, "write_credential", resource)
        secret, at = secret_of(body), self._now()
        for attempt in range(ATTEMPTS):
            item = self._read(project, name)
            before = None if item is None or MARKED in item else read_credential(item)
            if attempt and item is not None and before is None:
                break  # a deletion came between: perhaps before the secret was written
            if before is None:
                self._refuse_during_deletion(item)
            elif self._is(before, secret):
                return before, "unchanged"
            after = Credential(
                project,
                name,
                # Of this attempt alone: a put of a version that is there would not make it current.
                new_version(project, name, act, f"put {attempt}"),
                body.provider,
                url=body.url,
                email=body.email,
                created_at=rfc3339(at) if before is None else before.created_at,
                created_by=act.identity if before is None else before.created_by,
                updated_at=rfc3339(at),
                updated_by=act.identity,
            )
            write = self._secrets.create if before is None else self._secrets.put
            write(secret_name(project, name), secret, version=after.version)
            if self._commit(item, credential_item(after), record):
                return after, "created" if before is None else "changed"
        self._take_back(project, name, act)
        raise _contended()

    def get(self, project: str, name: str) -> Credential:
        """One credential. Raises `Problem` 404."""
        item = self._read(project, name)
        if item is None or MARKED in item:
            raise not_found()
        return read_credential(item)

    def read_secret(self, credential: Credential) -> CredentialSecret:
        """Its secret, of exactly its version. Raises `Problem` 503 where that cannot be had:
        reads of Secrets Manager may be behind its writes."""
        name = secret_name(credential.project, credential.name)
        secret = self._secrets.read(name, credential.version)
        if secret is None:
            raise unavailable("token_unavailable", "There is no token for this right now.")
        return secret

    def delete(self, project: str, name: str, *, act: Act) -> None:
        """Delete a credential, then its secret. Raises `Problem` 404.

        Where the secret cannot be deleted now that is the client's to know, and the same request
        again goes on from there; what is left meanwhile nobody is handed.
        """
        record = self._audit.record(act, "delete_credential", Resource(project, "credential", name))
        mark = self._mark(project, name, act, "delete")
        for _ in range(ATTEMPTS):
            item = self._read(project, name)
            if item is None:
                raise not_found()
            self._refuse_during_deletion(item)
            # What goes on with another request's deletion is no further one.
            with_it = [] if MARKED in item else [kept_project(self._table, project), record]
            if self._commit(item, mark, *with_it):
                break
        else:
            raise _contended()
        try:
            self._secrets.delete(secret_name(project, name))
        except self._client.exceptions.ClientError:
            # It was refused, so nothing of it comes late: the next one need not wait.
            self._commit(mark, mark | {MARKED: {"N": "0"}})
            raise
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.delete_item(
                TableName=self._table, Key=credential_key(project, name), **still(mark)
            )

    def list_credentials(
        self, project: str, *, limit: int, after: str | None
    ) -> tuple[list[Credential], str | None]:
        """Up to `limit` credentials by name, and the last one's if there are more."""
        found: list[Credential] = []
        start = after
        while len(found) <= limit:
            page = self._client.query(
                TableName=self._table,
                KeyConditionExpression="#scope = :scope AND entry BETWEEN :first AND :last",
                FilterExpression=f"attribute_not_exists({MARKED})",
                ExpressionAttributeNames={"#scope": "scope"},
                ExpressionAttributeValues={
                    ":scope": project_key(project)["scope"],
                    # Before all letters and digits of names comes `-`, and `!` before that.
                    ":first": {"S": f"{PREFIX}{start or ''}!"},
                    ":last": {"S": f"{PREFIX}~"},
                },
                ConsistentRead=True,
                Limit=limit + 1,
            )
            found += [read_credential(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            start = page["LastEvaluatedKey"]["entry"]["S"].removeprefix(PREFIX)
        shown = found[:limit]
        return shown, shown[-1].name if len(found) > limit else None

    def _take_back(self, project: str, name: str, act: Act) -> None:
        """Delete a secret to which this request has written, unless it is a credential's.

        Where a deletion came between, Secrets Manager has brought back what was deleted, and nobody
        else would look for it. The mark stays for its time: this deletion may come late too.
        """
        mark = self._mark(project, name, act, "take back")
        for _ in range(ATTEMPTS):
            item = self._read(project, name)
            if item is not None and MARKED not in item:
                return
            if self._commit(item, mark):
                self._secrets.delete(secret_name(project, name))
                return

    def _mark(self, project: str, name: str, act: Act, step: str) -> Item:
        return credential_key(project, name) | {
            "version": {"S": new_version(project, name, act, step)},
            MARKED: {"N": str(int(self._now()) + DELETION_SECONDS)},
        }

    def _is(self, before: Credential, secret: CredentialSecret) -> bool:
        """Whether the credential is this already. The secret is asked only where the rest is."""
        told = (before.provider, before.url, before.email)
        if told != (secret.provider, secret.url, secret.email):
            return False
        name = secret_name(before.project, before.name)
        return self._secrets.read(name, before.version) == secret

    def _refuse_during_deletion(self, item: Item | None) -> None:
        if item is not None and MARKED in item and int(item[MARKED]["N"]) > self._now():
            raise unavailable("store_unavailable", "It is being deleted.")

    def _commit(
        self, before: Item | None, after: Item, *others: "TransactWriteItemTypeDef"
    ) -> bool:
        """Whether `after` stands where `before` was read, and `others` are done with it."""
        put: Any = {"TableName": self._table, "Item": after, **still(before)}
        return write_together(self._client, [{"Put": put}, *others]) is None

    def _read(self, project: str, name: str) -> Item | None:
        answer = self._client.get_item(
            TableName=self._table, Key=credential_key(project, name), ConsistentRead=True
        )
        return answer.get("Item")


def _contended() -> Problem:
    return unavailable("store_unavailable", "Other requests are changing the same credential.")
