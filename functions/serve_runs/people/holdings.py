"""The holdings of a principal in all projects: roles, registrations, agents' rights, live runs.

Two sparse indexes find the keys, by one query a page and never a scan. They are eventually
consistent: a new row shows within about a second. The rows themselves are read consistently, so
nothing is shown that has ended. Access patterns, keys and costs: docs/data-model.md.
"""

from typing import TYPE_CHECKING, Any, cast

from byline.caching import Clock
from byline.identity.caller import Principal
from byline.tables.paging import PAGES_PER_LISTING, ROWS_PER_PAGE
from byline.tables.rows import Item, is_expired, read_rows, text_of
from serve_runs.access.control import agent_key, registration_keys, roles_key
from serve_runs.credentials.reader_entries import READER, named_applications, reader_key
from serve_runs.credentials.views import credential_key
from serve_runs.errors import RequestFailed, index_unavailable, is_about_an_index
from serve_runs.people.places import KINDS, OF_APPLICATIONS, Holding, Kind, Place
from serve_runs.runs.queries import ACCOUNTABLE_INDEX
from serve_runs.runs.states import LIVE
from serve_runs.runs.views import accountable_partition, run_key
from serve_runs.service_accounts.views import ENTRY, listed_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

HOLDER_INDEX = "by-holder"
"""Keyed by (holder, entry). It has only rows that give a principal rights."""

INDEX_FORMAT = 2
"""The number of `tools.index_people` that makes the answers complete. A version that finds more
rows has a larger number. 1: roles, service accounts and live runs. 2: readers of credentials too.
"""

_PROJECT = "project#"
_AGENT = "agent#"
_ACTS_FOR = "acts-for"
_ENTRIES: dict[Kind, str] = {
    "registrations": _ACTS_FOR,
    "agent_permissions": _AGENT,
    "credential_readers": READER,
}
_OLD = "old"
"""The id of a registration whose sort key has no project."""


def marker_key() -> Item:
    """The key of the row that says up to which format the indexes hold the rows of before."""
    return {"scope": {"S": "index#by-holder"}, "entry": {"S": "complete"}}


class Holdings:
    """The holdings in `AccessTable` and `RunsTable`."""

    def __init__(
        self, client: "DynamoDBClient", *, access_table: str, runs_table: str, now: Clock
    ) -> None:
        self._client = client
        self._access_table = access_table
        self._runs_table = runs_table
        self._now = now

    def are_complete(self) -> bool:
        """Whether the indexes have the rows that earlier versions wrote.

        `tools.index_people` says so in a row, after it has written these rows into them.
        """
        answer = self._client.get_item(TableName=self._access_table, Key=marker_key())
        return int(answer.get("Item", {}).get("format", {}).get("N", "0")) >= INDEX_FORMAT

    def page(
        self,
        principal: Principal,
        *,
        limit: int,
        after: Place | None,
        kinds: tuple[Kind, ...] = KINDS,
    ) -> tuple[list[Holding], Place | None]:
        """Up to `limit` holdings after a place, and the place to go on after if there may be more.

        A page that is not the last may be short. Raises `RequestFailed`: `store_unavailable` while
        DynamoDB fills a new index, `invalid_cursor` for a place of another kind. Raises
        `RowsUnread`.
        """
        if after is not None and after.kind not in kinds:
            raise RequestFailed("invalid_cursor")
        found: list[Holding] = []
        for kind in kinds[0 if after is None else kinds.index(after.kind) :]:
            if kind in OF_APPLICATIONS and principal.kind != "application":
                continue
            start = after if after is not None and after.kind == kind else None
            rows, unread = self._list(kind, principal, limit + 1 - len(found), start)
            found += rows
            if len(found) > limit:
                return found[:limit], found[limit - 1].place
            if unread is not None:
                return found, unread
        return found, None

    def _list(
        self, kind: Kind, principal: Principal, wanted: int, start: Place | None
    ) -> tuple[list[Holding], Place | None]:
        """At least `wanted` holdings of a kind if there are as many, and the place of the last row
        read, None at the end."""
        found: list[Holding] = []
        for _ in range(PAGES_PER_LISTING):
            page = self._query(kind, principal, start)
            places = [_place(kind, row) for row in page["Items"]]
            found += self._read(places, principal)
            if "LastEvaluatedKey" not in page:
                return found, None
            start = _place(kind, page["LastEvaluatedKey"])
            if len(found) >= wanted:
                break
        return found, start

    def _query(self, kind: Kind, principal: Principal, start: Place | None) -> Any:
        request: Any = _of_runs(principal, start) if kind == "runs" else _of(kind, principal, start)
        request["TableName"] = self._runs_table if kind == "runs" else self._access_table
        try:
            return self._client.query(**request, Limit=ROWS_PER_PAGE)
        except self._client.exceptions.ClientError as error:
            if not is_about_an_index(error):
                raise
            raise index_unavailable() from None

    def _read(self, places: list[Place], principal: Principal) -> list[Holding]:
        """The rows of these places that still give the principal something."""
        keys = [_key(place, principal) for place in places]
        is_run = any(place.kind == "runs" for place in places)
        table = self._runs_table if is_run else self._access_table
        rows = {_text(row, keys[0]): row for row in read_rows(self._client, table, keys).complete()}
        return [
            Holding(place, row)
            for place, key in zip(places, keys, strict=True)
            for row in (rows.get(_text(key, key)),)
            if row is not None and self._is_held(place.kind, row, principal)
        ]

    def _is_held(self, kind: Kind, row: Item, principal: Principal) -> bool:
        if is_expired(row, now=self._now()):
            return False
        match kind:
            case "roles":
                # The row of a principal stays when its last role is revoked.
                return "roles" in row
            case "service_accounts":
                return text_of(row, "person") == principal.text
            case "registrations" | "agent_permissions":
                return True
            case "credential_readers":
                return principal in named_applications(row)
            case "runs":
                return row["status"]["S"] in LIVE


def _of_runs(principal: Principal, start: Place | None) -> Item:
    request: Any = {
        "IndexName": ACCOUNTABLE_INDEX,
        "KeyConditionExpression": "live_for = :principal AND id > :after",
        "ExpressionAttributeValues": {
            ":principal": {"S": accountable_partition(principal.text)},
            ":after": {"S": "0" if start is None else start.id},
        },
    }
    return cast(Item, request)


def _of(kind: Kind, principal: Principal, start: Place | None) -> Any:
    """The query of `AccessTable` or its index for a kind.

    Its partition comes from the request, so a forged cursor cannot leave the principal's rows.
    """
    entry: dict[str, str]
    if kind in OF_APPLICATIONS:
        partition = agent_key(principal, "")["scope"]
        entry = {"S": _ENTRIES[kind]}
        request: Any = {
            "KeyConditionExpression": "#scope = :partition AND begins_with(entry, :entry)",
            "ExpressionAttributeNames": {"#scope": "scope"},
            "ExpressionAttributeValues": {":partition": partition, ":entry": entry},
            "ConsistentRead": True,
        }
    else:
        partition = {"S": principal.text}
        is_role = kind == "roles"
        entry = {"S": roles_key("", principal)["entry"]["S"] if is_role else ENTRY}
        request = {
            "IndexName": HOLDER_INDEX,
            "KeyConditionExpression": "holder = :partition AND begins_with(entry, :entry)",
            "ExpressionAttributeValues": {":partition": partition, ":entry": entry},
        }
    if start is not None:
        more: Item = {} if kind in OF_APPLICATIONS else {"holder": partition}
        key = _key(start, principal)
        if kind == "credential_readers":
            key = reader_key(principal, start.project, start.id)
        request["ExclusiveStartKey"] = key | more
    return request


def _key(place: Place, principal: Principal) -> Item:
    """The key of a holding's row in its table."""
    kind, project, id_ = place
    match kind:
        case "roles":
            return roles_key(project, principal)
        case "service_accounts":
            return listed_key(project, id_)
        case "registrations":
            new, old = registration_keys(principal, [project])
            return old if id_ else new
        case "agent_permissions":
            return agent_key(principal, project)
        case "credential_readers":
            return credential_key(project, id_)
        case "runs":
            return run_key(project, id_)


def _place(kind: Kind, row: Item) -> Place:
    """The place of a row, or of a key of its index."""
    match kind:
        case "runs":
            return Place(kind, row["project"]["S"], row["id"]["S"])
        case "registrations":
            _, is_new, project = row["entry"]["S"].partition("#")
            return Place(kind, project if is_new else "-", "" if is_new else _OLD)
        case "agent_permissions":
            return Place(kind, row["entry"]["S"].removeprefix(_AGENT), "")
        case "credential_readers":
            project, _, credential = row["entry"]["S"].removeprefix(READER).partition("#")
            return Place(kind, project, credential)
        case "roles" | "service_accounts":
            project = row["scope"]["S"].removeprefix(_PROJECT)
            is_account = kind == "service_accounts"
            return Place(kind, project, row["entry"]["S"].removeprefix(ENTRY) if is_account else "")


def _text(row: Item, key: Item) -> tuple[str, ...]:
    """The values of a row's key, whose names are those of `key`."""
    return tuple(text_of(row, name) or "" for name in sorted(key))
