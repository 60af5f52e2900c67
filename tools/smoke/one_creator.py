"""DynamoDB refuses a run with both creators, by the condition that RunsFunction writes with."""

import time

from ulid import ULID

from byline.tables.rows import Item, rfc3339, write_together
from serve_runs.runs.views import put_once, run_key
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed


def check(surroundings: Surroundings, cleanup: Cleanup) -> str:
    """Put a row with one creator, which must be accepted, then one with both."""
    stack = surroundings.stack
    client, table = stack.client("dynamodb"), stack.outputs["RunsTable"]

    def is_accepted(**creators: str) -> bool:
        key = run_key(surroundings.project, str(ULID()))
        row: Item = {
            **key,
            "name": {"S": "smoke"},
            "status": {"S": "cancelled"},
            "created_at": {"S": rfc3339(time.time())},
            **{name: {"S": value} for name, value in creators.items()},
        }
        cleanup.add(
            f"run {key['id']['S']} in {table}",
            lambda: client.delete_item(TableName=table, Key=key),
        )
        return not write_together(client, {"run": {"Put": put_once(table, row)}})

    if not is_accepted(creator_user_id="smoke"):
        raise Failed("a row with one creator is accepted", "DynamoDB refused it")
    if is_accepted(creator_user_id="smoke", creator_service_account_id="smoke"):
        raise Failed("a row with both creators is refused", "DynamoDB accepted it")
    return ""
