"""The route that lists a project's tokens, which its runners point to. It reads no token's text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler import Response

from byline.caching import Clock
from byline.refresh.work_units import SecretNames
from serve_runs.calls import Call, json_answer
from serve_runs.runners.queries import list_tokens
from serve_runs.runners.views import SecretArns, secrets_prefix, token_json
from serve_runs.web.paging import PageQuery, decode_cursor, encode_cursor, fitting
from serve_runs.web.routing import Route

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

TOKENS = "/v1/projects/<project>/tokens"


@dataclass(frozen=True, slots=True)
class TokenRoutes:
    """The route of tokens, with the table that it reads."""

    client: "DynamoDBClient"
    table: str
    names: SecretNames
    now: Clock

    def routes(self) -> tuple[Route, ...]:
        """The route, with its path."""
        return (Route("GET", TOKENS, self.list_project_tokens),)

    def list_project_tokens(self, call: Call) -> Response[str]:
        """A project's tokens by client, with the number of their runners; for admins."""
        call.access.require("read_tokens")
        query = call.query(PageQuery)
        binding = f"tokens of {call.project}"
        after = decode_cursor(query.cursor, query=binding)
        tokens, last = list_tokens(
            self.client, self.table, call.project, limit=query.limit, after=after
        )
        arns = SecretArns(self.names, secrets_prefix(call.context.invoked_function_arn))
        now = self.now()
        shown = fitting([token_json(token, arns=arns, now=now) for token in tokens])
        if len(shown) < len(tokens):
            last = tokens[len(shown) - 1].mint_key.token_key
        next_cursor = encode_cursor(last, query=binding)
        return json_answer(200, {"tokens": shown, "next_cursor": next_cursor})
