"""The contents that a project loses with its deletion: rights, live runs, runners, credentials.

Runs that are over, messages and audit records stay.
"""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from byline.caching import Clock
from byline.identity.caller import Principal, read_principal
from byline.tables.rows import Item, is_expired, read_rows
from serve_runs.access.projects import project_key
from serve_runs.runs.queries import LIVE_INDEX
from serve_runs.runs.states import LIVE
from serve_runs.runs.views import live_partition, run_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

Content = Literal[
    "roles", "agents", "service_accounts", "runs", "runners", "credentials", "apply_sets"
]

CONTENTS: tuple[Content, ...] = get_args(Content)
"""In the order in which they end: rights first, so that nothing new follows."""

RIGHTS: frozenset[Content] = frozenset({"roles", "agents", "service_accounts"})

PAGE = 25

ROLES_A_PAGE = 1000
"""The rows of principals that a page reads. Most may have no role, and are left out."""

_PREFIXES: dict[Content, str] = {
    "roles": "roles#",
    "agents": "agent#",
    "service_accounts": "service-account#",
    "credentials": "credential#",
    "apply_sets": "apply-set#",
}


class Part(NamedTuple):
    """One thing that a project has. `id`: a principal, a name, or the id of a run or account."""

    kind: Content
    id: str
    row: Item


class Contents:
    """The contents of projects in all tables."""

    def __init__(
        self,
        client: "DynamoDBClient",
        *,
        access_table: str,
        runs_table: str,
        runners_table: str,
        now: Clock,
    ) -> None:
        self._client = client
        self._access_table = access_table
        self._runs_table = runs_table
        self._runners_table = runners_table
        self._now = now

    def page(
        self, kind: Content, project: str, *, keep: Principal | None, after: Item | None
    ) -> tuple[list[Part], Item | None]:
        """Some parts of a kind, and the key to go on after; None at the end. At most two calls.

        `keep`: the principal whose roles are left out; None to list all.
        """
        match kind:
            case "runs":
                return self._live_runs(project, after)
            case "runners":
                request: Any = {
                    "TableName": self._runners_table,
                    "KeyConditionExpression": "#key = :key",
                    "ExpressionAttributeNames": {"#key": "project"},
                    "ExpressionAttributeValues": {":key": {"S": project}},
                    "ConsistentRead": True,
                }
                rows, last = self._query(request, after)
                return [Part(kind, row["runner"]["S"], row) for row in rows], last
            case _:
                return self._of_access(kind, project, keep, after)

    def kinds_left(self, project: str) -> list[Content]:
        """The kinds of which a project has something."""
        return [kind for kind in CONTENTS if self._has(kind, project)]

    def _has(self, kind: Content, project: str) -> bool:
        after: Item | None = None
        while True:
            parts, after = self.page(kind, project, keep=None, after=after)
            if parts or after is None:
                return bool(parts)

    def count_live_runs(self, project: str) -> int:
        """The number of live runs, eventually consistent; of very many, those of two queries."""
        return sum(
            self._client.query(**self._live(project, status), Select="COUNT")["Count"]
            for status in LIVE
        )

    def _of_access(
        self, kind: Content, project: str, keep: Principal | None, after: Item | None
    ) -> tuple[list[Part], Item | None]:
        prefix = _PREFIXES[kind]
        request: Any = {
            "TableName": self._access_table,
            "KeyConditionExpression": "#key = :key AND begins_with(entry, :prefix)",
            "ExpressionAttributeNames": {"#key": "scope"},
            "ExpressionAttributeValues": {
                ":key": project_key(project)["scope"],
                ":prefix": {"S": prefix},
            },
            "ConsistentRead": True,
        }
        if kind == "roles":
            # The row of a principal stays when its last role is revoked.
            request["FilterExpression"] = "attribute_exists(#roles)"
            request["ExpressionAttributeNames"]["#roles"] = "roles"
        limit = ROLES_A_PAGE if kind == "roles" else PAGE
        rows, last = self._query(request, after, limit=limit)
        parts = [Part(kind, row["entry"]["S"].removeprefix(prefix), row) for row in rows]
        return [part for part in parts if self._is_left(part, keep)], last

    def _is_left(self, part: Part, keep: Principal | None) -> bool:
        match part.kind:
            case "roles":
                return read_principal(part.id) != keep
            case "credentials":
                return True  # a marker of a deletion, too, which must be continued
            case _:
                return not is_expired(part.row, now=self._now())

    def _live_runs(self, project: str, after: Item | None) -> tuple[list[Part], Item | None]:
        """The runs of a page of the index that the table shows to be live."""
        status = LIVE[0] if after is None else after["live"]["S"].removeprefix(f"{project}#")
        request = self._live(project, status)
        found, last = self._query(request, None if after is None or "id" not in after else after)
        keys = [run_key(project, row["id"]["S"]) for row in found]
        rows = read_rows(self._client, self._runs_table, keys).complete() if keys else ()
        parts = [Part("runs", row["id"]["S"], row) for row in rows if row["status"]["S"] in LIVE]
        if last is None and status != LIVE[-1]:
            last = {"live": {"S": live_partition(project, LIVE[LIVE.index(status) + 1])}}
        return parts, last

    def _live(self, project: str, status: str) -> Any:
        return {
            "TableName": self._runs_table,
            "IndexName": LIVE_INDEX,
            "KeyConditionExpression": "live = :live",
            "ExpressionAttributeValues": {":live": {"S": live_partition(project, status)}},
        }

    def _query(
        self, request: Any, after: Item | None, *, limit: int = PAGE
    ) -> tuple[list[Item], Item | None]:
        start: Any = {} if after is None else {"ExclusiveStartKey": after}
        page = self._client.query(**request, **start, Limit=limit)
        return page["Items"], page.get("LastEvaluatedKey")
