"""The rows of `AccessTable` that decisions go by: whose roles, and whom an application acts for.

Access patterns, keys and costs: docs/data-model.md.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from byline.identity.caller import Principal, read_principal
from byline.tables.items import Item
from serve_runs.web.problems import unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

KEYS_A_CALL = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""

READ_ATTEMPTS = 4
WAIT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ActsFor:
    """That an application acts for a person, with `role` in `project` and nothing elsewhere.

    `identity`: the person as `executed_by` shows people, as it was when they registered it, JSON.
    """

    person: Principal
    identity: str
    project: str
    role: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a principal holds: its roles by project, and whom it acts for."""

    roles: dict[str, frozenset[str]]
    acts_for: ActsFor | None


def roles_key(project: str, principal: Principal) -> Item:
    """The key of a principal's roles in a project."""
    return {"scope": {"S": f"project#{project}"}, "entry": {"S": f"roles#{principal.text}"}}


def project_key(project: str) -> Item:
    """The key of what is known of a project as such."""
    return {"scope": {"S": f"project#{project}"}, "entry": {"S": "project"}}


def kept_project(table: str, project: str) -> "TransactWriteItemTypeDef":
    """Lets a project stay known when what is deleted was all that there was of it: otherwise it
    would be new, and whoever began it would administer its audit trail too."""
    return {
        "Update": {
            "TableName": table,
            "Key": project_key(project),
            "UpdateExpression": "ADD admins :none",
            "ExpressionAttributeValues": {":none": {"N": "0"}},
        }
    }


def acts_for_key(application: Principal) -> Item:
    """The key of whom an application acts for: one person, whatever the project."""
    return {"scope": {"S": f"principal#{application.text}"}, "entry": {"S": "acts-for"}}


class AccessRows:
    """`AccessTable`, as decisions read it: always as it is now, so that what was taken away is
    gone with the next request."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def held(self, principal: Principal, projects: Sequence[str]) -> Held:
        """What a principal holds in these projects. One call for every hundred of them."""
        keys = [roles_key(project, principal) for project in projects]
        if principal.kind == "application":
            keys.append(acts_for_key(principal))
        items = {_key(item): item for item in self._read(keys)}
        roles = {
            project: frozenset(
                items.get(_key(roles_key(project, principal)), {}).get("roles", {}).get("SS", ())
            )
            for project in projects
        }
        link = items.get(_key(acts_for_key(principal)))
        return Held(roles, None if link is None else _acts_for(link))

    def _read(self, keys: list[Item]) -> Iterable[Item]:
        for start in range(0, len(keys), KEYS_A_CALL):
            wanted = keys[start : start + KEYS_A_CALL]
            for attempt in range(READ_ATTEMPTS):
                if attempt:
                    self._sleep(random.uniform(0, WAIT_SECONDS * 2**attempt))  # noqa: S311
                answer = self._client.batch_get_item(
                    RequestItems={self._table: {"Keys": wanted, "ConsistentRead": True}}
                )
                yield from answer["Responses"].get(self._table, [])
                left = answer.get("UnprocessedKeys", {})
                if not left:
                    break
                wanted = left[self._table]["Keys"]
            else:
                # Rights that could not be read are not rights that are not there.
                raise unavailable("store_unavailable", "Rights cannot be read right now.")


def _acts_for(item: Item) -> ActsFor:
    return ActsFor(
        person=read_principal(item["person"]["S"]),
        identity=item["identity"]["S"],
        project=item["project"]["S"],
        role=item["role"]["S"],
    )


def _key(item: Item) -> tuple[str, str]:
    return item["scope"]["S"], item["entry"]["S"]
