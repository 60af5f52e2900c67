"""Which service accounts act for whom. Every write is conditional, and harmless when it runs twice.

Two rows with the same content, written and deleted together: by the application, because it acts
for one person and in one project only, whoever asks; and by the project, which lists it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from byline.caching import Clock
from byline.identity.caller import Principal, read_executed_by, read_principal
from byline.tables.items import Item, rfc3339
from serve_runs.access.rows import acts_for_key, kept_project, project_key
from serve_runs.service_accounts.requests import id_of
from serve_runs.transactions import write_together
from serve_runs.web.problems import Problem, unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 3
"""How often a service account that is changed meanwhile is read anew."""

_ENTRY = "service-account#"
_UNCHANGED = "last_request = :seen"


@dataclass(frozen=True, slots=True)
class Registration:
    """That `application` is to act for `person`, with `role` in `project`. `identity`: the person
    as `executed_by` shows people, JSON. `request_id`: of the request that says so."""

    project: str
    application: Principal
    person: Principal
    identity: str
    role: str
    name: str
    request_id: str


class ServiceAccountStore:
    """The service accounts of one table. `record`: what is written together with a change."""

    def __init__(self, client: "DynamoDBClient", table: str, *, now: Clock) -> None:
        self._client = client
        self._table = table
        self._now = now

    def register(
        self,
        wanted: Registration,
        *,
        grant: Callable[[], None],
        record: "TransactWriteItemTypeDef",
    ) -> tuple[Item, Literal["created", "changed", "unchanged"]]:
        """Let a service account act for a person, or change its role or name.

        `grant` comes before the first write of a new one; what it raises aborts. Raises `Problem`
        409 for one that acts for somebody else, or elsewhere.
        """
        for _ in range(ATTEMPTS):
            before = self._read(acts_for_key(wanted.application))
            if before is None:
                grant()
                row = _row(wanted, created_at=rfc3339(self._now()))
                if self._put(row, wanted, "attribute_not_exists(entry)", {}, record):
                    return row, "created"
                continue
            if before["person"]["S"] != wanted.person.text or before["project"] != _s(
                wanted.project
            ):
                raise _already_registered()
            if (before["role"], before["name"]) == (_s(wanted.role), _s(wanted.name)):
                return before, "unchanged"
            row = _row(wanted, created_at=before["created_at"]["S"])
            row["updated_at"] = _s(rfc3339(self._now()))
            if self._put(row, wanted, _UNCHANGED, {":seen": before["last_request"]}, record):
                return row, "changed"
        raise contended()

    def find(self, project: str, account_id: str) -> Item | None:
        """A project's service account, if it is there."""
        return self._read(_listed_key(project, account_id))

    def delete(self, row: Item, *, record: "TransactWriteItemTypeDef") -> bool:
        """Delete what was found, or nothing where it is no longer so."""
        application = read_principal(row["principal"]["S"])
        keys = (acts_for_key(application), _listed_key(row["project"]["S"], row["id"]["S"]))
        deletes: list[TransactWriteItemTypeDef] = [
            {
                "Delete": {
                    "TableName": self._table,
                    "Key": key,
                    "ConditionExpression": _UNCHANGED,
                    "ExpressionAttributeValues": {":seen": row["last_request"]},
                }
            }
            for key in keys
        ]
        kept = kept_project(self._table, row["project"]["S"])
        return write_together(self._client, [*deletes, kept, record]) is None

    def list_of(
        self, project: str, *, limit: int, after: str | None
    ) -> tuple[list[Item], str | None]:
        """Up to `limit` of a project's, by id, and after which to go on if there are more."""
        query: Any = {
            "TableName": self._table,
            "KeyConditionExpression": "#scope = :scope AND begins_with(entry, :entry)",
            "ExpressionAttributeNames": {"#scope": "scope"},
            "ExpressionAttributeValues": {
                ":scope": project_key(project)["scope"],
                ":entry": _s(_ENTRY),
            },
            "ConsistentRead": True,
            "Limit": limit + 1,
        }
        if after is not None:
            # The project is the request's: whatever a forged cursor says, it stays in it.
            query["ExclusiveStartKey"] = _listed_key(project, after)
        found = self._client.query(**query)["Items"]
        last = found[limit - 1]["id"]["S"] if len(found) > limit else None
        return found[:limit], last

    def _put(
        self,
        row: Item,
        wanted: Registration,
        condition: str,
        values: Item,
        record: "TransactWriteItemTypeDef",
    ) -> bool:
        """Write both rows, each under the same condition, unless the first one's does not hold."""
        puts: list[TransactWriteItemTypeDef] = []
        for key in (acts_for_key(wanted.application), _listed_key(wanted.project, row["id"]["S"])):
            put: Any = {
                "TableName": self._table,
                "Item": row | key,
                "ConditionExpression": condition,
            }
            if values:
                put["ExpressionAttributeValues"] = values
            puts.append({"Put": put})
        return write_together(self._client, [*puts, record]) is None

    def _read(self, key: Item) -> Item | None:
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return answer.get("Item")


def service_account_json(row: Item) -> dict[str, Any]:
    """A service account as the API shows it."""
    application = read_principal(row["principal"]["S"])
    return {
        "id": row["id"]["S"],
        "project": row["project"]["S"],
        "name": row["name"]["S"],
        "issuer": application.issuer,
        "subject": application.subject,
        "role": row["role"]["S"],
        "acts_for": read_executed_by(row["identity"]["S"]),
        "created_at": row["created_at"]["S"],
        "updated_at": row["updated_at"]["S"],
    }


def contended() -> Problem:
    """503: the same request may succeed later."""
    return unavailable("store_unavailable", "Other requests are changing the same one.")


def _row(wanted: Registration, *, created_at: str) -> Item:
    return {
        "id": _s(id_of(wanted.application)),
        "principal": _s(wanted.application.text),
        "person": _s(wanted.person.text),
        "identity": _s(wanted.identity),
        "project": _s(wanted.project),
        "role": _s(wanted.role),
        "name": _s(wanted.name),
        "created_at": _s(created_at),
        "updated_at": _s(created_at),
        "last_request": _s(wanted.request_id),
    }


def _listed_key(project: str, account_id: str) -> Item:
    return project_key(project) | {"entry": _s(f"{_ENTRY}{account_id}")}


def _already_registered() -> Problem:
    return Problem(
        409, "already_registered", "This service account acts for somebody else, or elsewhere."
    )


def _s(text: str) -> Any:
    return {"S": text}
