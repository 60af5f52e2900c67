"""The routes about the caller itself, and the health check."""

from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.event_handler import Response

from byline.caching import Clock
from byline.identity.caller import Caller, principal_of, read_executed_by, read_principal, who
from byline.tables.rows import Item
from serve_runs.calls import Call, json_answer
from serve_runs.web.paging import decode_cursor, encode_cursor
from serve_runs.web.routing import Route

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class CallerRoutes(msgspec.Struct, frozen=True):
    """The routes about the caller itself. `table`: `AccessTable`."""

    client: "DynamoDBClient"
    table: str
    now: Clock

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("GET", "/healthz", check_health, is_public=True),
            Route("GET", "/v1/whoami", self.show_caller),
        )

    def show_caller(self, call: Call) -> Response[str]:
        """The caller, and for whom it acts where. 401 for an anonymous caller.

        `on_behalf_of` is the person of its token, else the one of all its registrations.
        """
        caller = call.known_caller()
        registrations: list[Item] = []
        next_cursor = None
        person, issuer = None, None
        if caller.represents is not None:
            person, issuer = caller.represents.stored, caller.represents.issuer
        elif caller.kind == "application":
            registrations, next_cursor = self._registrations(call, caller)
            person, issuer = _only_person(registrations, is_all=next_cursor is None)
        return json_answer(
            200,
            {
                "executed_by": caller.identity,
                "kind": caller.kind,
                "source": caller.source,
                "on_behalf_of": None if person is None else read_executed_by(person),
                "who": {
                    "executed_by": who(caller.stored, issuer=caller.issuer),
                    "on_behalf_of": who(person, issuer=issuer),
                },
                "registrations": _shown(registrations),
                "next_cursor": next_cursor,
            },
        )

    def _registrations(self, call: Call, caller: Caller) -> tuple[list[Item], str | None]:
        """A page of a service account's registrations, and the cursor of the next page."""
        # Imported here, because a person has none.
        from serve_runs.service_accounts.requests import ListRegistrations  # noqa: PLC0415
        from serve_runs.service_accounts.store import ServiceAccountStore  # noqa: PLC0415

        query = call.query(ListRegistrations)
        store = ServiceAccountStore(self.client, self.table, now=self.now)
        binding = f"registrations of {principal_of(caller).text}"
        found, last = store.list_registrations(
            principal_of(caller),
            limit=query.limit,
            after=decode_cursor(query.cursor, query=binding),
        )
        return found, encode_cursor(last, query=binding)


def check_health() -> Response[str]:
    """A constant answer. It needs no caller and reads no data."""
    return json_answer(200, {"status": "ok"})


def _only_person(registrations: list[Item], *, is_all: bool) -> tuple[str | None, str | None]:
    """The identity, and its issuer, of the person that all registrations name; None for several."""
    persons = {row["person"]["S"]: row["identity"]["S"] for row in registrations}
    if len(persons) != 1 or not is_all:
        return None, None
    [(principal, identity)] = persons.items()
    return identity, read_principal(principal).issuer


def _shown(registrations: list[Item]) -> list[dict[str, Any]]:
    if not registrations:
        return []
    from serve_runs.service_accounts.views import registration_json  # noqa: PLC0415

    return [registration_json(row) for row in registrations]
