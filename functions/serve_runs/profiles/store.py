"""Profiles: the display names and e-mail addresses in the latest tokens of callers.

They are shown and searched, but never part of a decision: (issuer, subject) alone identifies a
principal. Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
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
from byline.tables.rows import KEYS_PER_CALL, Item, read_rows
from serve_runs.profiles.best_effort import BEST_EFFORT_SECONDS, within

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import UpdateItemInputTypeDef

EMAIL_INDEX = "by-email"
"""Keyed by (e-mail address in lower case, principal). It has only profiles with an address.

The key of an address that the issuer has verified has a prefix, so no number of other profiles
with this address can precede it."""

REMEMBERED = 1_024
REMEMBERED_SECONDS = 86_400
"""How many written profiles this process remembers, and how long, to save repeated writes."""

RETRY_SECONDS = 60
"""How long a profile is not written after a failed write, so that requests do not wait for it."""

OWNERS_OF_AN_EMAIL = 5
"""The most principals found for an e-mail address. Several issuers may have the same address."""

_PRINCIPAL = "principal#"
_VERIFIED = "VERIFIED#"
"""Upper case, so no address in lower case can begin with it."""


_NAMES = frozenset({"name", "first_name", "last_name", "address"})
"""The columns of a profile that a token's names are in."""


class EmailOwners(msgspec.Struct, frozen=True):
    """The principals with an e-mail address, and whether more have it than were returned."""

    principals: tuple[Principal, ...]
    are_more: bool


class StoredProfile(msgspec.Struct, frozen=True):
    """What a principal's latest tokens say of it; empty for what they do not.

    `email_verified`: whether the issuer says that it has verified `email`.
    """

    name: str
    email: str
    email_verified: bool


class Profiles:
    """The profiles of one table. `failed` is called with the error of a failed read or write.

    A name that a token leaves out keeps its earlier value. Otherwise a browser's token and an SDK's
    token would overwrite each other in turn.
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
        self._written = BoundedCache[tuple[object, ...], Principal](REMEMBERED, now=now)

    def remember(self, caller: Caller) -> None:
        """Write the names of a verified caller where they have changed. An error is not raised.

        A caller whose token has no names gets a profile without any, which shows that it has been
        here. At most one call, two where the token does not say that a verified address is
        verified. The request waits at most `BEST_EFFORT_SECONDS`. No call for a caller whose names
        this process has written.
        """
        principal, names = principal_of(caller), _names_of(caller)
        known = (principal, *names.items())
        if self._written.get(known):
            return
        seconds = REMEMBERED_SECONDS
        try:
            within(BEST_EFFORT_SECONDS, lambda: self._write(principal, names))
        except self._client.exceptions.ConditionalCheckFailedException:
            pass  # the profile has these names, or those of a later token
        except (BotoCoreError, ClientError, TimeoutError) as error:
            self._failed(error)
            seconds = RETRY_SECONDS
        # A token without names adds nothing to a profile that exists.
        for key in (known, (principal,)):
            self._written.put(key, principal, until=self._now() + seconds)

    def find_by_email(self, email: str) -> EmailOwners:
        """Up to five principals whose latest e-mail address is `email`, in any case of letters.

        Those whose issuer has verified the address come first.
        """
        found = self._with_email(_VERIFIED + email.lower())
        if len(found) <= OWNERS_OF_AN_EMAIL:
            found += self._with_email(email.lower())
        return EmailOwners(tuple(found[:OWNERS_OF_AN_EMAIL]), len(found) > OWNERS_OF_AN_EMAIL)

    def _with_email(self, key: str) -> list[Principal]:
        page = self._client.query(
            TableName=self._table,
            IndexName=EMAIL_INDEX,
            # Only profiles have a column `email`. The prefix excludes rows that may get one later.
            KeyConditionExpression="email = :email AND begins_with(#scope, :principal)",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={
                ":email": {"S": key},
                ":principal": {"S": _PRINCIPAL},
            },
            # One more shows whether there are more.
            Limit=OWNERS_OF_AN_EMAIL + 1,
        )
        return [_principal_of(item) for item in page["Items"]]

    def display_names(self, principals: Iterable[Principal]) -> dict[Principal, ExecutedBy]:
        """The names of the `principals` that have a profile.

        At most one call, for the first 100 principals; empty where it fails, or takes longer than
        `BEST_EFFORT_SECONDS`.
        """
        keys = [profile_key(principal) for principal in dict.fromkeys(principals)]
        if not keys:
            return {}
        try:
            found = within(
                BEST_EFFORT_SECONDS,
                lambda: read_rows(
                    self._client, self._table, keys[:KEYS_PER_CALL], consistent=False, tries=1
                ),
            )
        except (BotoCoreError, ClientError, TimeoutError) as error:
            self._failed(error)
            return {}
        return {
            principal: _identity(principal, item)
            for item in found.items
            if _NAMES & item.keys()
            for principal in (_principal_of(item),)
        }

    def read(self, principals: Iterable[Principal]) -> dict[Principal, StoredProfile]:
        """The profiles of those `principals` that have been here. Raises `RowsUnread`."""
        keys = [profile_key(principal) for principal in dict.fromkeys(principals)]
        rows = read_rows(self._client, self._table, keys).complete() if keys else []
        return {_principal_of(item): _profile(item) for item in rows}

    def complete(self, documents: Sequence[dict[str, Any]]) -> None:
        """Add the names of profiles to people of whom `documents` have only the subject.

        A document has identities as `executed_by` is, and each as `who` shows it under the same
        name in `who`. At most one call; none where every document has its names.
        """
        nameless = [
            (document, field, Principal("user", shown["issuer"], shown["subject"]))
            for document in documents
            for field, shown in document["who"].items()
            if shown is not None and shown["kind"] == "user" and shown["issuer"]
            if "spec" not in document[field]["user"]
        ]
        names = self.display_names(principal for _, _, principal in nameless)
        for document, field, principal in nameless:
            if principal in names:
                document[field] = msgspec.to_builtins(names[principal])
                document["who"][field] |= _shown(names[principal])

    def _write(self, principal: Principal, names: dict[str, str]) -> None:
        verified = _VERIFIED + names.get("email", "")
        try:
            self._update(principal, names, unless_email=verified)
        except self._client.exceptions.ConditionalCheckFailedException as error:
            # A token that does not say so, such as an SDK's, leaves the address verified.
            before: Any = error.response.get("Item", {})
            if before.get("email") != {"S": verified}:
                raise
            others = {name: names[name] for name in names if name not in ("email", "address")}
            if others:
                self._update(principal, others, unless_email="-")

    def _update(self, principal: Principal, names: dict[str, str], *, unless_email: str) -> None:
        # Not written where no name differs, or where a later request has written the profile.
        request: UpdateItemInputTypeDef = {
            "TableName": self._table,
            "Key": profile_key(principal),
            "UpdateExpression": "SET seen_at = :now",
            "ConditionExpression": "attribute_not_exists(seen_at)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            "ExpressionAttributeValues": {":now": {"N": str(int(self._now() * 1000))}},
        }
        if names:
            is_change = " OR ".join(f"#{name} <> :{name}" for name in names)
            request["UpdateExpression"] += "".join(f", #{name} = :{name}" for name in names)
            request["ConditionExpression"] += (
                f" OR (seen_at < :now AND email <> :unless AND ({is_change}))"
            )
            request["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
            request["ExpressionAttributeValues"] = {
                **request["ExpressionAttributeValues"],
                ":unless": {"S": unless_email},
                **{f":{name}": {"S": text} for name, text in names.items()},
            }
        self._client.update_item(**request)


def profile_key(principal: Principal) -> Item:
    """The key of a principal's profile."""
    return {"scope": {"S": f"{_PRINCIPAL}{principal.text}"}, "entry": {"S": "profile"}}


def _names_of(caller: Caller) -> dict[str, str]:
    """The names in a caller's token, as columns; empty where the token has only its subject."""
    if caller.kind == "application":
        return {"name": caller.name} if caller.name != caller.subject else {}
    names = {
        "first_name": caller.given_name,
        "last_name": caller.family_name,
        "address": caller.email,
        "email": (_VERIFIED if caller.email_verified else "") + caller.email.lower(),
    }
    return {name: text for name, text in names.items() if text}


def _profile(item: Item) -> StoredProfile:
    text = {name: value.get("S", "") for name, value in item.items()}
    person = f"{text.get('first_name', '')} {text.get('last_name', '')}".strip()
    return StoredProfile(
        name=text.get("name", "") or person,
        email=text.get("address", ""),
        email_verified=text.get("email", "").startswith(_VERIFIED),
    )


def _identity(principal: Principal, item: Item) -> ExecutedBy:
    text = {name: value.get("S", "") for name, value in item.items()}
    subject = Subject(principal.subject)
    if principal.kind == "application":
        return ExecutedBy(application=Application(subject, ApplicationSpec(text.get("name", ""))))
    spec = UserSpec(text.get("first_name", ""), text.get("last_name", ""), text.get("address", ""))
    return ExecutedBy(user=User(subject, spec))


def _shown(identity: ExecutedBy) -> dict[str, str]:
    spec = UserSpec() if identity.user is None else identity.user.spec
    texts = {"name": f"{spec.first_name} {spec.last_name}".strip(), "email": spec.email}
    return {name: text for name, text in texts.items() if text}


def _principal_of(item: Item) -> Principal:
    return read_principal(item["scope"]["S"].removeprefix(_PRINCIPAL))
