"""The people and service accounts that were seen, by the latest names their tokens gave them.

For showing and for finding, never for deciding: who somebody is says (issuer, subject) alone, and
nothing here fails a request. Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from byline.caching import BoundedCache, Clock
from byline.identity.caller import (
    Application,
    ApplicationSpec,
    Caller,
    ExecutedBy,
    Principal,
    Subject,
    User,
    UserSpec,
    principal_of,
    read_principal,
)
from byline.tables.items import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

EMAIL_INDEX = "by-email"
"""(e-mail in lower case, principal): holds only profiles that have one."""

REMEMBERED = 1_024
REMEMBERED_SECONDS = 86_400
"""For how long, and of how many, this process does not ask again whether a profile is kept."""

RETRY_SECONDS = 60
"""For how long a profile that could not be kept is left alone: requests must not wait for it."""

OWNERS_OF_AN_EMAIL = 5
"""How many principals an e-mail may mean: issuers do not agree on whose it is."""

NAMES_AN_ANSWER = 100
"""What one BatchGetItem reads."""

_PRINCIPAL = "principal#"


class People:
    """The profiles of one table. `failed` is told what went wrong where one was not kept or read.

    A profile is what tokens have said so far: what a token leaves out stays as the last one that
    had it said. Otherwise a browser's token and an SDK's would undo each other's with every turn.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        now: Clock,
        failed: Callable[[Exception], None],
    ) -> None:
        self._client = client
        self._table = table
        self._now = now
        self._failed = failed
        self._kept: BoundedCache[tuple[str, ...], Principal] = BoundedCache(REMEMBERED, now=now)

    def saw(self, caller: Caller) -> None:
        """Keep what a verified caller is called, if that is news. At most one call, and none for a
        caller whose names this process has kept, or whose token has none."""
        names = _names_of(caller)
        if not names:
            return
        principal = principal_of(caller)
        seen = (principal.text, *(f"{name}={text}" for name, text in names.items()))
        if self._kept.get(seen):
            return
        seconds = REMEMBERED_SECONDS
        try:
            self._keep(principal, names)
        except self._client.exceptions.ConditionalCheckFailedException:
            pass  # they are kept already, or later ones are
        except (BotoCoreError, ClientError) as error:
            self._failed(error)
            seconds = RETRY_SECONDS
        self._kept.put(seen, principal, until=self._now() + seconds)

    def with_email(self, email: str) -> list[Principal]:
        """Up to five principals whose latest e-mail it is, in whatever case it is written."""
        page = self._client.query(
            TableName=self._table,
            IndexName=EMAIL_INDEX,
            # Were anything else in the index one day, it would be nobody's e-mail.
            KeyConditionExpression="email = :email AND begins_with(#scope, :principal)",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={
                ":email": {"S": email.lower()},
                ":principal": {"S": _PRINCIPAL},
            },
            Limit=OWNERS_OF_AN_EMAIL,
        )
        return [_principal_of(item) for item in page["Items"]]

    def called(self, principals: Iterable[Principal]) -> dict[Principal, ExecutedBy]:
        """Those of `principals` that have a profile, with their names. One call at the most, which
        answers for the first hundred; none where it fails."""
        keys = [profile_key(principal) for principal in dict.fromkeys(principals)]
        if not keys:
            return {}
        try:
            answer = self._client.batch_get_item(
                RequestItems={self._table: {"Keys": keys[:NAMES_AN_ANSWER]}}
            )
        except (BotoCoreError, ClientError) as error:
            self._failed(error)
            return {}
        items = answer["Responses"].get(self._table, [])
        return {principal: _identity(principal, item) for principal, item in _by_principal(items)}

    def _keep(self, principal: Principal, names: dict[str, str]) -> None:
        # One that says what is known is no news, and one that was late changes nothing.
        is_news = " OR ".join(f"#{name} <> :{name}" for name in names)
        self._client.update_item(
            TableName=self._table,
            Key=profile_key(principal),
            UpdateExpression="SET seen_at = :now, "
            + ", ".join(f"#{name} = :{name}" for name in names),
            ConditionExpression=(
                f"attribute_not_exists(seen_at) OR (seen_at < :now AND ({is_news}))"
            ),
            ExpressionAttributeNames={f"#{name}": name for name in names},
            ExpressionAttributeValues={
                ":now": {"N": str(int(self._now() * 1000))},
                **{f":{name}": {"S": text} for name, text in names.items()},
            },
        )


def profile_key(principal: Principal) -> Item:
    """The key of what somebody is called."""
    return {"scope": {"S": f"{_PRINCIPAL}{principal.text}"}, "entry": {"S": "profile"}}


def _names_of(caller: Caller) -> dict[str, str]:
    """What a caller's token calls it, as columns; empty where that is its subject alone."""
    if caller.kind == "application":
        return {"name": caller.name} if caller.name != caller.subject else {}
    names = {
        "first_name": caller.given_name,
        "last_name": caller.family_name,
        "address": caller.email,
        "email": caller.email.lower(),
    }
    return {name: text for name, text in names.items() if text}


def _identity(principal: Principal, item: Item) -> ExecutedBy:
    text = {name: value.get("S", "") for name, value in item.items()}
    subject = Subject(principal.subject)
    if principal.kind == "application":
        return ExecutedBy(application=Application(subject, ApplicationSpec(text.get("name", ""))))
    spec = UserSpec(text.get("first_name", ""), text.get("last_name", ""), text.get("address", ""))
    return ExecutedBy(user=User(subject, spec))


def _by_principal(items: Iterable[Item]) -> Iterable[tuple[Principal, Item]]:
    return ((_principal_of(item), item) for item in items)


def _principal_of(item: Item) -> Principal:
    return read_principal(item["scope"]["S"].removeprefix(_PRINCIPAL))
